import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { buildTinyData, tinyRun } from '../../test/support/tiny-run.js';
import { openDataset } from '../data/index.js';
import { measureAgreement } from '../eval/index.js';
import { loadModel } from '../infer/index.js';
import { parseConfig, type RunConfigInput } from './config/index.js';
import { releasedMembers } from './released.js';
import { runTraining } from './run.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-chain-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('a chain of released models records how alike neighbours predict, and lists its members', async () => {
  const data = await buildTinyData(folder);
  const run = tinyRun(data, { base: 6, target: 4 });
  const stages = run.stages.map((stage) => (stage.kind === 'train' ? { ...stage, release: true } : stage));
  const config = { ...run, agreement: 128, stages } as RunConfigInput;
  const { folder: out } = await runTraining(parseConfig(config), { out: join(folder, 'run'), threads: 1 });
  const members = releasedMembers(out);
  expect(members.map(({ stage, step }) => [stage, step])).toEqual([
    ['base', 6],
    ['target', 10],
  ]);
  expect(members[1]!.parameters).toBeGreaterThan(members[0]!.parameters);
  const records = readFileSync(join(out, 'records.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ kind }) => kind === 'agreement');
  using small = loadModel(members[0]!.folder);
  using large = loadModel(members[1]!.folder);
  using dataset = openDataset(join(data, 'validation'));
  const found = await measureAgreement(small, large, dataset, { tokens: 128 });
  expect(records).toHaveLength(1);
  expect(records[0]).toMatchObject({ stage: 'target', with: 'base', step: 10, tokens: 128 });
  expect(records[0]!['kl']).toBeCloseTo(found.kl, 6);
  expect(records[0]!['topOneMatch']).toBe(found.topOneMatch);
});
