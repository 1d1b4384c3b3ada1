import {
  appendFileSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildTinyData } from '../../../test/support/tiny-run.js';
import { lockFolder } from '../../files/lock.js';
import { runTraining } from '../../train/index.js';
import { runStudy } from './execute.js';
import type { StudyPlan } from './plan.js';
import { StudyProgress } from './progress.js';
import { parseStudy, type StudyInput } from './schema.js';
import { readStudyStatus, type StudyStatus } from './status.js';

const root = mkdtempSync(join(tmpdir(), 'strata-study-status-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const model = { hidden_size: 16, num_hidden_layers: 4, num_attention_heads: 2, intermediate_size: 32 };
const study = (data: string): StudyInput => ({
  name: 'tiny',
  hypothesis: 'Stacking reaches the loss of scratch with fewer FLOPs.',
  stopRule: 'All seeds of all arms.',
  data: { train: data, sequenceLength: 32 },
  validationTokens: 2048,
  parts: [
    {
      ...{ name: 'short', model, batchTokens: 128, tokensPerParameter: 1, budgets: [1], scratchBudgets: [0.5, 1] },
      ...{ seeds: [1], optimizer: {}, warmup: 4 },
      tuning: { seed: 9, budget: 0.5, rates: [1e-3, 2e-3, 4e-3, 8e-3, 16e-3], refine: false },
      arms: [{ name: 'stack', operator: 'stack', base: { num_hidden_layers: 2 }, growthShare: 0.1, lr: 1e-2 }],
      controls: { sizes: [{ model: { num_hidden_layers: 2 }, lr: 1e-2 }], cosine: false, untrained: false },
    },
  ],
});

/** Every file under a folder with its size and time: whether anything was written there. */
const filesOf = (folder: string): string[] =>
  readdirSync(folder, { recursive: true }).map((name) => {
    const { size, mtimeMs } = statSync(join(folder, String(name)));
    return `${String(name)} ${size} ${mtimeMs}`;
  });

describe('the status of a study', () => {
  const whole = join(root, 'whole');
  const plans: StudyPlan[] = [];
  const progress = new StudyProgress();
  let started: string[];
  let hash: string;
  beforeAll(async () => {
    const loaded = parseStudy(study(await buildTinyData(join(root, 'data'))), 'study.yaml');
    hash = loaded.hash;
    started = [];
    await runStudy(loaded, whole, {
      command: ({ loaded: run, folder }) => runTraining(run, { out: folder, threads: 1 }),
      processes: 1,
      onPlan(plan) {
        plans.push(plan);
        progress.plan(plan);
      },
      onStart(job) {
        started.push(job.name);
        progress.begin(job);
      },
      onResult: (result) => progress.end(result),
    });
  }, 120_000);

  /** The study as it was when `count` runs had ended. */
  function stoppedAfter(count: number, name: string): string {
    const folder = join(root, name);
    cpSync(whole, folder, { recursive: true });
    const path = join(folder, 'sweep.jsonl');
    writeFileSync(path, `${readFileSync(path, 'utf8').split('\n').slice(0, count).join('\n')}\n`);
    for (const run of started.slice(count))
      for (const kind of ['runs', 'tuning']) rmSync(join(folder, kind, run), { recursive: true, force: true });
    return folder;
  }

  it('plans what is then run', () => {
    expect(plans[0]!.isTuned).toBe(false);
    const last = plans.at(-1)!;
    expect(last.isTuned).toBe(true);
    expect(last.runs.map(({ name }) => name)).toEqual(started);
    // Tuning over: all its trials were done, and nothing behind them.
    expect(last.runs.every(({ wasDone, isTuning }) => wasDone === isTuning)).toBe(true);
    const { runs, flops } = progress.state();
    expect(runs).toMatchObject({ all: started.length, done: started.length });
    expect(flops.done).toBe(flops.all);
  });

  it('is done where everything is, and then the FLOPs are those of the results', async () => {
    const status = await readStudyStatus(whole);
    expect(status).toMatchObject({ study: 'tiny', hash, state: 'done', isTuned: true, secondsLeft: null });
    expect(status.runs).toMatchObject({ all: started.length, done: started.length, left: 0 });
    const results = JSON.parse(readFileSync(join(whole, 'results.json'), 'utf8')) as {
      cost: { flops: number; tuningFlops: number };
      endPoints: unknown[];
    };
    expect(status.parts.map(({ name, isTuning, flops }) => [name, isTuning, flops.done])).toEqual([
      ['short', true, results.cost.tuningFlops],
      ['short', false, results.cost.flops],
    ]);
    expect(status.parts[1]!.endPoints).toEqual({ all: results.endPoints.length, done: results.endPoints.length });
  });

  it('tells a run that stopped from one that runs, and leaves the folder as it is', async () => {
    const trials = plans.at(-1)!.runs.filter(({ isTuning }) => isTuning).length;
    const folder = stoppedAfter(trials + 1, 'half');
    const begun = plans.at(-1)!.runs[trials + 1]!;
    // Records of the first half of its steps, and no result.
    cpSync(join(whole, 'runs', begun.name), join(folder, 'runs', begun.name), { recursive: true });
    const path = join(folder, 'runs', begun.name, 'records.jsonl');
    const records = readFileSync(path, 'utf8').split('\n');
    const upTo = records.findIndex((line) => line.includes('"kind":"train"') && line.includes('"step":20,'));
    const { flops: reached } = JSON.parse(records[upTo]!) as { flops: number };
    writeFileSync(path, `${records.slice(0, upTo + 1).join('\n')}\n`);

    const before = filesOf(folder);
    const stopped = await readStudyStatus(folder);
    expect(filesOf(folder)).toEqual(before);
    expect(stopped).toMatchObject({ state: 'stopped', isTuned: true, flopsPerSecond: null, secondsLeft: null });
    expect(stopped.runs).toMatchObject({ done: trials + 1, stopped: 1, left: started.length - trials - 2 });
    const one = stopped.list.find(({ status }) => status === 'stopped')!;
    expect(one).toMatchObject({ name: begun.name, step: 20, flopsDone: reached - begun.flopsBefore });
    expect(one.flopsDone).toBeGreaterThan(0);
    expect(stopped.flops.done + stopped.flops.left).toBeCloseTo(stopped.flops.all, -3);

    const lock = lockFolder(join(folder, 'runs', begun.name));
    const running = await readStudyStatus(folder);
    lock.release();
    expect(running.runs).toMatchObject({ running: 1, stopped: 0 });
    expect(running).toMatchObject({ state: 'running', flops: stopped.flops });
    expect(running.secondsLeft).toBeCloseTo(running.flops.left / running.flopsPerSecond!, 6);
  });

  it('knows the first trials where tuning has only begun', async () => {
    const status = await readStudyStatus(stoppedAfter(2, 'tuning'));
    expect(status).toMatchObject({ state: 'stopped', isTuned: false });
    expect(status.parts[0]!.runs).toMatchObject({ all: 5, done: 2, left: 3 });
    expect(status.parts[1]!.runs.left).toBe(status.parts[1]!.runs.all);
  });

  it('counts what failed apart, until it is done', async () => {
    const folder = stoppedAfter(5, 'failed');
    const count = async (): Promise<StudyStatus['runs']> => (await readStudyStatus(folder)).runs;
    const before = await count();
    const [run] = (await readStudyStatus(folder)).list.filter(({ status }) => status === 'left');
    const line = (status: string): string =>
      `${JSON.stringify({ kind: 'event', name: 'run', run: run!.name, status, error: 'no luck', configHash: '' })}\n`;
    appendFileSync(join(folder, 'sweep.jsonl'), line('failed'));
    expect(await count()).toMatchObject({ failed: 1, left: before.left - 1 });
    appendFileSync(join(folder, 'sweep.jsonl'), line('done'));
    expect((await count()).failed).toBe(0);
  });

  it('refuses a folder that is no study', async () => {
    await expect(readStudyStatus(root)).rejects.toThrow(/is no study: it has no study\.json/);
  });
});
