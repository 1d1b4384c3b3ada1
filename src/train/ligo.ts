import { setImmediate } from 'node:timers/promises';
import { Memory, type Tensor } from '../engine/buffers.js';
import { bindProgram, type Replay } from '../engine/replay.js';
import { initialParameter, type Plan } from '../growth/index.js';
import { forwardOf } from '../model/index.js';
import { clipScale } from '../optim/index.js';
import { tensorBytes } from '../ops/index.js';
import { programFlops } from '../program/index.js';
import {
  expansionLayout,
  type ExpansionShape,
  expansionSlots,
  recordExpansion,
  recordExpansionUpdate,
  Selections,
} from './ligo-program.js';
import type { LearnedPart, Learning } from './learned-folder.js';
import type { MicroBatch } from './session.js';
import type { Floats } from './weights.js';

/** How an expansion is learned. */
export interface LigoSchedule {
  readonly steps: number;
  readonly learningRate: number;
  readonly warmupSteps: number;
}

/** What the training of an expansion came to. */
export interface Learned {
  /** A learned matrix by name. */
  readonly tensor: (name: string) => Floats;
  /** Mean loss of each step's batch, before its update. */
  readonly losses: readonly number[];
  /** How far each matrix moved: |M - M_0| / |M_0|, Frobenius norms. */
  readonly moved: Readonly<Record<string, number>>;
  /** Of predictors: the loss of the last epoch as a share of the first's, by kind of matrix. */
  readonly lossShare?: Readonly<Record<string, number>>;
  /** Matrix products of all steps, the expansion's own included. */
  readonly flops: bigint;
}

/** Largest norm of the gradient of all learned matrices. */
const CLIP = 1;
const KEEP_EVERY_MS = 30_000;

/**
 * Trains the matrices of a LiGO plan on the ordinary loss of the grown model, the source's weights frozen (arXiv 2303.00980).
 *
 * AdamW without decay, linear warm-up, then a constant rate. Rows that the plan freezes stay as they begin.
 *
 * @param source Source weights by name.
 * @param batches The micro-batches of a step, each valid until the next.
 */
export async function learnExpansion(
  plan: Plan,
  shape: ExpansionShape,
  schedule: LigoSchedule,
  seed: number,
  source: (name: string) => Floats,
  batches: (step: number) => Iterable<MicroBatch>,
  { kept, signal, onProgress }: Learning = {},
): Promise<Learned> {
  using training = new ExpansionTraining(shape, source, (name) =>
    initialParameter(plan.prepare!.parameters.find((parameter) => parameter.name === name)!, seed),
  );
  const part = kept?.load('ligo');
  const losses = part === undefined ? [] : training.restore(part);
  const keep = (): void => kept?.save('ligo', training.state(), { losses, flops: String(training.flops) });
  let lastKept = performance.now();
  for (let step = losses.length; step < schedule.steps; step++) {
    const rate = schedule.learningRate * Math.min(1, (step + 1) / Math.max(1, schedule.warmupSteps));
    losses.push(training.step(batches(step), rate, step + 1));
    onProgress?.(step + 1, schedule.steps, losses.at(-1)!);
    // Lets signals be seen: everything else is synchronous.
    await setImmediate();
    const isLast = step === schedule.steps - 1;
    if (isLast || signal?.aborted === true || performance.now() - lastKept > KEEP_EVERY_MS) {
      keep();
      lastKept = performance.now();
    }
    signal?.throwIfAborted();
  }
  return { ...training.result(), losses };
}

/** Tensors that the next step depends on. */
const STATE = ['learned', 'firstMoments', 'secondMoments'] as const;

class ExpansionTraining {
  readonly #shape: ExpansionShape;
  readonly #layout: ReturnType<typeof expansionLayout>;
  readonly #tensors: Record<string, Tensor> = {};
  readonly #memories: Memory[] = [];
  readonly #replays: Record<'first' | 'later' | 'norm' | 'update', Replay>;
  readonly #flops: { readonly first: number; readonly later: number };
  readonly #initial = new Map<string, Float64Array>();
  #spent = 0n;

  constructor(shape: ExpansionShape, source: (name: string) => Floats, initial: (name: string) => Float64Array) {
    this.#shape = shape;
    this.#layout = expansionLayout(shape);
    const selections = new Selections();
    const first = recordExpansion(shape, this.#layout, selections, false);
    const later = recordExpansion(shape, this.#layout, selections, true);
    this.#flops = { first: programFlops(first), later: programFlops(later) };
    const types = Object.entries(expansionSlots(shape, this.#layout));
    for (const [name, type] of types) this.#allocate(name, type);
    for (const [name, { shape: size, values }] of selections.values) {
      this.#allocate(name, { dtype: 'f32', shape: size });
      this.#floats(name).set(values);
    }
    const { target } = shape.plan;
    for (const [name, { values }] of Object.entries(forwardOf(target).tables(target, shape.sequenceLength)))
      this.#floats(name).set(values);
    for (const [name, { offset }] of this.#layout.source) this.#floats('source').set(source(name), offset);
    for (const [name, { offset }] of this.#layout.learned) {
      this.#initial.set(name, initial(name));
      this.#floats('learned').set(initial(name), offset);
    }
    const activations = new Memory(Math.max(first.peakBytes, later.peakBytes));
    this.#memories.push(activations);
    const bind = (program: typeof first, arena?: Memory): Replay =>
      bindProgram(
        program,
        Object.fromEntries(Object.keys(program.slots).map((name) => [name, this.#tensors[name]!])),
        arena,
      );
    const { norm, update } = recordExpansionUpdate(shape, this.#layout);
    this.#replays = {
      first: bind(first, activations),
      later: bind(later, activations),
      norm: bind(norm),
      update: bind(update),
    };
  }

  /** Matrix products of all steps so far. */
  get flops(): bigint {
    return this.#spent;
  }

  /** What a later training needs to go on from here. */
  state(): Record<string, Float32Array> {
    return Object.fromEntries(STATE.map((name) => [name, this.#floats(name)]));
  }

  /** Goes on from what was kept; returns the losses of the steps that were made. */
  restore({ tensors, state }: LearnedPart): number[] {
    for (const name of STATE) this.#floats(name).set(tensors.get(name)!);
    const { losses, flops } = state as { losses: number[]; flops: string };
    this.#spent = BigInt(flops);
    return [...losses];
  }

  /** One optimizer step; returns the loss before it. */
  step(batches: Iterable<MicroBatch>, rate: number, count: number): number {
    let loss = 0;
    let index = 0;
    for (const { inputs, targets, weights, documentStarts } of batches) {
      this.#tensors['ids']!.write(inputs);
      this.#tensors['targets']!.write(targets);
      if (this.#shape.withinDocuments === true) {
        if (documentStarts === undefined) throw new RangeError('attention within documents needs documentStarts');
        this.#tensors['documentStarts']!.write(documentStarts);
      }
      this.#floats('weights').set(weights as Float32Array);
      const which = index++ === 0 ? 'first' : 'later';
      this.#replays[which].run();
      this.#spent += BigInt(this.#flops[which]);
      loss += Number((this.#replays[which].output('total').data() as Float32Array)[0]);
    }
    const gradients = this.#floats('gradients');
    for (const { name, shape, frozenRows } of this.#shape.parameters) {
      const { offset } = this.#layout.learned.get(name)!;
      if (frozenRows !== undefined) gradients.fill(0, offset, offset + frozenRows * shape[1]);
    }
    this.#replays.norm.run();
    const norm = Math.sqrt((this.#tensors['norm']!.data() as Float64Array)[0]!);
    const scalars = [rate, clipScale(norm, CLIP), 1 - 0.9 ** count, 1 - 0.95 ** count];
    (this.#tensors['scalars']!.data() as Float64Array).set(scalars);
    this.#replays.update.run();
    return loss;
  }

  result(): Omit<Learned, 'losses'> {
    const values = Float32Array.from(this.#floats('learned'));
    const tensor = (name: string): Float32Array => {
      const { offset, shape } = this.#layout.learned.get(name)!;
      return values.subarray(offset, offset + shape.reduce((product, size) => product * size, 1));
    };
    const moved = [...this.#initial].map(([name, before]) => {
      const after = tensor(name);
      const norm = (of: (x: number, i: number) => number): number =>
        Math.sqrt(before.reduce((sum, x, i) => sum + of(x, i) ** 2, 0));
      return [name, norm((x, i) => after[i]! - x) / norm((x) => x)] as const;
    });
    return { tensor, moved: Object.fromEntries(moved), flops: this.#spent };
  }

  [Symbol.dispose](): void {
    for (const replay of Object.values(this.#replays)) replay.free();
    for (const memory of this.#memories) memory.free();
  }

  #allocate(name: string, type: Parameters<typeof tensorBytes>[0]): void {
    const memory = new Memory(tensorBytes(type));
    memory.zero();
    this.#memories.push(memory);
    this.#tensors[name] = memory.tensor(type);
  }

  #floats(name: string): Float32Array {
    return this.#tensors[name]!.data() as Float32Array;
  }
}
