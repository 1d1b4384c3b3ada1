import { mkdirSync, rmSync } from 'node:fs';
import { recordsPath, writeRunManifest } from '../run.js';
import { RecordWriter } from '../writer.js';

/** Options of an invented run. Its numbers follow formulas; nothing was trained. */
export interface SyntheticRun {
  readonly name: string;
  readonly seed?: number;
  readonly steps?: number;
  /** The base stage ends behind this step; left out: trained from scratch. */
  readonly growthStep?: number;
  readonly validationEvery?: number;
  readonly layers?: number;
  readonly hidden?: number;
  readonly noise?: number;
  /** Multiplies the FLOPs that a loss takes: below 1 the run is better than the law. */
  readonly cost?: number;
  readonly dataHash?: string;
  readonly parentFlops?: 'unknown';
  readonly ends?: boolean;
  readonly chain?: boolean;
  readonly evals?: boolean;
  readonly operator?: string;
  readonly factor?: number;
  /** FLOPs at which the run ends, in place of `steps`. */
  readonly budget?: number;
  /** Added to every loss. */
  readonly shift?: number;
}

const BATCH_TOKENS = 4096;
const GROWTH_FACTOR = 4;
const START_TIME = 1_790_000_000;

/** The invented loss after some FLOPs: E + a C^b with E = 1.7, a = 130, b = -0.12. */
export const syntheticLoss = (flops: number): number => 1.7 + 130 * flops ** -0.12;

/** Writes the folder of an invented run: the same bytes for the same options. */
export function writeSyntheticRun(folder: string, options: SyntheticRun): void {
  const { seed = 1, growthStep, layers = 12, hidden = 128, noise = 0.02, cost = 1 } = options;
  mkdirSync(folder, { recursive: true });
  rmSync(recordsPath(folder), { force: true });
  const parameters = 12 * layers * hidden ** 2 + 2 * 2048 * hidden;
  const perToken = 6 * parameters;
  let clock = START_TIME;
  const writer = RecordWriter.open(recordsPath(folder), { now: () => clock, chain: options.chain ?? false });
  writer.append({ kind: 'event', name: 'start', ...(options.parentFlops ? { parentFlops: options.parentFlops } : {}) });
  const random = generator(seed);
  const { factor = GROWTH_FACTOR, shift = 0 } = options;
  const baseStep = (BATCH_TOKENS * perToken) / factor;
  const baseFlops = (growthStep ?? 0) * baseStep;
  const steps =
    options.budget === undefined
      ? (options.steps ?? 600)
      : (growthStep ?? 0) + Math.round((options.budget - baseFlops) / (BATCH_TOKENS * perToken));
  writeManifest(folder, options, parameters, steps);
  let flops = 0;
  for (let step = 1; step <= steps; step++) {
    const inBase = growthStep !== undefined && step <= growthStep;
    flops += inBase ? baseStep : BATCH_TOKENS * perToken;
    clock += inBase ? 0.1 : 0.4;
    const stage = inBase ? 'base' : 'target';
    const sinceGrowth = growthStep === undefined ? Infinity : step - growthStep;
    const jump = inBase ? 0 : 1.1 * Math.exp(-sinceGrowth / 12);
    const clean = syntheticLoss(flops / (inBase ? 1 : cost)) + jump + (inBase ? 0.15 * (step / steps) : 0) + shift;
    const position = { stage, step, tokens: step * BATCH_TOKENS, flops, flopsExact: String(BigInt(Math.round(flops))) };
    const counts = { ...position, flops6nd: flops * 0.93, flopsNonEmbedding: flops * 0.8 };
    const share = step / steps;
    writer.append({
      kind: 'train',
      ...counts,
      stageStep: inBase || growthStep === undefined ? step : step - growthStep,
      loss: clean + noise * (random() + random() - 1),
      lr: 4e-3 * Math.min(1, step / 20) * (0.1 + 0.45 * (1 + Math.cos(Math.PI * share))),
      gradNorm: 0.4 + random() * 0.2,
      tokensPerSecond: inBase ? 41_000 : 10_250,
    });
    if (step % (options.validationEvery ?? 25) === 0 || step === steps)
      writer.append({ kind: 'validation', ...counts, loss: clean + 0.03, bytesPerToken: 3.4 });
    if (step === growthStep)
      writer.append({
        kind: 'growth',
        ...counts,
        operator: options.operator ?? 'stack',
        lossBefore: clean,
        lossAfter: clean + 1.1,
        sourceParameters: Math.round(parameters / factor),
        targetParameters: parameters,
      });
    if (options.evals === true && step % 200 === 0)
      writer.append({
        kind: 'eval',
        ...counts,
        task: 'lambada',
        metric: 'acc',
        value: 0.1 + 0.2 * share,
        stderr: 0.01,
      });
  }
  if (options.ends !== false) writer.append({ kind: 'event', name: 'end' });
  writer.close();
}

function writeManifest(folder: string, options: SyntheticRun, parameters: number, steps: number): void {
  const { name, seed = 1, layers = 12, hidden = 128, growthStep } = options;
  const schedule = { kind: 'cosine', floor: 0.1, horizon: steps };
  const model = { num_hidden_layers: layers, hidden_size: hidden, intermediate_size: 320, vocab_size: 2048 };
  writeRunManifest(folder, {
    format: 1,
    name,
    createdAt: new Date(START_TIME * 1000).toISOString(),
    config: {
      name,
      seed,
      model,
      stages:
        growthStep === undefined
          ? [{ name: 'target', kind: 'train', schedule }]
          : [
              { name: 'base', kind: 'train', schedule },
              { name: 'stack', kind: 'grow', operator: 'stack', factor: GROWTH_FACTOR },
              { name: 'target', kind: 'train', schedule: { kind: 'continue' } },
            ],
    },
    sources: { seed: 'the user', 'model.hidden_size': 'preset' },
    versions: { strata: '0.0.0-synthetic', node: 'v20.0.0', libtorch: 'none' },
    machine: { cpu: 'invented', cores: 2, memoryBytes: 8e9, features: ['avx2'] },
    parents: [],
    ...(options.parentFlops ? { parentFlops: options.parentFlops } : {}),
    data: {
      train: { path: 'data/train', hash: 'a'.repeat(64) },
      validation: { path: 'data/validation', hash: options.dataHash ?? 'b'.repeat(64) },
    },
    model: { ...model, parameters, nonEmbeddingParameters: 12 * layers * hidden ** 2 },
  });
}

/** A linear congruential generator (Numerical Recipes' constants): enough for noise that must not change. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
}
