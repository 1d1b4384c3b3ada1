import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildTinyData, tinyRun } from '../../test/support/tiny-run.js';
import { familyOf, fillInitial, parseModelConfig, RandomStream } from '../architecture/index.js';
import { loadLibtorch } from '../engine/libtorch/load.js';
import { generate, loadModel, type RoutedBranches } from '../infer/index.js';
import { openCheckpoint } from '../interop/index.js';
import { trainingFlopsPerToken } from '../planner/index.js';
import { readRun } from '../records/index.js';
import { parseConfig, type RunConfigInput } from './config/index.js';
import { capacityAt, layerRates } from './capacity.js';
import { type RunOptions, runTraining } from './run.js';
import { type MicroBatch, TrainingSession } from './session.js';
import type { StepShape } from './step-programs.js';

describe('the capacity of a stage', () => {
  const routing = { capacity: 0.9, anneal: 1000, coefficient: 1, layerRates: true };
  it('falls from 1 along a straight line', () => {
    expect([0, 500, 1000, 2000].map((step) => capacityAt(routing, step, 5000))).toEqual([1, 0.95, 0.9, 0.9]);
    expect(capacityAt({ ...routing, anneal: '50%' }, 25, 100)).toBeCloseTo(0.95, 14);
    expect(capacityAt({ ...routing, anneal: 0 }, 0, 100)).toBe(0.9);
  });

  it('gives layers of capacity 1/3 and 2/3 rates of 5/6 and 7/6', () => {
    const [first, second] = layerRates([1 / 3, 2 / 3]);
    expect(first).toBeCloseTo(5 / 6, 14);
    expect(second).toBeCloseTo(7 / 6, 14);
  });
});

const config = parseModelConfig(
  {
    model_type: 'llama_dlo',
    vocab_size: 50,
    hidden_size: 16,
    num_hidden_layers: 3,
    num_attention_heads: 2,
    intermediate_size: 24,
    router_gap: 0.5,
  },
  'test',
);
const family = familyOf(config);
const shape = (rest: Partial<StepShape> = {}): StepShape => ({
  config,
  family,
  sequenceLength: 8,
  microBatchSequences: 2,
  trainable: () => true,
  optimizer: { beta1: 0.9, beta2: 0.95, eps: 1e-30, weightDecay: 0 },
  newEntries: true,
  routing: { coefficient: 0.7 },
  recompute: false,
  ...rest,
});

/** A session with drawn weights; routers of 0.3 on average, so that they decide. */
function sessionOf(rest: Partial<StepShape> = {}): TrainingSession {
  const session = new TrainingSession(shape(rest));
  for (const spec of family.weights(config)) {
    const values = session.parameter(spec.name);
    fillInitial(values, spec, config, 1);
    if (spec.role === 'router') new RandomStream(2, spec.name).fillNormal(values, 0.3);
  }
  return session;
}

const ids = Int32Array.from({ length: 17 }, (_, i) => (7 * i * i + 3 * i) % 50);
/** Weights of the tokens, which sum to 1. */
const shares = Array.from({ length: 16 }, (_, i) => (i + 1) / 136);
const batch = (dtype: 'f32' | 'f64'): MicroBatch => ({
  inputs: ids.slice(0, 16),
  targets: ids.slice(1, 17),
  weights: dtype === 'f64' ? Float64Array.from(shares) : Float32Array.from(shares),
});

describe('a step of a routed model', () => {
  beforeAll(() => void loadLibtorch({ threads: 1 }));

  it.each([false, true])('has the gradients of finite differences (recomputed: %s)', (recompute) => {
    using session = sessionOf({ dtype: 'f64', recompute });
    session.setRouting(0.6, [0.5, 0.7, 0.6]);
    const objective = (): number => session.gradient(batch('f64'), 0) + session.routing().loss;
    objective();
    const names = [
      'embed_tokens',
      'layers.0.router',
      'layers.2.router',
      'layers.1.mlp.down',
      'layers.0.self_attn.q_proj',
    ];
    for (const part of names) {
      const name = session.names.find((candidate) => candidate.includes(part))!;
      const gradient = Float64Array.from(session.gradientOf(name)!);
      const weight = session.parameter(name);
      // Small enough to change no token's place among the others.
      const step = 1e-6;
      const at = gradient.findIndex((value) => value !== 0);
      for (const i of [at, at + 1, at + 5]) {
        const kept = weight[i]!;
        weight[i] = kept + step;
        const above = objective();
        weight[i] = kept - step;
        const below = objective();
        weight[i] = kept;
        expect(gradient[i], `${name} [${i}]`).toBeCloseTo((above - below) / (2 * step), 7);
      }
    }
  });

  it('costs what the ledger says: every branch is computed, for the labels', () => {
    const { flopsPerMicroBatch } = TrainingSession.forecast(shape());
    expect(flopsPerMicroBatch).toBe(16 * Number(trainingFlopsPerToken(config, 8).flops));
  });

  it('moves each layer by its own rate: the first step of AdamW is as large as the rate', () => {
    using session = sessionOf();
    session.setRouting(0.6, [0.5, 0.7, 0.6]);
    session.gradient(batch('f32'), 0);
    const before = new Map(session.names.map((name) => [name, Float64Array.from(session.parameter(name))]));
    const factors = [0.5, 1.5, 1];
    for (const { name, layer } of family.weights(config))
      if (layer !== undefined) session.newEntries(name)?.fill(factors[layer]! - 1);
    session.update({ learningRate: 1e-2, newEntriesRate: 2e-2, gradientScale: 1, step: 1 });
    for (const { name, layer } of family.weights(config)) {
      const moved = session.parameter(name).map((value, i) => Math.abs(value - before.get(name)![i]!));
      const most = Math.max(...moved);
      expect(most, name).toBeGreaterThan(0);
      expect(most, name).toBeCloseTo(1e-2 * (layer === undefined ? 1 : factors[layer]!), 6);
    }
  });
});

describe('a run of a routed model', () => {
  const folder = mkdtempSync(join(tmpdir(), 'strata-routing-'));
  let data = '';
  let runs = 0;
  beforeAll(async () => {
    data = await buildTinyData(folder);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const optimizer = { lr: 4e-3 };
  const stages: RunConfigInput['stages'] = [
    { name: 'base', kind: 'train', until: { steps: 4 }, optimizer },
    { name: 'route', kind: 'grow', operator: 'route' },
    { name: 'routed', kind: 'train', until: { steps: 16 }, optimizer, routing: { capacity: 0.5, anneal: 8 } },
  ];
  const go = (options: RunOptions & { out?: string } = {}, changes: Partial<RunConfigInput> = {}) =>
    runTraining(parseConfig({ ...tinyRun(data), stages, ...changes }), {
      out: join(folder, `run-${runs++}`),
      threads: 1,
      ...options,
    });

  it('begins with the function of its base, records capacities, and skips branches when it generates', async () => {
    const { checkpoint, folder: run } = await go();
    const { growth, train } = readRun(run).records;
    expect(growth[0]!.lossAfter).toBe(growth[0]!.lossBefore);
    expect(train.step).toHaveLength(20);
    const lines = readFileSync(join(run, 'records.jsonl'), 'utf8').trim().split('\n');
    const steps = lines
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ kind }) => kind === 'train');
    const routed = steps.slice(4) as { capacity: number; capacities: number[]; routerLoss: number }[];
    expect(steps.slice(0, 4).every((record) => !('capacity' in record))).toBe(true);
    expect(routed.map(({ capacity }) => capacity).slice(0, 9)).toEqual([
      1, 0.9375, 0.875, 0.8125, 0.75, 0.6875, 0.625, 0.5625, 0.5,
    ]);
    expect(routed[0]).toMatchObject({ capacities: [1, 1, 1, 1], routerLoss: expect.closeTo(Math.LN2, 6) as number });
    const last = routed.at(-1)!.capacities;
    expect(last.reduce((a, b) => a + b, 0) / last.length).toBeCloseTo(0.5, 2);

    using checkpointFiles = openCheckpoint(checkpoint);
    expect(checkpointFiles.config).toMatchObject({ model_type: 'llama_dlo', router_scale: 2, router_gap: 0.05 });
    using model = loadModel(checkpoint, { threads: 1 });
    let branches: RoutedBranches | undefined;
    const onBranches = (found: RoutedBranches): void => void (branches = found);
    const prompt = Int32Array.of(1, 2, 3);
    for await (const _ of generate(model, prompt, { temperature: 0, maxTokens: 5, onBranches }));
    // Three tokens of the prompt and four of the five made have gone through four layers.
    expect(branches!.all).toBe(4 * 7);
    expect(branches!.computed).toBeLessThan(4 * 7);
    for (const { spec, offset, size } of model.layout.ranges.values())
      if (spec.role === 'router') (model.parameters.data() as Float32Array).fill(0, offset, offset + size);
    for await (const _ of generate(model, prompt, { temperature: 0, maxTokens: 5, onBranches }));
    expect(branches).toEqual({ computed: 28, all: 28 });
  });

  it('goes on with the same bits where it was stopped', async () => {
    const whole = await go();
    const out = join(folder, 'stopped');
    await expect(go({ out, stopAfter: 13 })).rejects.toThrow();
    const resumed = await go({ out });
    expect(readFileSync(join(resumed.checkpoint, 'model.safetensors'))).toEqual(
      readFileSync(join(whole.checkpoint, 'model.safetensors')),
    );
  });

  it('refuses routing without routers, and rates by layer beside Muon', async () => {
    const routing = { capacity: 0.5 };
    const first = { name: 'base', kind: 'train', until: { steps: 4 }, optimizer } as const;
    await expect(go({}, { stages: [{ ...first, routing }] })).rejects.toThrow(
      /a llama has no routers; a llama_dlo has/,
    );
    const muon = { ...first, optimizer: { ...optimizer, kind: 'muon' as const } };
    const model = { ...(tinyRun(data).model as object), model_type: 'llama_dlo' };
    await expect(go({}, { model, stages: [muon] })).rejects.toThrow(/layerRates/);
  });
});
