import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { buildTinyData, tinyRun } from './support/tiny-run.js';
import { create as createEval } from '../src/cli/commands/eval.js';
import { counters } from '../src/engine/buffers.js';
import { evaluate } from '../src/index.js';
import { readRun } from '../src/records/index.js';
import { parseConfig, type RunConfigInput } from '../src/train/config/index.js';
import { runTraining } from '../src/train/run.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-train-eval-'));
const benchmarks = join(folder, 'benchmarks');
let data = '';
beforeAll(async () => {
  data = await buildTinyData(folder);
  mkdirSync(join(benchmarks, 'piqa'), { recursive: true });
  const rows = ['cut bread', 'dry hair', 'boil water'].map((goal) => ({
    goal,
    sol1: 'use a knife',
    sol2: 'use a towel',
  }));
  writeFileSync(join(benchmarks, 'piqa', 'valid.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  writeFileSync(join(benchmarks, 'piqa', 'valid-labels.lst'), '0\n1\n0\n');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const optimizer = { lr: 4e-3 };
const schedule = { kind: 'constant', warmup: 0 } as const;
const stage = { name: 'only', kind: 'train', until: { steps: 5 }, optimizer, schedule } as const;
const evaluation = {
  tasks: 'piqa',
  get data() {
    return benchmarks;
  },
  every: 2,
  anyData: true,
};

const go = (name: string, changes: Partial<RunConfigInput> = {}) =>
  runTraining(parseConfig({ ...tinyRun(data), stages: [stage], ...changes }), { out: join(folder, name), threads: 1 });

/** The command, as a user types it. */
const strataEval = (...words: string[]) =>
  createEval().parseAsync(
    [...words, '--data', benchmarks, '--tasks', 'piqa', '--any-data', '--quiet', '--threads', '1'],
    { from: 'user' },
  );

const evalsOf = (run: string) => readRun(run).records.evals;

it('evaluates while training, at intervals and at the end, and disturbs nothing', async () => {
  const before = counters();
  const plain = await go('plain');
  const evaluated = await go('evaluated', { evaluation: { ...evaluation } });
  expect(counters()).toEqual(before);
  const read = (run: { checkpoint: string }) => readFileSync(join(run.checkpoint, 'model.safetensors'));
  expect(read(evaluated).equals(read(plain))).toBe(true);
  const records = evalsOf(evaluated.folder);
  expect([...new Set(records.map(({ step }) => step))]).toEqual([2, 4, 5]);
  expect(records.filter(({ step }) => step === 5).map(({ metric }) => metric)).toEqual([
    'acc',
    'acc_norm',
    'nats_per_byte',
    'margin',
  ]);
  expect(records.at(-1)).toMatchObject({
    task: 'piqa',
    stage: 'only',
    tokens: evaluated.tokens,
    flops: evaluated.flops,
  });
});

it('gives what evaluating the checkpoint afterwards gives; all checkpoints are filled in once', async () => {
  const checkpoints = { every: 2, keepLast: 5 };
  const during = await go('during', { evaluation: { ...evaluation }, checkpoints });
  const after = await go('after', { checkpoints });
  expect(evalsOf(after.folder)).toEqual([]);
  await strataEval(after.folder, '--all-checkpoints');
  const values = (run: string) =>
    evalsOf(run).map(({ step, metric, value, stderr, flops }) => ({ step, metric, value, stderr, flops }));
  expect(values(after.folder)).toEqual(values(during.folder));
  await strataEval(after.folder, '--all-checkpoints');
  expect(evalsOf(after.folder)).toHaveLength(values(during.folder).length);
  const out = join(folder, 'results', 'r.json');
  await strataEval(`${after.folder}@2`, '--samples', '--out', out);
  const { results } = JSON.parse(readFileSync(out, 'utf8')) as { results: Record<string, Record<string, number>> };
  expect(results['piqa']!['acc,none']).toBe(values(during.folder)[0]!.value);
  expect(
    readFileSync(join(folder, 'results', 'samples_piqa.jsonl'), 'utf8')
      .trim()
      .split('\n'),
  ).toHaveLength(3);
});

it('is one call in the library, with the same numbers', async () => {
  const run = await go('library');
  const options = { tasks: 'piqa', data: benchmarks, acceptAny: true, threads: 1, samples: true };
  const out = join(folder, 'library-results', 'r.json');
  const steps: number[] = [];
  const { tasks, average, document } = await evaluate(run.checkpoint, {
    ...options,
    out,
    onProgress: (task, done, total) => steps.push(task === 'piqa' ? done / total : NaN),
  });
  expect(steps.at(-1)).toBe(1);
  expect(average).toBeUndefined();
  expect(evalsOf(run.folder)).toEqual([]);
  const { date: _, ...written } = JSON.parse(readFileSync(out, 'utf8')) as Record<string, unknown>;
  expect(document).toMatchObject(written);
  await evaluate(run.folder, { tasks: 'piqa', data: benchmarks, acceptAny: true, threads: 1 });
  const recorded = Object.fromEntries(evalsOf(run.folder).map(({ metric, value }) => [metric, value]));
  expect(recorded).toEqual(
    Object.fromEntries(Object.entries(tasks['piqa']!.metrics).map(([name, { value }]) => [name, value])),
  );
  await expect(
    evaluate(run.folder, { ...options, out: join(folder, 'library-results', 'other.json') }),
  ).rejects.toThrow(/samples_piqa\.jsonl is of another evaluation/);
  await expect(evaluate(run.folder, options)).rejects.toThrow(/--samples needs --out/);
});

it('says before the first step that data are missing or do not fit', async () => {
  await expect(go('missing', { evaluation: { ...evaluation, tasks: 'sciq' } })).rejects.toThrow(
    /The data of SciQ is missing/,
  );
  await expect(go('long', { evaluation: { ...evaluation, maxLength: 1 } })).rejects.toThrow(
    /PIQA, document 0: its answer has \d+ tokens, but the model reads at most 1/,
  );
  await expect(go('misspelt', { evaluation: { ...evaluation, tasks: 'piqqa' } })).rejects.toThrow(
    /Unknown task "piqqa"/,
  );
});
