import { familyOf, type ModelConfig, type WeightSpec } from '../../architecture/index.js';
import { Memory, type Tensor } from '../../engine/buffers.js';
import { bindProgram, type Replay } from '../../engine/replay.js';
import type { Checkpoint } from '../../interop/index.js';
import { forwardOf } from '../../model/index.js';
import { tensorBytes } from '../../ops/index.js';
import type { Program } from '../../program/index.js';
import type { MicroBatch } from '../session.js';
import { recordEvaluation, stepLayout, type StepShape } from '../step-programs.js';

/** What decides how sequences pass through a reference. */
export type ReferenceShape = Pick<StepShape, 'sequenceLength' | 'microBatchSequences' | 'withinDocuments'>;

/** A model that only gives losses: its weights, and the forward pass. `free` gives all memory back. */
export class ReferenceModel {
  readonly #memories: Memory[] = [];
  readonly #slots: Record<string, Tensor> = {};
  readonly #replay: Replay;

  /** Needs the engine to be loaded. */
  constructor(checkpoint: Checkpoint, shape: ReferenceShape) {
    const whole = wholeShape(checkpoint.config, shape);
    const layout = stepLayout(whole);
    const program = recordEvaluation(whole, layout);
    for (const [name, type] of Object.entries(program.slots)) {
      const memory = new Memory(tensorBytes(type));
      memory.zero();
      this.#memories.push(memory);
      this.#slots[name] = memory.tensor(type);
    }
    const parameters = this.#slots['parameters']!.data() as Float32Array;
    for (const { spec, offset } of layout.ranges.values()) parameters.set(checkpoint.read(spec.name), offset);
    checkpoint.release();
    const tables = forwardOf(checkpoint.config).tables(checkpoint.config, shape.sequenceLength);
    for (const [name, { values }] of Object.entries(tables)) this.#slots[name]?.data().set(values as never);
    this.#replay = bindProgram(program, this.#slots);
  }

  /** Losses of every token of a micro-batch, in nats. Valid until the next call. */
  losses({ inputs, targets, documentStarts }: Omit<MicroBatch, 'weights'>): Float32Array {
    this.#slots['ids']!.write(inputs);
    this.#slots['targets']!.write(targets);
    if (documentStarts !== undefined) this.#slots['documentStarts']?.write(documentStarts);
    this.#replay.run();
    return this.#replay.output('losses').data() as Float32Array;
  }

  free(): void {
    this.#replay.free();
    for (const memory of this.#memories) memory.free();
  }

  [Symbol.dispose](): void {
    this.free();
  }

  /** Bytes that a reference takes, without making it. */
  static forecastBytes(config: ModelConfig, shape: ReferenceShape): number {
    const whole = wholeShape(config, shape);
    const program: Program = recordEvaluation(whole, stepLayout(whole));
    return Object.values(program.slots).reduce((sum, type) => sum + tensorBytes(type), program.peakBytes);
  }
}

const nothing = (_spec: WeightSpec): boolean => false;

/** The shape of a step that trains nothing. */
const wholeShape = (config: ModelConfig, shape: ReferenceShape): StepShape => ({
  ...shape,
  config,
  family: familyOf(config),
  trainable: nothing,
  optimizer: { beta1: 0, beta2: 0, eps: 0, weightDecay: 0 },
  recompute: false,
});
