import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildTinyData, tinyRun } from '../../../test/support/tiny-run.js';
import { openDataset } from '../../data/index.js';
import { forwardFlopsPerToken, trainingFlopsPerToken } from '../../planner/index.js';
import { openCheckpoint } from '../../interop/index.js';
import { parseConfig, type RunConfigInput } from '../config/index.js';
import { planRun } from '../plan.js';
import { type RunOptions, type RunResult, runTraining } from '../run.js';
import { scoreData } from './score.js';
import { Scores } from './scores.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-objective-'));
let data = '';
let runs = 0;
let base: RunResult;
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const optimizer = { lr: 4e-3 };
const [SMALL, LARGE] = [{ num_hidden_layers: 2 }, { num_hidden_layers: 4 }];
type Objective = Exclude<RunConfigInput['stages'][number], { kind: 'grow' | 'external' }>['objective'];

const target = (objective: Objective, steps = 6): RunConfigInput['stages'][number] => ({
  name: 'target',
  kind: 'train',
  until: { steps },
  optimizer,
  schedule: { kind: 'constant', warmup: 0 },
  ...(objective === undefined ? {} : { objective }),
});
const config = (stages: RunConfigInput['stages'], rest: Partial<RunConfigInput> = {}): RunConfigInput => ({
  ...tinyRun(data),
  checkpoints: { every: 2, keepLast: 2 },
  validation: { every: 50, tokens: 512 },
  ...rest,
  stages,
});
const go = (run: RunConfigInput, options: RunOptions = {}): Promise<RunResult> =>
  runTraining(parseConfig(run), { out: join(folder, `run-${runs++}`), threads: 1, ...options });
const recordsOf = (run: RunResult): Record<string, number>[] =>
  readFileSync(join(run.folder, 'records.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, number>)
    .filter(({ kind, stage }) => String(kind) === 'train' && String(stage) === 'target');
const baseStage: RunConfigInput['stages'][number] = {
  name: 'base',
  kind: 'train',
  model: SMALL,
  until: { steps: 20 },
  optimizer,
};

beforeAll(async () => {
  data = await buildTinyData(folder);
  base = await go(config([{ ...baseStage, model: {} }], { model: { ...(tinyRun(data).model as object), ...SMALL } }));
}, 60_000);

describe('a run that weighs by excess loss', () => {
  it('takes the base that it grew from as reference, which costs nothing but its passes', async () => {
    const stages: RunConfigInput['stages'] = [
      baseStage,
      { name: 'grow', kind: 'grow', operator: 'block-expansion', factor: 2 },
      target({ kind: 'kl-dro', reference: { stage: 'base' } }),
    ];
    const run = await go(config(stages));
    const [first, second] = recordsOf(run);
    // Block expansion preserves the function: at first the target is its own reference.
    expect(first!['excess']).toBeCloseTo(0, 5);
    expect(second!['excess']).not.toBeCloseTo(0, 3);
    // Checkpoints rotate, and the reference stays.
    expect(existsSync(join(run.folder, 'checkpoints', '20'))).toBe(true);
    using stored = openCheckpoint(join(run.folder, 'checkpoints', '20'));
    using end = openCheckpoint(run.checkpoint);
    const tokens = (steps: number): bigint => BigInt(steps * 512);
    const head = BigInt(2 * end.config.hidden_size * end.config.vocab_size);
    expect(run.flopsExact).toBe(
      String(
        tokens(20) * trainingFlopsPerToken(stored.config, 64).flops +
          tokens(6) *
            (trainingFlopsPerToken(end.config, 64).flops + forwardFlopsPerToken(stored.config, 64).flops + head),
      ),
    );
    expect(
      String(planRun(parseConfig(config(stages)), { vocabSize: end.config.vocab_size }).totals!.ledger.exact),
    ).toBe(run.flopsExact);
  });

  it('goes on from a checkpoint bit for bit, moving normaliser and relaxed temperature included', async () => {
    const run = config([target({ kind: 'kl-dro', reference: base.folder, gamma: 0.2, relaxFrom: 3 })]);
    const whole = await go(run);
    const out = join(folder, 'interrupted');
    await expect(go(run, { out, stopAfter: 3 })).rejects.toThrow(/checkpoint/i);
    const resumed = await go(run, { out });
    const weights = (result: RunResult): Buffer => readFileSync(join(result.checkpoint, 'model.safetensors'));
    expect(weights(resumed).equals(weights(whole))).toBe(true);
    expect(recordsOf(resumed).at(-1)).toMatchObject({ robustExcess: recordsOf(whole).at(-1)!['robustExcess'] });
  });

  it('is ordinary training where every item is kept', async () => {
    const [all, plain] = [
      await go(config([target({ kind: 'cvar-dro', reference: base.folder, alpha: 1 })])),
      await go(config([target('plain')])),
    ];
    const [a, b] = [recordsOf(all), recordsOf(plain)];
    a.forEach((record, i) => expect(record['loss']).toBeCloseTo(b[i]!['loss']!, 4));
  });

  it('reads stored losses in place of running the reference', async () => {
    const out = join(folder, 'scores');
    const scored = await scoreData({ reference: base.folder, data, out, sequenceLength: 64, batch: 3, threads: 1 });
    const tokens = scored.index!.sequences * 64;
    using checkpoint = openCheckpoint(base.folder);
    expect(scored.index!.flopsExact).toBe(String(forwardFlopsPerToken(checkpoint.config, 64).flops * BigInt(tokens)));
    using dataset = openDataset(join(data, 'train'));
    expect(scored.index!.sequences).toBe(Math.floor((dataset.tokens - 1) / 64));

    const objective = { kind: 'kl-dro', reference: base.folder, tau: 0.5 } as const;
    const beside = await go(config([target(objective)]));
    const stored = await go(config([target({ ...objective, scores: out })]));
    const [a, b] = [recordsOf(beside), recordsOf(stored)];
    // Stored as float16: 11 bits of a loss of about 4.
    a.forEach((record, i) => {
      expect(Math.abs(record['excess']! - b[i]!['excess']!)).toBeLessThan(4e-3);
      expect(Math.abs(record['loss']! - b[i]!['loss']!)).toBeLessThan(4e-3);
    });
    // Paid once and in full, in place of the passes of the steps.
    const forward = forwardFlopsPerToken(checkpoint.config, 64).flops;
    expect(BigInt(stored.flopsExact) - BigInt(beside.flopsExact)).toBe(forward * BigInt(tokens - 6 * 512));
    expect(await scoreData({ reference: base.folder, data, out, sequenceLength: 64 })).toMatchObject({
      wasFinished: true,
    });
  });

  it('scores each token of the row of tokens with the loss of the reference', async () => {
    const out = join(folder, 'scores-within');
    await scoreData({
      ...{ reference: base.folder, data, out, sequenceLength: 32, batch: 8, threads: 1 },
      crossDocumentAttention: false,
    });
    using scores = new Scores(out);
    const losses = new Float32Array(32);
    let sum = 0;
    for (let i = 0; i < scores.index.sequences; i++) {
      scores.read(i, losses);
      sum += losses.reduce((total, loss) => total + loss, 0);
    }
    expect(sum / (32 * scores.index.sequences)).toBeCloseTo(scores.index.meanLoss, 3);
  });

  it('goes on with scoring where it was stopped', async () => {
    const out = join(folder, 'scores-stopped');
    const options = { reference: base.folder, data, out, sequenceLength: 64, threads: 1 };
    const stop = new AbortController();
    const stopped = await scoreData({ ...options, signal: stop.signal, onProgress: () => stop.abort() });
    expect(stopped.index).toBeUndefined();
    expect((await scoreData(options)).index!.meanLoss).toBeGreaterThan(1);
  });

  it('refuses losses of other tokens, cuts or references', async () => {
    const out = join(folder, 'scores');
    const other = await go(config([target('plain', 2)]));
    const run = (reference: string, length = 64): Promise<RunResult> =>
      go(
        config([target({ kind: 'kl-dro', reference, scores: out })], {
          data: { train: data, sequenceLength: length, batchTokens: 512 },
        }),
      );
    await expect(run(other.folder)).rejects.toThrow(
      /reference: expected .*run-.*the losses are those of another model/,
    );
    await expect(run(base.folder, 32)).rejects.toThrow(/sequenceLength: expected 32, found 64: the tokens were cut/);
    const path = join(out, 'scores.json');
    const index = readFileSync(path, 'utf8');
    writeFileSync(path, index.replace(/"data": "./, '"data": "z'));
    await expect(run(base.folder)).rejects.toThrow(/data: expected .*the losses belong to other tokens/);
    writeFileSync(path, '{"format');
    await expect(run(base.folder)).rejects.toThrow(/scores\.json cannot be read as JSON/);
    writeFileSync(path, index);
  });

  it.each([
    [
      { kind: 'kl-dro', reference: { stage: 'nowhere' } },
      /objective": expected an earlier train stage, found "nowhere"/,
    ],
    [{ kind: 'kl-dro', reference: 'from' }, /"from" needs a checkpoint that the run starts from/],
    [{ kind: 'kl-dro', reference: 'no/such/folder' }, /no\/such\/folder: there is no such checkpoint/],
    [{ kind: 'kl-dro', reference: 'from', scores: 'no/such' }, /"from" needs/],
  ] as const)('refuses %j with a sentence', (objective, message) => {
    const run = config([target(objective)], { model: { ...(tinyRun(data).model as object), ...LARGE } });
    expect(() => planRun(parseConfig(run), { vocabSize: 320 })).toThrow(message);
  });
});
