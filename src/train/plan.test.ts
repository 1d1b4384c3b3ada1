import { describe, expect, it } from 'vitest';
import { FlopLedger } from '../planner/index.js';
import { parseConfig, type RunConfigInput } from './config/index.js';
import { planRun } from './plan.js';
import type { RunFacts, TrainStage } from './run-plan.js';
import { limitInSteps, scheduleOf } from './stage-schedule.js';

const model = {
  hidden_size: 64,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  intermediate_size: 160,
  vocab_size: 320,
};
const optimizer = { lr: 1e-3 };
const data = { train: 'shards', sequenceLength: 64, batchTokens: 512 };
const base = { name: 'base', kind: 'train', until: { steps: 10 }, optimizer } as const;

const plan = (config: Partial<RunConfigInput>, facts: RunFacts = {}) =>
  planRun(parseConfig({ name: 'run', model, data, stages: [base], ...config }), facts);
const trainStages = (config: Partial<RunConfigInput>, facts?: RunFacts): TrainStage[] =>
  plan(config, facts).stages.filter((stage): stage is TrainStage => stage.kind === 'train');

describe('planRun', () => {
  it('a 7B run of 750B tokens: FLOPs and loader index by hand, exact beyond 2^53', () => {
    const run = plan({
      model: 'gstack-7b',
      data: { train: 'shards', sequenceLength: 2048, batchTokens: 1024 * 2048 },
      stages: [{ ...base, until: { tokens: '750B' } }],
    });
    // P_mat = 32 (2 h^2 + 2 h 1024 + 3 h 11008) + 32000 h with h = 4096; per token 6 P_mat + 12 x 32 x h x 2048.
    const perToken = 38_031_851_520n;
    const stage = run.stages[0] as TrainStage;
    expect(stage.perToken.flops).toBe(perToken);
    expect(run.totals!.steps).toBe(357_628);
    expect(run.totals!.ledger.totals()).toMatchObject({
      tokens: 750_000_275_456,
      flopsExact: '28523899116101692293120',
      flops6ndExact: String(6n * 5_933_109_248n * 750_000_275_456n),
      flopsNonEmbeddingExact: String(6n * 5_670_965_248n * 750_000_275_456n),
    });
    // The same, step by step, as a run books it.
    const ledger = new FlopLedger();
    let sequences = 0;
    for (let step = 0; step < run.totals!.steps; step++) {
      ledger.add(stage.perToken, run.tokensPerStep);
      sequences += run.batchSequences;
    }
    expect(ledger.totals()).toEqual(run.totals!.ledger.totals());
    expect(sequences).toBe(366_211_072);
  });

  it('grows by a factor, by fields, or to the model of the run', () => {
    const first = { ...base, model: { num_hidden_layers: 2 } };
    const target = { ...base, name: 'target' };
    const layers = (grow: object): number =>
      trainStages({ stages: [first, { name: 'grow', kind: 'grow', operator: 'stack', ...grow }, target] })[1]!.model
        .num_hidden_layers;
    expect(layers({ factor: 3 })).toBe(6);
    expect(layers({ model: { num_hidden_layers: 5 } })).toBe(5);
    expect(layers({})).toBe(4);
  });

  it('counts the base: a limit in FLOPs is a total of the run', () => {
    const stages: RunConfigInput['stages'] = [
      { ...base, model: { num_hidden_layers: 2 } },
      { name: 'stack', kind: 'grow', operator: 'stack', factor: 2 },
      { ...base, name: 'target', until: { flops: 1e12 } },
    ];
    const run = plan({ stages });
    const [small, large] = run.stages.filter((stage): stage is TrainStage => stage.kind === 'train');
    // 6 P_mat + 12 L h T: 2 layers of 4 h^2 + 3 h f, the head 320 h; h = 64, f = 160, T = 64.
    const perToken = (layers: bigint): bigint =>
      6n * (layers * (4n * 64n * 64n + 3n * 64n * 160n) + 320n * 64n) + 12n * layers * 64n * 64n;
    expect(small!.perToken.flops).toBe(perToken(2n));
    expect(large!.perToken.flops).toBe(perToken(4n));
    const spent = perToken(2n) * 512n * 10n;
    const perStep = perToken(4n) * 512n;
    expect(BigInt(large!.steps!)).toBe((10n ** 12n - spent + perStep - 1n) / perStep);
    expect(run.totals!.ledger.exact).toBeGreaterThanOrEqual(10n ** 12n);
    expect(run.totals!.ledger.exact - perStep).toBeLessThan(10n ** 12n);
  });

  it('repeats a stage under numbered names, and takes the first of several limits', () => {
    expect(trainStages({ stages: [{ ...base, repeat: 3 }] }).map(({ name }) => name)).toEqual([
      'base-1',
      'base-2',
      'base-3',
    ]);
    expect(trainStages({ stages: [{ ...base, until: { steps: 9, tokens: 1000 } }] })[0]!.steps).toBe(2);
  });

  it('freezes below: the ledger charges only what is computed', () => {
    const [all] = trainStages({});
    const [top] = trainStages({ stages: [{ ...base, trainable: { lastLayers: 2 } }] });
    expect(top!.specs.filter(top!.isTrained).every(({ layer }) => layer === undefined || layer >= 2)).toBe(true);
    expect(top!.perToken.flops).toBeLessThan(all!.perToken.flops);
    const [added] = trainStages({
      stages: [
        base,
        { name: 'g', kind: 'grow', operator: 'stack', factor: 2 },
        { ...base, name: 't', trainable: 'added' },
      ],
    }).slice(1);
    expect(new Set(added!.specs.filter(added!.isTrained).map(({ layer }) => layer))).toEqual(new Set([4, 5, 6, 7]));
  });

  it.each<[string, Partial<RunConfigInput>, RunFacts, RegExp]>([
    [
      'batch',
      { data: { ...data, batchTokens: 500 } },
      {},
      /"data.batchTokens": expected a multiple of data.sequenceLength 64, found 500/,
    ],
    ['micro-batch', { microBatch: 3 }, {}, /"microBatch": expected a divisor of the 8 sequences of a step, found 3/],
    [
      'vocabulary',
      {},
      { vocabSize: 400 },
      /"model.vocab_size": expected at least 400, the vocabulary of shards, found 320/,
    ],
    ['epochs', {}, { sequencesPerEpoch: 10 }, /would read shards 8.0 times.*found 4/],
    [
      'positions',
      { model: { ...model, max_position_embeddings: 32 } },
      {},
      /"data.sequenceLength": expected at most the model's max_position_embeddings 32, found 64/,
    ],
    [
      'model field',
      { model: { ...model, hiden_size: 3 } },
      {},
      /config: unknown field "model.hiden_size" \(did you mean "hidden_size"\?\)/,
    ],
    ['model missing', { model: undefined as never }, {}, /"model" is missing/],
    [
      'spent',
      { stages: [base, { ...base, name: 'b', until: { flops: 5 } }] },
      {},
      /"stages.1.until.flops": expected more than the .* found 5/,
    ],
    [
      'nothing to grow',
      { stages: [{ name: 'g', kind: 'grow', operator: 'stack', factor: 2 }, base] },
      {},
      /a growth needs something to grow/,
    ],
    [
      'operator',
      { stages: [base, { name: 'g', kind: 'grow', operator: 'stck', factor: 2 }, { ...base, name: 't' }] },
      {},
      /stage "g": Unknown operator "stck" \(did you mean "stack"\?\)/,
    ],
    [
      'role',
      { stages: [{ ...base, trainable: { roles: ['qery'] } }] },
      {},
      /no weights of role "qery" \(did you mean "query"\?\)/,
    ],
    [
      'layers',
      { stages: [{ ...base, trainable: { lastLayers: 9 } }] },
      {},
      /lastLayers must be at most the model's 4 layers, found 9/,
    ],
    ['open cosine', { stages: [{ ...base, until: { loss: 2 } }] }, {}, /"stages.0.schedule": expected "horizon"/],
    [
      'late model',
      { stages: [base, { ...base, name: 'b', model: { num_hidden_layers: 9 } }] },
      {},
      /"stages.1.model": only the first stage/,
    ],
  ])('refuses: %s', (_, config, facts, message) => {
    expect(() => plan(config, facts)).toThrow(message);
  });
});

describe('limitInSteps', () => {
  const perToken = { flops: 100n, flops6nd: 0n, flopsNonEmbedding: 0n };
  it('is the first step at which a limit is reached', () => {
    expect(limitInSteps({ until: { tokens: 1001 } }, perToken, 500, 0n)).toBe(3);
    expect(limitInSteps({ until: { flops: 100_000 } }, perToken, 500, 0n)).toBe(2);
    expect(limitInSteps({ until: { flops: 100_001 } }, perToken, 500, 0n)).toBe(3);
    expect(limitInSteps({ until: { flops: 100_001 } }, perToken, 500, 50_001n)).toBe(1);
    expect(limitInSteps({ until: { loss: 3 } }, perToken, 500, 0n)).toBeUndefined();
  });
});

describe('scheduleOf', () => {
  it('turns shares into steps, of the horizon where there is one', () => {
    const wsd = { kind: 'wsd', warmup: '10%', cooldown: '20%', floor: 0, horizon: undefined } as const;
    expect(scheduleOf({ schedule: wsd }, 50)).toEqual({ kind: 'wsd', warmup: 5, cooldown: 10, floor: 0, steps: 50 });
    expect(scheduleOf({ schedule: { ...wsd, horizon: 200 } }, 50)).toMatchObject({
      warmup: 20,
      cooldown: 40,
      steps: 200,
    });
    expect(() => scheduleOf({ schedule: { ...wsd, warmup: '90%' } }, 50)).toThrow('within 50 steps, found 45 + 10');
  });
});
