import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import type { RunConfigInput } from '../../train/index.js';
import { planTune, runTune, spearman, type Tune, type TuneResult } from './index.js';

const root = mkdtempSync(join(tmpdir(), 'strata-tune-'));
const out = join(root, 'out');
const log = join(root, 'calls.txt');
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => {
  rmSync(out, { recursive: true, force: true });
  rmSync(log, { force: true });
});

const run: RunConfigInput = {
  name: 'run',
  model: { hidden_size: 32, num_hidden_layers: 4, num_attention_heads: 2, intermediate_size: 64 },
  data: { train: 'shards', sequenceLength: 32, batchTokens: 128 },
  stages: [
    { name: 'base', kind: 'train', until: { steps: 5 }, optimizer: { lr: 1e-3 } },
    { name: 'target', kind: 'train', until: { tokens: 12800 }, optimizer: { lr: 1e-3 } },
  ],
};
const tune: Tune = {
  name: 'search',
  run,
  space: { 'stages.target.optimizer.lr': { log: [1e-4, 1e-2], points: 9 } },
  fidelities: [{ trainable: { lastLayers: 1 }, tokens: 1280 }, { trainable: { lastLayers: 2 }, tokens: 2560 }, {}],
};

/** In place of `strata train`: a loss whose best rate is 1e-3, but half of it where only a part is trained; NaN rates fail. */
const stub = join(root, 'stub.mjs');
writeFileSync(
  stub,
  `import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
const [, config, , out] = process.argv.slice(2);
const run = JSON.parse(readFileSync(config, 'utf8'));
const { optimizer, trainable } = run.stages.at(-1);
appendFileSync(${JSON.stringify(log)}, run.name + '\\n');
if (optimizer.lr > 9e-3) { console.error('Training stopped: loss is NaN.'); process.exit(1); }
mkdirSync(out, { recursive: true });
const best = trainable === undefined ? 1e-3 : 5e-4;
const step = (step, flops) => JSON.stringify({ kind: 'train', stage: 'target', step, tokens: step * 128, flops, loss: 3, tokensPerSecond: 100 * step });
writeFileSync(out + '/records.jsonl', [step(1, 1280), step(2, 3840), step(3, 6400)].join('\\n') + '\\n' +
  JSON.stringify({ kind: 'event', name: 'memory', stage: 'target', forecastBytes: 90, countedBytes: 88 }) + '\\n');
console.log(JSON.stringify({ validationLoss: 3 + Math.log10(optimizer.lr / best) ** 2, flopsExact: run.name === 'base' ? '400' : '1000' }));
`,
);
const go = (search: Tune = tune, signal?: AbortSignal): Promise<TuneResult> =>
  runTune(planTune(search, 'recipe'), 'recipe', out, {
    command: [process.execPath, stub],
    processes: 2,
    ...(signal === undefined ? {} : { signal }),
  });
const calls = (): string[] => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []);

describe("Spearman's rank correlation", () => {
  it('of [1, 2, 3, 4] and [1, 3, 2, 4] is .8', () => {
    expect(spearman([1, 2, 3, 4], [1, 3, 2, 4])).toBeCloseTo(0.8, 12);
  });

  it('is 1, -1 and, for equal values, by mean ranks', () => {
    expect(spearman([3, 1, 2], [30, 10, 20])).toBeCloseTo(1, 12);
    expect(spearman([3, 1, 2], [-3, -1, -2])).toBeCloseTo(-1, 12);
    // Ranks 0, 1.5, 1.5, 3 and 0, 1, 2, 3: 4.5 / sqrt(4.5 * 5).
    expect(spearman([1, 2, 2, 4], [1, 2, 3, 4])).toBeCloseTo(4.5 / Math.sqrt(4.5 * 5), 12);
    expect(spearman([1, 1], [1, 2])).toBeNaN();
  });
});

describe('a search', () => {
  it('lists a grid over a logarithmic range, and sets part and tokens of the stage', () => {
    const plan = planTune(tune, 'recipe');
    const rates = plan.configs.map((config) => config['stages.target.optimizer.lr']);
    expect(rates).toEqual([1e-4, 1.778e-4, 3.162e-4, 5.623e-4, 1e-3, 1.778e-3, 3.162e-3, 5.623e-3, 1e-2]);
    expect(plan.fidelities.map(({ keep }) => keep)).toEqual([3, 1, 1]);
    expect(plan.runOf(4, 0).stages[1]).toMatchObject({
      optimizer: { lr: 1e-3 },
      trainable: { lastLayers: 1 },
      until: { tokens: 1280 },
    });
    expect(plan.runOf(8, 2).stages[1]).toEqual({ ...run.stages[1], optimizer: { lr: 1e-2 } });
    expect(run.stages[1]).toMatchObject({ optimizer: { lr: 1e-3 } });
  });

  it('draws the same configs again, and more of them begin with the same', () => {
    const draw = (random: number) =>
      planTune({ ...tune, search: { random, seed: 4 }, space: { seed: [1, 2, 3], ...tune.space } }, 'recipe').configs;
    expect(draw(5)).toEqual(draw(9).slice(0, 5));
    for (const config of draw(9)) {
      expect(config['stages.target.optimizer.lr']).toBeGreaterThanOrEqual(1e-4);
      expect(config['stages.target.optimizer.lr']).toBeLessThanOrEqual(1e-2);
    }
  });

  it('lets the best third go on, ranks failures last, and names the winner', async () => {
    const { rungs, winner, correlations, flops, flopsWithoutHalving } = await go();
    expect(rungs.map(({ trials }) => trials.length)).toEqual([9, 3, 1]);
    // Best at 5e-4: 5.623e-4, 3.162e-4, 1e-3 by distance in the logarithm.
    expect(rungs[0]!.kept).toEqual([2, 3, 4]);
    expect(rungs[0]!.trials.at(-1)).toMatchObject({ status: 'failed', error: 'Training stopped: loss is NaN.' });
    expect(winner!.values).toEqual({ 'stages.target.optimizer.lr': 5.623e-4 });
    expect(correlations[0]).toMatchObject({ low: 1, high: 2, configs: 3, spearman: 1 });
    expect([flops, flopsWithoutHalving]).toEqual([8000 + 3000 + 1000, 9000]);
    expect(rungs[0]!.cost).toEqual({
      flopsPerToken: 20,
      secondsPerToken: 1 / 300,
      forecastBytes: 90,
      countedBytes: 88,
    });
    expect(JSON.parse(readFileSync(join(out, 'tune.json'), 'utf8'))).toMatchObject({ winner: { config: 3 } });
  });

  it('counts a shared base once, with halving and without', async () => {
    const { model: _model, ...grown } = run;
    const [base, target] = run.stages;
    const { flops, flopsWithoutHalving } = await go({
      ...tune,
      base: { ...run, name: 'base', stages: [base!] },
      run: { ...grown, stages: [{ name: 'grow', kind: 'grow', operator: 'stack', factor: 2 }, target!] },
    });
    expect([flops, flopsWithoutHalving]).toEqual([400 + 600 * (8 + 3 + 1), 400 + 600 * 9]);
  });

  it('correlates all configs where all are kept', async () => {
    const all = [{ trainable: { lastLayers: 1 }, keep: 8 }, {}];
    const search = {
      ...tune,
      fidelities: all,
      space: { 'stages.target.optimizer.lr': [1e-4, 4e-4, 5e-4, 6e-4, 8e-4, 1e-3, 2e-3, 4e-3] },
    };
    const { correlations, winner } = await go(search);
    expect(winner!.values['stages.target.optimizer.lr']).toBe(1e-3);
    const losses = (best: number) => search.space['stages.target.optimizer.lr'].map((lr) => Math.log10(lr / best) ** 2);
    expect(correlations[0]!.spearman).toBeCloseTo(spearman(losses(5e-4), losses(1e-3)), 12);
    expect(correlations[0]!.spearman).toBeLessThan(1);
  });

  it('goes on where it was stopped: what is done is not done again', async () => {
    const stop = new AbortController();
    const stopped = runTune(planTune(tune, 'recipe'), 'recipe', out, {
      command: [process.execPath, stub],
      processes: 1,
      signal: stop.signal,
      onResult: (_result, done) => {
        if (done === 4) stop.abort();
      },
    });
    expect((await stopped).winner).toBeUndefined();
    const before = calls().length;
    expect(before).toBeLessThan(7);
    expect((await go()).winner!.config).toBe(3);
    // The one that failed is tried again.
    expect(calls().length).toBeLessThanOrEqual(9 + 3 + 1 + 1);
    const again = calls().length;
    await go();
    expect(calls().length).toBe(again + 1);
  });

  it.each([
    [{ stage: 'nowhere' }, /field "stage": expected a train stage of the run, found "nowhere"/],
    [{ space: { 'stages.target.optimizer.rate': [1] } }, /fidelity 1.*unknown field "stages.1.optimizer.rate"/],
    [{ fidelities: [{ keep: 12 }] }, /"fidelities.0.keep": expected at most 9, found 12/],
    [{ space: { seed: { log: [0, 1] } } }, /space/],
  ])('refuses %j with a sentence', (change, message) => {
    expect(() => planTune({ ...tune, ...change }, 'recipe')).toThrow(message);
  });
});
