import type { Family, ModelConfig } from '../architecture/index.js';
import { Memory, type Tensor } from '../engine/buffers.js';
import { bindProgram, type Replay } from '../engine/replay.js';
import { forwardOf, type ArenaLayout } from '../model/index.js';
import { at, tensorBytes, type TensorType } from '../ops/index.js';
import { programFlops, type Program } from '../program/index.js';
import {
  recordEvaluation,
  recordGradient,
  recordNorm,
  isHiddenMatrix,
  maskSlot,
  recordUpdate,
  stepLayout,
  stepSlots,
  type StepShape,
} from './step-programs.js';

/** Elements of a float tensor, live. */
export type FloatArray = Float32Array | Float64Array;

/** One micro-batch: `sequences * length` token ids, the ids that follow them (negative: ignored), and each token's weight in the loss. */
export interface MicroBatch {
  readonly inputs: Int32Array;
  readonly targets: Int32Array;
  readonly weights: FloatArray;
  /** For each token the first position of its document within its sequence; for a shape whose attention stays within documents. */
  readonly documentStarts?: Int32Array | undefined;
  /** Losses of the reference, for a shape with an objective. */
  readonly reference?: FloatArray | undefined;
}

/** What changes from one optimizer step to the next. */
export interface UpdateScalars {
  readonly learningRate: number;
  /** Rate of entries that the mask of new entries names. */
  readonly newEntriesRate?: number;
  /** Factor on the gradients: what clipping asks for. */
  readonly gradientScale: number;
  /** Steps this optimizer state has seen, this one included: 1 at first. */
  readonly step: number;
}

/** What a step costs, known from shapes alone. All sizes in bytes. */
export interface StepForecast {
  readonly parameterBytes: number;
  readonly gradientBytes: number;
  readonly momentBytes: number;
  /** Activations, their gradients and workspaces of one micro-batch. */
  readonly activationBytes: number;
  readonly peakBytes: number;
  readonly flopsPerMicroBatch: number;
  /** Operations of one micro-batch and one update. */
  readonly operations: number;
}

/**
 * The memory and the programs of one train stage: parameters, gradients and moments in flat arenas, every call prepared.
 *
 * Nothing is allocated after the first step. The caller gives batches, asks for the norm, and updates; `free` gives all memory back.
 */
export class TrainingSession {
  readonly layout: ArenaLayout;
  /** Names of all weights that have memory of their own. */
  readonly names: readonly string[];
  readonly #shape: StepShape;
  readonly #memories: Memory[] = [];
  readonly #tensors: Record<string, Tensor> = {};
  readonly #replays = new Map<string, Replay>();
  readonly #activations: Memory;
  readonly #programs: StepPrograms;
  /** The gradient program that ran last. */
  #last: 'first' | 'later' = 'first';

  /** Needs the engine to be loaded. Memory starts as zeros: parameters are written by the caller. */
  constructor(shape: StepShape) {
    this.#shape = shape;
    this.layout = stepLayout(shape);
    this.names = [...this.layout.ranges.keys()];
    const slots = stepSlots(shape, this.layout);
    const types = { ...slots, ...slots.tables, ...slots.masks, firstMoments: slots.moments };
    for (const [name, type] of Object.entries(types))
      if (name !== 'tables' && name !== 'moments' && name !== 'masks' && type !== undefined)
        this.#allocate(name, type as TensorType);
    for (const [name, { values }] of Object.entries(forwardOf(shape.config).tables(shape.config, shape.sequenceLength)))
      this.#tensor(name)
        .data()
        .set(values as never);
    this.#programs = {
      first: recordGradient(shape, this.layout, false),
      evaluation: recordEvaluation(shape, this.layout),
      update: recordUpdate(shape, this.layout),
    };
    this.#activations = new Memory(activationBytes(this.#programs));
    this.#memories.push(this.#activations);
  }

  /** The model as it stands, its weights where they lie. */
  get model(): { config: ModelConfig; family: Family; layout: ArenaLayout; parameters: Tensor } {
    const { config, family } = this.#shape;
    return { config, family, layout: this.layout, parameters: this.#tensor('parameters') };
  }

  /** A weight, live: what is written here is trained. */
  parameter(name: string): FloatArray {
    return this.#range('parameters', name);
  }

  /** The gradient of a weight, live; undefined where it is frozen. */
  gradientOf(name: string): FloatArray | undefined {
    return this.#isTrained(name) ? this.#range('gradients', name) : undefined;
  }

  /** The optimizer's moments of a weight, live: Muon has no second one. Undefined where it is frozen. */
  moments(name: string): { first: FloatArray; second: FloatArray | undefined } | undefined {
    const { trained, spec } = this.#rangeOf(name);
    if (!trained) return undefined;
    const isMuon = this.#shape.optimizer.muon !== undefined && isHiddenMatrix(spec);
    return {
      first: this.#range('firstMoments', name),
      second: isMuon ? undefined : this.#range('secondMoments', name),
    };
  }

  /** The mask of entries with a rate of their own, live: 1 for those. Undefined where the weight is frozen. */
  newEntries(name: string): FloatArray | undefined {
    return this.#isTrained(name) ? this.#range('newEntries', name) : undefined;
  }

  /** Sets the vectors that fade in new parts, by name; they hold until they are set again. */
  setMasks(vectors: Readonly<Record<string, Float64Array>>): void {
    for (const [name, values] of Object.entries(vectors))
      (this.#tensor(maskSlot(name)).data() as FloatArray).set(values);
  }

  /** Sets what weights by excess loss depend on beside the losses: 1 / tau, and the logarithm of the normaliser. */
  setObjective(inverseTau: number, logNormaliser: number): void {
    (this.#tensor('objective').data() as Float64Array).set([inverseTau, logNormaliser]);
  }

  /** What `EXCESS_SUMS` names, of the last micro-batch. Valid until the next. */
  objectiveSums(): Float64Array {
    return this.#replays.get(this.#last)!.output('sums').data() as Float64Array;
  }

  /** Sets how many tokens layers keep: the share over all of them, by which labels are made, and that of each. */
  setRouting(capacity: number, capacities: readonly number[]): void {
    (this.#tensor('routing').data() as Float64Array).set([capacity, ...capacities]);
  }

  /** The routers' loss on the last micro-batch, and the share of label 1 in each layer. Valid until the next. */
  routing(): { loss: number; shares: Float64Array } {
    const replay = this.#replays.get(this.#last)!;
    const loss = Number((replay.output('routerLoss').data() as FloatArray)[0]);
    return { loss, shares: replay.output('shares').data() as Float64Array };
  }

  /**
   * Forward and backward of a micro-batch.
   *
   * @param index Place of the micro-batch in its step: 0 overwrites the gradients, later ones are added.
   * @returns Sum of weight times loss over its tokens, by the weights that an objective gives them.
   */
  gradient(batch: MicroBatch, index: number): number {
    this.#writeBatch(batch);
    this.#tensor('weights')
      .data()
      .set(batch.weights as never);
    if (this.#shape.objective !== undefined) {
      if (batch.reference === undefined) throw new RangeError('an objective needs the losses of its reference');
      this.#tensor('reference')
        .data()
        .set(batch.reference as never);
    }
    this.#last = index === 0 ? 'first' : 'later';
    const replay =
      index === 0
        ? this.#replay('first', () => this.#programs.first)
        : this.#replay('later', () => recordGradient(this.#shape, this.layout, true));
    replay.run();
    return Number(at(replay.output('total').data() as FloatArray as unknown as number[], 0));
  }

  /** Euclidean norm of all gradients. */
  gradientNorm(): number {
    this.#replay('norm', () => recordNorm(this.#shape, this.layout)).run();
    return Math.sqrt((this.#tensor('norm').data() as Float64Array)[0] as number);
  }

  /** One step of the optimizer with the gradients that are there. */
  update({ learningRate, gradientScale, step, newEntriesRate = learningRate }: UpdateScalars): void {
    const { beta1, beta2, widthFactor } = this.#shape.optimizer;
    const set = (slot: string, factor: number): void =>
      (this.#tensor(slot).data() as Float64Array).set([
        learningRate * factor,
        gradientScale,
        1 - beta1 ** step,
        1 - beta2 ** step,
        newEntriesRate * factor,
      ]);
    set('scalars', 1);
    if (widthFactor !== undefined) set('matrixScalars', 1 / widthFactor);
    this.#replay('update', () => this.#programs.update).run();
  }

  /** Losses of every token of a micro-batch, in nats, without gradients. Valid until the next call. */
  evaluate(batch: Omit<MicroBatch, 'weights'>): FloatArray {
    this.#writeBatch(batch);
    const replay = this.#replay('evaluation', () => this.#programs.evaluation);
    replay.run();
    return replay.output('losses').data() as FloatArray;
  }

  /** Gives all memory back. */
  free(): void {
    for (const replay of this.#replays.values()) replay.free();
    for (const memory of this.#memories) memory.free();
  }

  [Symbol.dispose](): void {
    this.free();
  }

  /** Memory, FLOPs and calls of a step. Needs no libtorch and no memory: a 7B step is forecast on a laptop. */
  static forecast(shape: StepShape): StepForecast {
    const layout = stepLayout(shape);
    const slots = stepSlots(shape, layout);
    const first = recordGradient(shape, layout, false);
    const programs = { first, evaluation: recordEvaluation(shape, layout), update: recordUpdate(shape, layout) };
    const later = recordGradient(shape, layout, true);
    const parameterBytes = tensorBytes(slots.parameters);
    const gradientBytes = tensorBytes(slots.gradients);
    const momentBytes = tensorBytes(slots.moments) + tensorBytes(slots.secondMoments);
    const maskBytes = slots.newEntries === undefined ? 0 : tensorBytes(slots.newEntries);
    const activations = Math.max(activationBytes(programs), later.peakBytes);
    const small = [
      slots.ids,
      slots.targets,
      slots.weights,
      slots.scalars,
      slots.norm,
      ...Object.values({ ...slots.tables, ...slots.masks }),
    ];
    for (const slot of [slots.documentStarts, slots.reference, slots.objective, slots.routing, slots.matrixScalars])
      if (slot !== undefined) small.push(slot);
    const smallBytes = small.reduce((sum, type) => sum + tensorBytes(type), 0);
    return {
      parameterBytes,
      gradientBytes,
      momentBytes,
      activationBytes: activations,
      peakBytes: parameterBytes + gradientBytes + momentBytes + maskBytes + activations + smallBytes,
      flopsPerMicroBatch: programFlops(first),
      operations:
        first.operations.length + programs.update.operations.length + recordNorm(shape, layout).operations.length,
    };
  }

  #allocate(name: string, type: TensorType): void {
    const memory = new Memory(tensorBytes(type));
    memory.zero();
    this.#memories.push(memory);
    this.#tensors[name] = memory.tensor(type);
  }

  #tensor(name: string): Tensor {
    const tensor = this.#tensors[name];
    if (tensor === undefined) throw new RangeError(`the session has no tensor "${name}"`);
    return tensor;
  }

  #isTrained(name: string): boolean {
    return this.#rangeOf(name).trained;
  }

  #rangeOf(name: string) {
    const range = this.layout.ranges.get(name);
    if (range === undefined) throw new RangeError(`the model has no weight "${name}"`);
    return range;
  }

  #range(arena: string, name: string): FloatArray {
    const { offset, size } = this.#rangeOf(name);
    return (this.#tensor(arena).data() as FloatArray).subarray(offset, offset + size);
  }

  #writeBatch({ inputs, targets, documentStarts }: Omit<MicroBatch, 'weights'>): void {
    this.#tensor('ids').write(inputs);
    this.#tensor('targets').write(targets);
    if (this.#shape.withinDocuments !== true) return;
    if (documentStarts === undefined) throw new RangeError('attention within documents needs documentStarts');
    this.#tensor('documentStarts').write(documentStarts);
  }

  #replay(name: string, program: () => Program): Replay {
    let replay = this.#replays.get(name);
    if (replay === undefined) {
      const compiled = program();
      const needed = Object.fromEntries(Object.keys(compiled.slots).map((slot) => [slot, this.#tensor(slot)]));
      const shared = compiled.peakBytes <= this.#activations.bytes ? this.#activations : undefined;
      replay = bindProgram(compiled, needed, shared, PROFILED_NAMES[name] ?? name);
      this.#replays.set(name, replay);
    }
    return replay;
  }
}

interface StepPrograms {
  readonly first: Program;
  readonly evaluation: Program;
  readonly update: Program;
}

/** What profiles call the programs that the session keeps under other names. */
const PROFILED_NAMES: Readonly<Record<string, string>> = { first: 'gradient', later: 'gradient, added' };

/** One arena serves gradient, evaluation and update: they never run at the same time. */
const activationBytes = (programs: StepPrograms): number =>
  Math.max(programs.first.peakBytes, programs.evaluation.peakBytes, programs.update.peakBytes);
