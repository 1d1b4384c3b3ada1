import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildTinyData } from '../../../test/support/tiny-run.js';
import { readRun } from '../../records/index.js';
import { runTraining } from '../../train/index.js';
import type { Outcome, SweepJob } from '../sweep/index.js';
import { forecastStudy, runStudy, type StudyOptions } from './execute.js';
import { Expansion, studyFacts } from './expand.js';
import { parseStudy, readStudyFile, type StudyInput } from './schema.js';
import { firstTrials, ratesOf } from './tuning.js';

const root = mkdtempSync(join(tmpdir(), 'strata-study-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let data: string;
beforeAll(async () => {
  data = await buildTinyData(join(root, 'data'));
}, 60_000);

/** Three seeds of four-layer models with a width of 16: tens of milliseconds a run. */
const study = (changes: Partial<StudyInput> = {}): StudyInput => ({
  name: 'tiny',
  hypothesis: 'Stacking reaches the loss of scratch with fewer FLOPs.',
  stopRule: 'All seeds of all arms.',
  data: { train: data, sequenceLength: 32 },
  validationTokens: 2048,
  parts: [
    {
      name: 'short',
      model: { hidden_size: 16, num_hidden_layers: 4, num_attention_heads: 2, intermediate_size: 32 },
      batchTokens: 128,
      tokensPerParameter: 1,
      budgets: [1],
      scratchBudgets: [0.5, 1, 2],
      seeds: [1, 2, 3],
      optimizer: { lr: 1e-2 },
      warmup: 4,
      arms: [{ name: 'stack', operator: 'stack', base: { num_hidden_layers: 2 }, growthShare: 0.1 }],
      controls: { sizes: [{ model: { num_hidden_layers: 2 } }], again: [11, 12, 13] },
    },
  ],
  ...changes,
});

const train = async ({ loaded, folder }: SweepJob): Promise<Outcome> =>
  runTraining(loaded, { out: folder, threads: 1 });
const go = (input: StudyInput, name: string, options: Partial<StudyOptions> = {}) =>
  runStudy(parseStudy(input, 'study.yaml'), join(root, name), { command: train, processes: 1, ...options });

/** Counted by hand: 4 (4 D D + 3 D F) + V D matrix entries, 6 FLOPs each, and 12 L h T of attention. */
const PER_TOKEN = 6 * (4 * (4 * 16 * 16 + 3 * 16 * 32) + 320 * 16) + 12 * 4 * 16 * 32;
const NON_EMBEDDING = 4 * (4 * 16 * 16 + 3 * 16 * 32 + 2 * 16) + 16;
const STEPS = Math.round(NON_EMBEDDING / 128);
const C = STEPS * 128 * PER_TOKEN;

describe('a study', () => {
  let trained: string[];
  let results: NonNullable<Awaited<ReturnType<typeof runStudy>>>;
  const loaded = () => parseStudy(study(), 'study.yaml');
  const out = join(root, 'whole');

  beforeAll(async () => {
    trained = [];
    const note = (job: SweepJob): Promise<Outcome> => {
      trained.push(job.name);
      return train(job);
    };
    results = (await go(study(), 'whole', { command: note }))!;
  }, 240_000);

  it('ends every arm and control at its budget, bases and all counted', () => {
    expect(results.unfinished).toEqual([]);
    expect(results.parts).toEqual([
      { name: 'short', nonEmbeddingParameters: NON_EMBEDDING, tokens: STEPS * 128, flops: C },
    ]);
    for (const { budget, flops, annealed } of results.endPoints) {
      expect(annealed).toBe(true);
      expect(flops).toBeLessThanOrEqual(budget * C);
      expect(flops).toBeGreaterThan(budget * C - 128 * PER_TOKEN);
    }
    const arms = new Map(results.endPoints.map(({ arm, role }) => [arm, role]));
    expect(Object.fromEntries(arms)).toEqual({
      ...{ scratch: 'scratch', stack: 'arm', 'layers-2': 'size', rewarm: 'rewarm' },
      ...{ untrained: 'untrained', cosine: 'cosine', again: 'again' },
    });
    expect(results.endPoints).toHaveLength(3 * (3 + 6));
  });

  it('shares trunks and bases', () => {
    expect(new Set(trained).size).toBe(trained.length);
    // One segment to each branching point, whatever branches off there: of scratch the growth step and three cooldowns.
    expect(trained.filter((name) => /^short\.scratch-s1\.\d+$/.test(name))).toHaveLength(4);
    // The base of the arm is the trunk of the small size.
    expect(trained.filter((name) => /^short\.(base-)?layers-2-s1\.\d+$/.test(name))).toHaveLength(2);
    // Scratch to 2 C: 1.6 C of trunk and 0.2 (0.5 + 1 + 2) C of cooldowns, for each seed.
    expect(results.cost.flops).toBeLessThan(3 * 9.5 * C);
  });

  it('goes on with the data where the base stopped, and grows on the trunk', () => {
    const grown = readRun(join(out, 'runs', trained.find((name) => /^short\.stack-s1\.\d+$/.test(name))!));
    const baseSteps = Math.round(0.1 * STEPS);
    expect(grown.records.growth[0]).toMatchObject({ operator: 'stack', tokens: baseSteps * 128 });
    expect(grown.records.train.tokens[0]).toBeGreaterThan(baseSteps * 128);
    expect(grown.manifest?.config).toMatchObject({ seed: 1, study: results.hash });
  });

  it('writes the hash of hypothesis, arms and stop rule into every record', () => {
    expect(readStudyFile(out).hash).toBe(results.hash);
    const files = readdirSync(join(out, 'runs')).map((name) => join(out, 'runs', name, 'records.jsonl'));
    for (const file of [...files, join(out, 'sweep.jsonl')])
      for (const line of readFileSync(file, 'utf8').trimEnd().split('\n'))
        expect((JSON.parse(line) as { study?: string }).study).toBe(results.hash);
  });

  it('keeps the A/A control within its interval', () => {
    const again = results.comparisons.filter(({ role, speedup }) => role === 'again' && speedup !== null);
    expect(again.length).toBeGreaterThan(0);
    for (const { speedup } of again) {
      expect(speedup!.low).toBeLessThan(0);
      expect(speedup!.high).toBeGreaterThan(0);
    }
  });

  it('does nothing again what is done', async () => {
    const again = await go(study(), 'whole', { command: () => Promise.reject(new Error('trained again')) });
    expect(again).toEqual(results);
  });

  it('refuses data that are not there before anything is written down', async () => {
    const missing = { ...study().data, selection: join(root, 'nowhere') };
    await expect(go(study({ data: missing }), 'no-data')).rejects.toThrow(/nowhere: expected token shards/);
    expect(existsSync(join(root, 'no-data'))).toBe(false);
  });

  it("trains every run, trials too, in the part's precision", () => {
    const [part] = study().parts;
    const tuning = { seed: 9, budget: 1, rates: [1e-3, 2e-3, 4e-3, 8e-3, 16e-3] };
    const mixed = parseStudy(study({ parts: [{ ...part!, precision: 'bf16', tuning }] }), 'study.yaml');
    const facts = studyFacts(mixed.study);
    const expansion = new Expansion(mixed.study, root, facts);
    expansion.add(mixed.study.parts[0]!, ratesOf(mixed.study.parts[0]!, []));
    const trials = firstTrials(mixed, mixed.study.parts[0]!, root, facts);
    expect(trials).toHaveLength(15);
    for (const { loaded: run } of [...expansion.forest.jobs(root, mixed.hash), ...trials])
      expect(run.config.precision).toBe('bf16');
  });

  it('refuses to become another study behind its runs', async () => {
    await expect(go(study({ stopRule: 'Until it looks good.' }), 'whole')).rejects.toThrow(
      /written down before the runs and is another study \(stopRule is "All seeds of all arms\." there/,
    );
  });

  it('knows FLOPs and disk beforehand', () => {
    const { forecast, tuning, cells } = forecastStudy(loaded(), join(root, 'never'));
    expect(forecast.flops).toBe(results.cost.flops);
    expect(cells).toBe(results.endPoints.length);
    expect(tuning.runs).toEqual([]);
    expect(existsSync(join(root, 'never'))).toBe(false);
  });
});

describe('a study that does not go smoothly', () => {
  it('reports a failed cell and finishes the rest', async () => {
    const small = study();
    const [part] = small.parts;
    const short: StudyInput = {
      ...small,
      parts: [{ ...part!, seeds: [1, 2], controls: { ...part!.controls, again: [] } }],
    };
    const results = await go(short, 'failing', {
      command: (job) => (job.name.startsWith('short.stack-s2') ? Promise.reject(new Error('no luck')) : train(job)),
    });
    expect(results!.unfinished.map(({ status, error }) => [status, error])).toEqual(
      expect.arrayContaining([['failed', 'no luck']]),
    );
    expect(results!.unfinished.every(({ run }) => run.startsWith('short.stack-s2'))).toBe(true);
    const stack = results!.comparisons.find(({ arm, budget }) => arm === 'stack' && budget === 1)!;
    expect(stack.seeds).toHaveLength(1);
    // One seed gives no interval.
    expect(stack.speedup).toBeNull();
    expect(stack.verdict).toBe('not bracketed');
  }, 120_000);

  it('waits for stages that another trainer does elsewhere', async () => {
    const results = await go(study({ trainer: { command: 'train {input} {output}', where: 'elsewhere' } }), 'waiting');
    const first = results!.unfinished.filter(({ status }) => status === 'waiting');
    expect(first.length).toBeGreaterThan(3);
    expect(first[0]!.error).toMatch(/Run this where the trainer is.*study continue.*\n {2}train .*input .*output/);
    expect(results!.unfinished.some(({ error }) => /its base .* waits/.test(error ?? ''))).toBe(true);
  }, 60_000);

  it('tunes first, on seeds and texts of its own, and lists the cost apart', async () => {
    const [part] = study().parts;
    const tuned: StudyInput = {
      ...study(),
      parts: [
        {
          ...{ ...part!, seeds: [1], budgets: [1], scratchBudgets: [1], optimizer: {} },
          controls: {
            sizes: [{ model: { num_hidden_layers: 2 }, lr: 1e-2 }],
            rewarm: false,
            untrained: false,
            cosine: false,
          },
          tuning: { seed: 99, budget: 0.5, rates: [1e-3, 2e-3, 4e-3, 8e-3, 16e-3] },
        },
      ],
    };
    const results = (await go(tuned, 'tuned'))!;
    expect(results.tuning.map(({ name }) => name)).toEqual(['scratch', 'stack']);
    for (const { trials, lr } of results.tuning) {
      expect(trials.length).toBeGreaterThanOrEqual(6);
      expect(lr).toBe(trials.reduce((best, trial) => (trial.loss < best.loss ? trial : best)).lr);
    }
    expect(results.cost.tuningFlops).toBeGreaterThan(5 * 0.5 * C);
    const scratch = readRun(
      join(
        root,
        'tuned',
        'runs',
        readdirSync(join(root, 'tuned', 'runs')).find((name) => /scratch-s1\.\d/.test(name))!,
      ),
    );
    const [stage] = scratch.manifest!.config['stages'] as { optimizer: { lr: number } }[];
    expect(stage!.optimizer.lr).toBe(results.tuning[0]!.lr);
  }, 120_000);

  it.each<[string, object, RegExp]>([
    ['unknown fields', { hypotesis: 'x' }, /hypotesis/],
    ['no hypothesis', { hypothesis: '' }, /hypothesis/],
    [
      'seeds that are A/A and reported',
      { parts: [{ ...(JSON.parse(JSON.stringify(studyPart())) as object), seeds: [11, 12, 13] }] },
      /expected other seeds/,
    ],
    ['no rate', { parts: [{ ...studyPart(), optimizer: {} }] }, /optimizer\.lr is missing, and there is no "tuning"/],
  ])('refuses %s', (_, changes, message) => {
    expect(() => parseStudy({ ...study(), ...changes }, 'study.yaml')).toThrow(message);
  });

  it('refuses budgets that leave no room for warm-up', async () => {
    const [part] = study().parts;
    await expect(go(study({ parts: [{ ...part!, warmup: 40 }] }), 'crowded')).rejects.toThrow(
      /Part "short", scratch at 0\.5 C: \d+ steps are left for warm-up \(40\) and cooldown/,
    );
  });
});

function studyPart(): object {
  return study().parts[0]!;
}
