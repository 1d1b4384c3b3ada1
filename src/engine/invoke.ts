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

/**
 * Prepares one application: the functions to call, in order.
 *
 * What an output is added to is first copied to the output's place unless it lies there already.
 */
export function prepareInvocation({ rule, attributes, inputs, outputs, onto, workspace }: Invocation): (() => void)[] {
  const copies = onto.flatMap((source, i) => {
    const target = at(outputs, i);
    return source === undefined || source.address === target.address ? [] : [() => copyBytes(source, target)];
  });
  const accumulate = outputs.map((_, i) => onto[i] !== undefined);
  return [...copies, prepareKernel(rule.name, { inputs, outputs, accumulate, attributes, workspace })];
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
