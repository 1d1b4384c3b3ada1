import { at } from '../ops/index.js';
import type { Operand, Operation, Program, Recording, Root } from './program.js';

/** What matrix products are computed in: f32 throughout, or mixed precision with operands in bf16. */
export type Precision = 'f32' | 'bf16';

/** Bytes to which every place in the arena is aligned: one cache line, one AVX-512 register. */
const ALIGNMENT = 64;

/** Leaves out operations whose results reach neither a slot nor an output. */
export function dropUnneeded(recording: Recording): Recording {
  const needed = new Set<number>();
  const need = (operand: Operand | undefined): void => {
    if (operand?.root.kind === 'temporary') needed.add(operand.root.id);
  };
  Object.values(recording.outputs).forEach(need);
  const kept: Operation[] = [];
  for (let i = recording.operations.length - 1; i >= 0; i--) {
    const operation = at(recording.operations, i);
    if (!operation.outputs.some(({ root }) => root.kind === 'slot' || needed.has(root.id))) continue;
    kept.push(operation);
    operation.inputs.forEach(need);
    operation.onto.forEach(need);
  }
  return { ...recording, operations: kept.reverse() };
}

/** From the operation that writes a temporary first to the one that reads it last. */
interface Lifetime {
  readonly id: number;
  readonly bytes: number;
  readonly start: number;
  end: number;
}

/**
 * Gives every temporary and workspace its place in one arena by liveness.
 *
 * Outputs that may overwrite a dying input (the rule's `inPlace`, or what they are added to) take its place; the rest is placed
 * greedily, largest first, at the lowest offset that no living neighbour holds.
 */
export function placeInMemory(recording: Recording): Program {
  const { operations } = recording;
  const lifetimes = findLifetimes(recording);
  const owner = mergeInPlace(operations, lifetimes);
  const placed: { lifetime: Lifetime; offset: number }[] = [];
  const workspaces = operations.map(({ rule, attributes, inputs }, i): Lifetime | undefined => {
    const bytes =
      rule.workspaceBytes?.(
        inputs.map((input) => input.type),
        attributes,
      ) ?? 0;
    return bytes > 0 ? { id: -1 - i, bytes, start: i, end: i } : undefined;
  });
  const owners = [...lifetimes.values()].filter(({ id }) => owner(id) === id);
  const all = [...owners, ...workspaces.filter((workspace) => workspace !== undefined)];
  all.sort((a, b) => b.bytes - a.bytes || a.start - b.start || a.id - b.id);
  const offsets = new Map<number, number>();
  for (const lifetime of all) {
    const offset = lowestFreeOffset(lifetime, placed);
    offsets.set(lifetime.id, offset);
    placed.push({ lifetime, offset });
    placed.sort((a, b) => a.offset - b.offset);
  }
  return {
    ...recording,
    placement: new Map([...lifetimes.keys()].map((id) => [id, offsets.get(owner(id)) as number])),
    workspaces: workspaces.map((workspace) => workspace && offsets.get(workspace.id)),
    peakBytes: placed.reduce((peak, { lifetime, offset }) => Math.max(peak, offset + align(lifetime.bytes)), 0),
  };
}

/** Lets the matrix products of a recording take operands rounded to bf16; everything else stays in f32. */
export const roundOperands = (recording: Recording): Recording => ({
  ...recording,
  operations: recording.operations.map((operation) =>
    operation.rule.mixedPrecision === true
      ? { ...operation, attributes: { ...operation.attributes, operandType: 'bf16' } }
      : operation,
  ),
});

/** The passes in their order. */
export const compileProgram = (
  recording: Recording,
  { precision = 'f32' }: { readonly precision?: Precision } = {},
): Program => placeInMemory(dropUnneeded(precision === 'bf16' ? roundOperands(recording) : recording));

const align = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

function findLifetimes({ operations, outputs }: Recording): Map<number, Lifetime> {
  const lifetimes = new Map<number, Lifetime>();
  const touch = (root: Root, time: number): void => {
    if (root.kind !== 'temporary') return;
    const known = lifetimes.get(root.id);
    if (known) known.end = Math.max(known.end, time);
    else lifetimes.set(root.id, { id: root.id, bytes: root.bytes, start: time, end: time });
  };
  operations.forEach((operation, time) => {
    for (const operand of [...operation.inputs, ...operation.onto, ...operation.outputs])
      if (operand) touch(operand.root, time);
  });
  for (const operand of Object.values(outputs)) touch(operand.root, operations.length);
  return lifetimes;
}

/** Lets outputs take the place of inputs that die with the operation; returns who owns each temporary's place. */
function mergeInPlace(operations: readonly Operation[], lifetimes: Map<number, Lifetime>): (id: number) => number {
  const parent = new Map<number, number>();
  const owner = (id: number): number => {
    const next = parent.get(id);
    return next === undefined ? id : owner(next);
  };
  const tryMerge = (output: Operand, input: Operand | undefined, operation: Operation, time: number): boolean => {
    if (output.root.kind !== 'temporary' || input?.root.kind !== 'temporary') return false;
    const from = lifetimes.get(owner(input.root.id)) as Lifetime;
    const to = lifetimes.get(output.root.id) as Lifetime;
    const uses = [...operation.inputs, ...operation.onto].filter(
      (operand) => operand?.root.kind === 'temporary' && owner(operand.root.id) === from.id,
    );
    const wholeAndLast =
      input.offsetBytes === 0 && output.root.bytes === from.bytes && from.end === time && to.start === time;
    if (!wholeAndLast || uses.length !== 1 || owner(output.root.id) === from.id) return false;
    parent.set(output.root.id, from.id);
    from.end = Math.max(from.end, to.end);
    return true;
  };
  operations.forEach((operation, time) => {
    operation.outputs.forEach((output, i) => {
      if (tryMerge(output, operation.onto[i], operation, time)) return;
      for (const [out, input] of operation.rule.inPlace ?? []) {
        if (out === i && operation.onto[i] === undefined && tryMerge(output, operation.inputs[input], operation, time))
          return;
      }
    });
  });
  return owner;
}

/** Lowest aligned offset at which a lifetime fits between those placed already; `placed` is sorted by offset. */
function lowestFreeOffset(lifetime: Lifetime, placed: readonly { lifetime: Lifetime; offset: number }[]): number {
  let offset = 0;
  for (const neighbour of placed) {
    if (neighbour.lifetime.end < lifetime.start || neighbour.lifetime.start > lifetime.end) continue;
    if (offset + align(lifetime.bytes) <= neighbour.offset) break;
    offset = Math.max(offset, neighbour.offset + align(neighbour.lifetime.bytes));
  }
  return offset;
}
