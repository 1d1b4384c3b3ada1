import { at, sameShape, type TensorType } from '../ops/index.js';
import type { Operand, Operation, Program } from '../program/index.js';
import { Memory, type Tensor } from './buffers.js';
import { prepareInvocation } from './invoke.js';
import { libtorch } from './libtorch/load.js';
import { activeProfile } from './profile.js';
import type { Application } from './work.js';

/** A program with memory: `run` replays it, again and again, without allocating. */
export interface Replay {
  run(): void;
  /** A result that stays readable until the next run. */
  output(name: string): Tensor;
  /** Gives the program's memory back; the slots stay their owners'. */
  free(): void;
  [Symbol.dispose](): void;
}

/**
 * Binds a program to memory: temporaries to one arena, slots to given tensors; prepares every call.
 *
 * @param slots One tensor per slot of the program, of its type.
 * @param arena Memory of at least `peakBytes`, shared with programs that never run in between; one of its own where left out.
 * @param name What profiles call the program.
 */
export function bindProgram(
  program: Program,
  slots: Readonly<Record<string, Tensor>>,
  arena?: Memory,
  name = 'program',
): Replay {
  for (const [name, type] of Object.entries(program.slots)) checkSlot(name, type, slots[name]);
  const memory = arena ?? new Memory(program.peakBytes);
  const tensors = new Map<string, Tensor>();
  const locate = (operand: Operand): Tensor => {
    const { root, offsetBytes, type } = operand;
    const key = `${root.kind === 'slot' ? root.name : root.id}:${offsetBytes}:${type.dtype}:${type.shape.join()}`;
    const known = tensors.get(key);
    if (known !== undefined) return known;
    const base = root.kind === 'slot' ? slots[root.name] : undefined;
    const offset = root.kind === 'slot' ? (base as Tensor).offset : (program.placement.get(root.id) as number);
    const made = (base?.memory ?? memory).tensor(type, offset + offsetBytes);
    tensors.set(key, made);
    return made;
  };
  const prepared = program.operations.map(({ rule, attributes, inputs, outputs, onto }, i) =>
    prepareInvocation({
      rule,
      attributes,
      inputs: inputs.map(locate),
      outputs: outputs.map(locate),
      onto: onto.map((operand) => operand && locate(operand)),
      workspace: program.workspaces[i] === undefined ? 0n : memory.address + BigInt(program.workspaces[i]),
    }),
  );
  const calls = prepared.map((invocation) => inOrder(invocation.calls));
  // What libtorch computes may differ in its bits with the number of threads, which then stays.
  const share = prepared.every(({ fused }) => fused) ? libtorch().share : undefined;
  const describe = (): Application[] => program.operations.map(applicationOf);
  const free = (): void => {
    for (const tensor of tensors.values()) tensor.releaseHandles();
    if (arena === undefined) memory.free();
  };
  return {
    run() {
      const profile = activeProfile();
      if (profile !== undefined) return profile.run(name, calls, describe);
      share?.begin();
      for (let i = 0; i < calls.length; i++) at(calls, i)();
      share?.end();
    },
    output(name) {
      const operand = program.outputs[name];
      if (operand === undefined) throw new RangeError(`the program has no output "${name}"`);
      return locate(operand);
    },
    free,
    [Symbol.dispose]: free,
  };
}

/** One function for all calls of an operation. */
function inOrder(calls: readonly (() => void)[]): () => void {
  return calls.length === 1 ? at(calls, 0) : () => calls.forEach((call) => call());
}

/** An operation by its types alone. */
const applicationOf = ({ rule, attributes, inputs, outputs }: Operation): Application => ({
  rule,
  attributes,
  inputs: inputs.map(({ type }) => type),
  outputs: outputs.map(({ type }) => type),
});

function checkSlot(name: string, type: TensorType, tensor: Tensor | undefined): void {
  if (tensor === undefined) throw new RangeError(`slot "${name}" of the program is not bound`);
  if (!sameShape(tensor.type, type)) {
    const show = ({ dtype, shape }: TensorType) => `${dtype}[${shape.join(', ')}]`;
    throw new RangeError(`slot "${name}": expected ${show(type)}, found ${show(tensor.type)}`);
  }
}
