import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { buildTinyData, tinyRun } from '../../test/support/tiny-run.js';
import { openCheckpoint } from '../interop/index.js';
import { parseConfig, type RunConfigInput } from './config/index.js';
import { runTraining } from './run.js';

const root = mkdtempSync(join(tmpdir(), 'strata-parent-state-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

it('a chain of runs that takes the optimizer over has the bits of one run', async () => {
  const data = await buildTinyData(join(root, 'data'));
  const stage = (name: string, steps: number, schedule: object) => ({
    ...{ name, kind: 'train' as const, until: { steps }, optimizer: { lr: 4e-3 }, release: true },
    schedule: schedule as { kind: 'constant' },
  });
  const go = (name: string, changes: Partial<RunConfigInput>) =>
    runTraining(parseConfig({ ...tinyRun(data), name, ...changes }), { out: join(root, name), threads: 1 });
  const trunk = stage('trunk', 6, { kind: 'constant', warmup: 3 });
  const cooldown = stage('cooldown', 4, { kind: 'wsd', warmup: 0, cooldown: '100%' });
  const whole = await go('whole', { stages: [trunk, cooldown] });
  const { model: _, ...first } = tinyRun(data);
  await go('first', { stages: [trunk] });
  const chain = { ...first, from: join(root, 'first'), stages: [cooldown], model: undefined as never };
  const copied = await go('copied', { ...chain, optimizerState: 'copy', study: 'abc' });
  const fresh = await go('fresh', chain);
  expect(copied).toMatchObject({
    tokens: whole.tokens,
    flopsExact: whole.flopsExact,
    validationLoss: whole.validationLoss,
  });
  expect(fresh.validationLoss).not.toBe(whole.validationLoss);
  using ours = openCheckpoint(whole.checkpoint);
  using theirs = openCheckpoint(copied.checkpoint);
  for (const { name } of ours.weights) expect(theirs.read(name)).toEqual(ours.read(name));
  const records = readFileSync(join(copied.folder, 'records.jsonl'), 'utf8').trimEnd().split('\n');
  for (const line of records) expect(JSON.parse(line)).toMatchObject({ study: 'abc' });
}, 60_000);
