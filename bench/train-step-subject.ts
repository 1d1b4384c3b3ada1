import { fillInitial, llama, parseModelConfig } from '../src/architecture/index.js';
import { SafetensorsFile } from '../src/interop/index.js';
import { clipScale } from '../src/optim/index.js';
import { type MicroBatch, TrainingSession } from '../src/train/session.js';
import type { Program } from '../src/program/index.js';
import { recordGradient, recordNorm, recordUpdate, stepLayout, type StepShape } from '../src/train/step-programs.js';

/** Shape of a Llama training step. */
export interface TrainStepShape {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly ffn: number;
  readonly vocab: number;
  readonly batch: number;
  readonly length: number;
}

/** What is measured: one optimizer step, its loss read. */
export interface TrainStepSubject extends Disposable {
  step(): number;
}

/** Precisions in which Strata trains. */
export type TrainStepPrecision = NonNullable<StepShape['precision']>;

/** The peers' settings: bench/peers/train_step.py has the same. */
const LEARNING_RATE = 1e-3;
const CLIP_NORM = 1;
const OPTIMIZER = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1 };

/**
 * Strata's training step, as the trainer runs it. libtorch must be loaded.
 *
 * @param precision One that `precisions` names.
 * @param weights model.safetensors with the initial weights under Hugging Face's names; drawn where left out.
 * @param tokens Ids [any number of batches, batch, length + 1]; step i takes batch i, round and round.
 */
export function createTrainStepSubject(
  shape: TrainStepShape,
  precision: TrainStepPrecision,
  weights: string | undefined,
  tokens: Int32Array,
): TrainStepSubject {
  const session = new TrainingSession(stepShapeOf(shape, precision));
  if (weights === undefined) {
    for (const [name, { spec }] of session.layout.ranges)
      fillInitial(session.parameter(name), spec, session.model.config, 1);
  } else {
    using file = new SafetensorsFile(weights);
    for (const name of session.names) file.readFloats(file.entry(name), session.parameter(name));
  }
  const batches = cutBatches(shape, tokens);
  let done = 0;
  return {
    step() {
      const batch = batches[done % batches.length];
      if (batch === undefined) throw new RangeError('there are no batches');
      const loss = session.gradient(batch, 0);
      const gradientScale = clipScale(session.gradientNorm(), CLIP_NORM);
      session.update({ learningRate: LEARNING_RATE, gradientScale, step: ++done });
      return loss;
    },
    [Symbol.dispose]: () => session.free(),
  };
}

/** What the session of a shape is made of. */
export const stepShapeOf = (shape: TrainStepShape, precision: TrainStepPrecision): StepShape => ({
  config: modelConfig(shape),
  family: llama,
  sequenceLength: shape.length,
  microBatchSequences: shape.batch,
  trainable: () => true,
  optimizer: OPTIMIZER,
  recompute: false,
  precision,
});

/** The programs that one step of the subject replays. */
export function recordStep(shape: TrainStepShape, precision: TrainStepPrecision): Program[] {
  const step = stepShapeOf(shape, precision);
  const layout = stepLayout(step);
  return [recordGradient(step, layout, false), recordNorm(step, layout), recordUpdate(step, layout)];
}

const modelConfig = ({ hidden, layers, heads, kvHeads, ffn, vocab, length }: TrainStepShape) =>
  parseModelConfig(
    {
      vocab_size: vocab,
      hidden_size: hidden,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      num_key_value_heads: kvHeads,
      intermediate_size: ffn,
      max_position_embeddings: length,
      rms_norm_eps: 1e-5,
      rope_theta: 10000,
      tie_word_embeddings: false,
    },
    'bench',
  );

/** Inputs are all but the last token of each sequence, targets all but the first; every token weighs the same. */
export function cutBatches({ batch, length }: TrainStepShape, tokens: Int32Array): MicroBatch[] {
  const size = batch * (length + 1);
  const weights = new Float32Array(batch * length).fill(1 / (batch * length));
  return Array.from({ length: tokens.length / size }, (_, b) => {
    const [inputs, targets] = [new Int32Array(batch * length), new Int32Array(batch * length)];
    for (let s = 0; s < batch; s++) {
      const start = b * size + s * (length + 1);
      inputs.set(tokens.subarray(start, start + length), s * length);
      targets.set(tokens.subarray(start + 1, start + length + 1), s * length);
    }
    return { inputs, targets, weights };
  });
}
