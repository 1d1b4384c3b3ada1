import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RandomStream } from '../src/architecture/random.js';
import { importTokens, trainTokenizer } from '../src/data/index.js';
import { counters } from '../src/engine/buffers.js';
import { loadLibtorch } from '../src/engine/libtorch/load.js';
import { readRun } from '../src/records/index.js';
import { parseConfig, runTraining } from '../src/train/index.js';
import { TrainingSession } from '../src/train/session.js';
import { tinyRun } from './support/tiny-run.js';
import type { StepShape } from '../src/train/step-programs.js';
import { drawBatch, fillParameters, stepShape } from './support/step.js';

/**
 * Relative to the largest value. In f64 what is left is the rounding of the rotary tables to f32 (6e-8 for each factor): only without it would a document
 * further back be turned exactly as at the start.
 */
const TOLERANCE = { f64: 1e-6, f32: 1e-5 } as const;

/** What families need beside the fields of the tiny model. */
const FAMILY_FIELDS: Record<string, Record<string, unknown>> = {
  gemma2: { sliding_window: 5, query_pre_attn_scalar: 8 },
  gpt2: { num_key_value_heads: 4 },
  gpt_neox: { num_key_value_heads: 4 },
  mistral: { sliding_window: 7 },
};

loadLibtorch({ threads: 1 });

function largestError(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(found.length).toBe(expected.length);
  const values = Array.from(expected);
  return Math.max(...values.map((v, i) => Math.abs(found[i]! - v))) / Math.max(...values.map(Math.abs));
}

describe.each(['f64', 'f32'] as const)('two documents in one sequence, %s', (dtype) => {
  // The second document begins within a block of the fused kernel, and crosses into the next.
  const [length, second] = [150, 50];
  const fields = { max_position_embeddings: length };
  const packed = stepShape(fields, { dtype, sequenceLength: length, microBatchSequences: 1, withinDocuments: true });
  const whole = drawBatch(packed, 3);
  const documentStarts = Int32Array.from({ length }, (_, i) => (i < second ? 0 : second));
  const parts = [
    [0, second],
    [second, length],
  ] as const;

  /** Losses and all gradients of tokens `from` to `to` as a sequence of their own. */
  function alone([from, to]: readonly [number, number]): { losses: number[]; gradients: number[][] } {
    using session = new TrainingSession({ ...packed, sequenceLength: to - from, withinDocuments: false });
    fillParameters(session, packed);
    const cut = <T extends { slice(from: number, to: number): T }>(values: T): T => values.slice(from, to);
    session.gradient(
      { inputs: cut(whole.inputs), targets: cut(whole.targets), weights: cut(whole.weights as Float32Array) },
      0,
    );
    const gradients = session.names.map((name) => [...session.gradientOf(name)!]);
    return { gradients, losses: [...session.evaluate({ inputs: cut(whole.inputs), targets: cut(whole.targets) })] };
  }

  it('has the losses and gradients of the two run apart', () => {
    using session = new TrainingSession(packed);
    fillParameters(session, packed);
    session.gradient({ ...whole, documentStarts }, 0);
    const apart = parts.map(alone);
    session.names.forEach((name, i) => {
      const sum = apart[0]!.gradients[i]!.map((value, k) => value + apart[1]!.gradients[i]![k]!);
      expect(largestError(session.gradientOf(name)!, sum), name).toBeLessThan(TOLERANCE[dtype]);
    });
    const losses = session.evaluate({ ...whole, documentStarts });
    expect(
      largestError(
        losses,
        apart.flatMap((part) => part.losses),
      ),
    ).toBeLessThan(TOLERANCE[dtype]);
  });

  it('gives the second the same bits whatever the first says', () => {
    using session = new TrainingSession(packed);
    fillParameters(session, packed);
    const other = whole.inputs.map((id, i) => (i < second ? (id + 1) % packed.config.vocab_size : id));
    const before = [...session.evaluate({ ...whole, documentStarts })];
    const after = [...session.evaluate({ ...whole, inputs: other, documentStarts })];
    expect(after.slice(second)).toEqual(before.slice(second));
    expect(after.slice(0, second)).not.toEqual(before.slice(0, second));
  });

  it('sees across documents without their starts', () => {
    using session = new TrainingSession({ ...packed, withinDocuments: false });
    fillParameters(session, packed);
    const [first, last] = parts.map((part) => alone(part).losses);
    const losses = [...session.evaluate(whole)];
    expect(largestError(losses.slice(0, second), first!)).toBeLessThan(TOLERANCE[dtype]);
    expect(largestError(losses.slice(second), last!)).toBeGreaterThan(1e-3);
  });
});

describe('packed documents', () => {
  const packedShape = (fields: Record<string, unknown>, rest: Partial<StepShape> = {}): StepShape =>
    stepShape(fields, { withinDocuments: true, microBatchSequences: 1, ...rest });
  const documentStarts = Int32Array.from({ length: 24 }, (_, i) => (i < 9 ? 0 : 9));

  it.each(['gemma2', 'gpt2', 'gpt_neox', 'mistral', 'olmo2', 'qwen2', 'qwen3'])('%s keeps apart', (model_type) => {
    const shape = packedShape({ model_type, ...FAMILY_FIELDS[model_type] });
    using session = new TrainingSession(shape);
    fillParameters(session, shape);
    const batch = drawBatch(shape, 5);
    const before = [...session.evaluate({ ...batch, documentStarts })];
    const inputs = batch.inputs.map((id, i) => (i < 9 ? (id + 1) % shape.config.vocab_size : id));
    const after = [...session.evaluate({ ...batch, inputs, documentStarts })];
    expect(after.slice(9)).toEqual(before.slice(9));
    expect(after.slice(0, 9)).not.toEqual(before.slice(0, 9));
  });

  it('have the same gradients where activations are computed again', () => {
    const gradients = [false, true].map((recompute) => {
      const shape = packedShape({}, { recompute });
      using session = new TrainingSession(shape);
      fillParameters(session, shape);
      session.gradient({ ...drawBatch(shape, 5), documentStarts }, 0);
      return session.names.map((name) => [...session.gradientOf(name)!]);
    });
    expect(gradients[1]).toEqual(gradients[0]);
  });

  it('take the memory that was forecast, and no step without their starts', () => {
    const shape = packedShape({});
    const start = counters();
    using session = new TrainingSession(shape);
    fillParameters(session, shape);
    const batch = drawBatch(shape, 1);
    expect(() => session.gradient(batch, 0)).toThrow('needs documentStarts');
    session.gradient({ ...batch, documentStarts }, 0);
    session.gradient({ ...batch, documentStarts }, 1);
    session.gradientNorm();
    session.update({ learningRate: 1e-3, gradientScale: 1, step: 1 });
    expect(counters().bytes - start.bytes).toBe(TrainingSession.forecast(shape).peakBytes);
  });
});

describe('a run on documents of 32 tokens', () => {
  const folder = mkdtempSync(join(tmpdir(), 'strata-packed-'));
  const data = join(folder, 'data');
  const documents = 16;

  beforeAll(async () => {
    const [text, tokenizer] = [join(folder, 'text.txt'), join(folder, 'tokenizer.json')];
    writeFileSync(text, 'some words to begin with, and then some more words');
    await trainTokenizer({ inputs: [text], out: tokenizer, vocabSize: 260 });
    mkdirSync(data);
    for (const split of ['train', 'validation'] as const) {
      // Small ids follow each other by a rule that a document draws; EOS is 0. The last two tokens make all others part of a sequence.
      const noise = new Float64Array(documents);
      new RandomStream(1, split).fillNormal(noise, 1);
      const tokens = Array.from(noise, (x) => Math.floor(Math.abs(x) * 1e4)).flatMap((start) => [
        ...Array.from({ length: 31 }, (_, i) => 1 + ((start + i * (1 + (start % 5))) % 50)),
        0,
      ]);
      const file = join(folder, `${split}.bin`);
      writeFileSync(file, Uint16Array.from([...tokens, 7, 0]));
      importTokens({ inputs: [file], tokenizer, out: join(data, split), split });
    }
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Losses, norms and validation losses of four steps, each over all documents. */
  async function curves(sequenceLength: number, crossDocumentAttention: boolean): Promise<number[]> {
    const batchTokens = documents * 32;
    const out = join(folder, `run-${sequenceLength}-${crossDocumentAttention}`);
    const stage = { name: 'only', kind: 'train', until: { steps: 4 }, optimizer: { lr: 4e-3 } } as const;
    const config = parseConfig({
      ...tinyRun(data),
      data: { train: data, sequenceLength, batchTokens, crossDocumentAttention },
      validation: { every: 2, tokens: batchTokens },
      stages: [stage],
    });
    await runTraining(config, { out, threads: 1 });
    const { train, validation } = readRun(out).records;
    return [...train.loss, ...train.gradNorm, ...validation.map(({ loss }) => loss)];
  }

  it('trains and validates two to a sequence as each in its own', async () => {
    const own = await curves(32, true);
    expect(own).toHaveLength(4 + 4 + 2);
    expect(largestError(await curves(64, false), own)).toBeLessThan(2e-5);
    expect(largestError(await curves(64, true), own)).toBeGreaterThan(1e-3);
  });
});
