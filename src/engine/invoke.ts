import { at, tensorBytes, type OpRule, type Value } from '../ops/index.js';
import type { TensorMemory } from './kernels/types.js';
import { prepareKernel } from './kernels/index.js';
import { system } from './system.js';

/** One application of an op whose every tensor has memory. */
export interface Invocation {
  readonly rule: OpRule<object>;
  readonly attributes: object;
  readonly inputs: readonly TensorMemory[];
  readonly outputs: readonly TensorMemory[];
  readonly onto: readonly (TensorMemory | undefined)[];
  readonly workspace: bigint;
}

/** An application that can be run: the functions to call, in order, and whether its kernel is a fused one. */
export interface PreparedInvocation {
  readonly calls: readonly (() => void)[];
  readonly fused: boolean;
}

/**
 * Prepares one application.
 *
 * What an output is added to is first copied to the output's place unless it lies there already.
 */
export function prepareInvocation({
  rule,
  attributes,
  inputs,
  outputs,
  onto,
  workspace,
}: Invocation): PreparedInvocation {
  const copies = onto.flatMap((source, i) => {
    const target = at(outputs, i);
    return source === undefined || source.address === target.address ? [] : [() => copyBytes(source, target)];
  });
  const accumulate = outputs.map((_, i) => onto[i] !== undefined);
  const { run, fused } = prepareKernel(rule.name, { inputs, outputs, accumulate, attributes, workspace });
  return { calls: [...copies, run], fused };
}

function copyBytes(source: TensorMemory, target: TensorMemory): void {
  system().memcpy(target.address, source.address, tensorBytes(target.type));
}

/** The workspace bytes of an application. */
export const workspaceBytes = (rule: OpRule<object>, inputs: readonly Value[], attributes: object): number =>
  rule.workspaceBytes?.(
    inputs.map((input) => input.type),
    attributes,
  ) ?? 0;
