import { copyFileSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Scope, type Tensor } from '../src/engine/buffers.js';
import { EagerContext } from '../src/engine/eager.js';
import { loadLibtorch } from '../src/engine/libtorch/load.js';
import { executeOnFolder, planGrowth } from '../src/growth/index.js';
import { generate, loadModel } from '../src/infer/index.js';
import {
  assembleStored,
  type Checkpoint,
  openCheckpoint,
  saveModel,
  storedGroups,
  writeSafetensors,
} from '../src/interop/index.js';
import { arenaParameters, boundLogits, forwardOf, layOut } from '../src/model/index.js';
import { matmul } from '../src/ops/index.js';
import { TrainingSession } from '../src/train/session.js';
import type { StepShape } from '../src/train/step-programs.js';
import { FAMILY_VARIANTS, readFamilyGolden, readStoredTensors, type FamilyGolden } from './golden/read.js';

/** What `transformers` and Strata may differ by: logits absolutely; gradients relative to the largest of a tensor. */
const LOGITS_TOLERANCE = 1e-4;
const GRADIENT_TOLERANCE = 1e-4;

beforeAll(() => void loadLibtorch({ threads: 2 }));

const scratch = mkdtempSync(join(tmpdir(), 'strata-families-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** Inputs and targets: all tokens but the last, all but the first. */
function batchOf({ tokens }: FamilyGolden) {
  const [sequences, stored] = tokens.shape as [number, number];
  const length = stored - 1;
  const inputs = new Int32Array(sequences * length);
  const targets = new Int32Array(sequences * length);
  for (let i = 0; i < inputs.length; i++) {
    const at = Math.floor(i / length) * stored + (i % length);
    inputs[i] = tokens.data[at]!;
    targets[i] = tokens.data[at + 1]!;
  }
  return { sequences, length, inputs, targets, weights: new Float32Array(inputs.length).fill(1 / inputs.length) };
}

function logitsOf(checkpoint: Checkpoint, golden: FamilyGolden): Float32Array {
  using scope = new Scope();
  const eager = new EagerContext(scope);
  const { config, family } = checkpoint;
  const { sequences, length, inputs } = batchOf(golden);
  const weights = family.weights(config);
  const layout = layOut(weights, () => false);
  const arena = scope.tensor({ dtype: 'f32', shape: [layout.size] });
  for (const [name, { offset }] of layout.ranges) (arena.data() as Float32Array).set(checkpoint.read(name), offset);
  const parameters = arenaParameters(eager, arena, layout, weights);
  const forward = forwardOf(config);
  const tables = Object.entries(forward.tables(config, length)).map(([name, { values, columns }]) => [
    name,
    scope.from({ dtype: values instanceof Int32Array ? 'i32' : 'f32', shape: [length, columns] }, values),
  ]);
  const ids = scope.from({ dtype: 'i32', shape: [sequences * length] }, inputs);
  const call = { ids, tables: Object.fromEntries(tables), batch: sequences, length };
  const hidden = forward.hidden(eager, config, parameters, call);
  const logits = matmul(eager, hidden, parameters.get('head'), { transposeB: true });
  return Float32Array.from((boundLogits(eager, config, logits) as Tensor).data() as Float32Array);
}

const largest = (values: Iterable<number>): number =>
  [...values].reduce((most, value) => Math.max(most, Math.abs(value)), 0);

const distance = (a: Float32Array, b: ArrayLike<number>): number => largest(a.map((value, i) => value - b[i]!));

function openSession(checkpoint: Checkpoint, golden: FamilyGolden): TrainingSession {
  const { sequences, length } = batchOf(golden);
  const shape: StepShape = {
    config: checkpoint.config,
    family: checkpoint.family,
    sequenceLength: length,
    microBatchSequences: sequences,
    trainable: () => true,
    optimizer: { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1 },
    recompute: false,
  };
  const session = new TrainingSession(shape);
  for (const name of session.names) session.parameter(name).set(checkpoint.read(name));
  return session;
}

describe.each(FAMILY_VARIANTS)('a model of transformers (%s)', (variant) => {
  const golden = readFamilyGolden(variant);

  test('has the same logits', () => {
    using checkpoint = openCheckpoint(golden.folder);
    const logits = logitsOf(checkpoint, golden);
    expect(logits.length).toBe(golden.logits.data.length);
    expect(distance(logits, golden.logits.data)).toBeLessThan(LOGITS_TOLERANCE);
  });

  test('has the same loss and gradients', () => {
    using checkpoint = openCheckpoint(golden.folder);
    using session = openSession(checkpoint, golden);
    expect(session.gradient(batchOf(golden), 0)).toBeCloseTo(golden.loss, 5);
    const groups = storedGroups(checkpoint.weights);
    expect(groups.map(({ name }) => name).sort()).toEqual([...golden.gradients.keys()].sort());
    for (const group of groups) {
      // Fused and transposed as transformers stores it, so that the weight map is proven too.
      const ours = assembleStored(group, ({ name }) => Float32Array.from(session.gradientOf(name) as Float32Array));
      const { data } = golden.gradients.get(group.name)!;
      // The gradient of a key's bias is zero but for rounding: adding it to all keys of a query changes no probability.
      const scale = Math.max(largest(data), 1e-2);
      expect(distance(ours, data), group.name).toBeLessThan(GRADIENT_TOLERANCE * scale);
    }
  });

  test.each(['on', 'off'])('is continued by the same tokens, with a cache (fused kernels %s)', async (kernels) => {
    vi.stubEnv('STRATA_KERNELS', kernels);
    using model = loadModel(golden.folder);
    const prompt = (golden.tokens.data as Int32Array).slice(0, 7);
    const made: number[] = [];
    for await (const { token } of generate(model, prompt, { temperature: 0, maxTokens: golden.greedy.length }))
      made.push(token);
    vi.unstubAllEnvs();
    expect(made).toEqual(golden.greedy);
  });

  test('is written as it was read', () => {
    using checkpoint = openCheckpoint(golden.folder);
    const folder = join(scratch, `${variant}-written`);
    saveModel(folder, checkpoint.config, ({ name }) => checkpoint.read(name));
    expect(readStoredTensors(join(folder, 'model.safetensors'))).toEqual(new Map(golden.weights));
    using again = openCheckpoint(folder);
    expect(again.config).toEqual({ ...checkpoint.config, ...addedByWriting(again.config) });
  });

  test('grows by stack, layer by layer', async () => {
    using checkpoint = openCheckpoint(golden.folder);
    const plan = planGrowth({ operator: 'stack', source: checkpoint.config, factor: 2, options: {}, target: {} });
    const folder = join(scratch, `${variant}-grown`);
    await executeOnFolder(plan, checkpoint, folder);
    expect(readdirSync(folder)).toContain('config.json');
    using grown = openCheckpoint(folder);
    const layers = checkpoint.config.num_hidden_layers;
    expect(grown.config.num_hidden_layers).toBe(2 * layers);
    const types = checkpoint.config['layer_types'] as string[] | undefined;
    if (types !== undefined) expect(grown.config['layer_types']).toEqual([...types, ...types]);
    for (const spec of grown.weights) {
      if (spec.tiedTo !== undefined) continue;
      const layer = spec.layer === undefined ? undefined : spec.layer % layers;
      const source = checkpoint.weights.find(
        (other) => other.role === spec.role && other.kind === spec.kind && other.layer === layer,
      );
      expect(grown.read(spec.name), spec.name).toEqual(checkpoint.read(source!.name));
    }
    expect(largest(logitsOf(grown, golden))).toBeGreaterThan(0);
  });

  test('computes the same when twice as wide, as the plan claims', async () => {
    using checkpoint = openCheckpoint(golden.folder);
    const plan = planGrowth({
      operator: 'hypercloning',
      source: checkpoint.config,
      factor: 2,
      options: {},
      target: {},
    });
    expect(plan.preservesFunction.claimed).toBe(true);
    const folder = join(scratch, `${variant}-wider`);
    await executeOnFolder(plan, checkpoint, folder);
    using grown = openCheckpoint(folder);
    expect(grown.config.hidden_size).toBe(2 * checkpoint.config.hidden_size);
    expect(distance(logitsOf(grown, golden), golden.logits.data)).toBeLessThan(LOGITS_TOLERANCE);
  });
});

test('GPT-2 as the hub has it, without the prefix of the whole model, is the same model', () => {
  const golden = readFamilyGolden('gpt2');
  const folder = join(scratch, 'bare-gpt2');
  const tensors = [...golden.weights].map(([name, { shape, data }]) => ({
    name: name.replace(/^transformer\./, ''),
    dtype: 'F32' as const,
    shape,
    values: data as Float32Array,
  }));
  // A buffer of old checkpoints, which is no weight.
  const mask = { name: 'h.0.attn.bias', dtype: 'F32' as const, shape: [1, 1, 2, 2], values: new Float32Array(4) };
  writeSafetensors(join(folder, 'model.safetensors'), [...tensors, mask]);
  copyFileSync(join(golden.folder, 'config.json'), join(folder, 'config.json'));
  using checkpoint = openCheckpoint(folder);
  expect(distance(logitsOf(checkpoint, golden), golden.logits.data)).toBeLessThan(LOGITS_TOLERANCE);
});

/** Fields that writing adds for other readers. */
const addedByWriting = (config: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(['hidden_act', 'transformers_version'].filter((f) => f in config).map((f) => [f, config[f]]));
