import { familyOf, fillInitial, parseModelConfig, RandomStream } from '../../src/architecture/index.js';
import type { StepShape } from '../../src/train/step-programs.js';
import type { MicroBatch, TrainingSession } from '../../src/train/session.js';

/** A Llama of a few thousand parameters with grouped queries, whose sizes are no multiples of each other. */
export const tinyModel = {
  vocab_size: 67,
  hidden_size: 32,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  intermediate_size: 88,
};

/** The shape of a training step of a tiny model; any field can be replaced. */
export function stepShape(fields: Record<string, unknown> = {}, rest: Partial<StepShape> = {}): StepShape {
  const config = parseModelConfig({ ...tinyModel, ...fields }, 'test');
  return {
    config,
    family: familyOf(config),
    sequenceLength: 24,
    microBatchSequences: 3,
    trainable: () => true,
    optimizer: { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1 },
    recompute: false,
    ...rest,
  };
}

/** Fills a session's parameters as a fresh model has them; norm gains are disturbed, so that their gradients matter. */
export function fillParameters(session: TrainingSession, { family, config }: StepShape, seed = 1): void {
  for (const spec of family.weights(config)) {
    if (spec.tiedTo !== undefined) continue;
    const values = session.parameter(spec.name);
    fillInitial(values, spec, config, seed);
    if (spec.axes.length === 1) {
      const noise = new Float64Array(values.length);
      new RandomStream(seed, `${spec.name}/disturbance`).fillNormal(noise, 0.1);
      noise.forEach((value, i) => (values[i] = (values[i] as number) + value));
    }
  }
}

/** A batch of tokens drawn from a seed; each token has the same weight, one over their number times `micros`. */
export function drawBatch(
  { config, sequenceLength, microBatchSequences, dtype }: StepShape,
  seed: number,
  micros = 1,
): MicroBatch {
  const count = sequenceLength * microBatchSequences;
  const noise = new Float64Array(2 * count);
  new RandomStream(seed, 'batch').fillNormal(noise, 1);
  const tokens = Int32Array.from(noise, (value) => Math.floor(Math.abs(value * 1e4)) % config.vocab_size);
  const weights = (dtype === 'f64' ? new Float64Array(count) : new Float32Array(count)).fill(1 / (count * micros));
  return { inputs: tokens.subarray(0, count), targets: tokens.subarray(count), weights };
}
