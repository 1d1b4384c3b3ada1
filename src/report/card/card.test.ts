import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { parseModelConfig } from '../../architecture/index.js';
import { trainingFlopsPerToken } from '../../planner/index.js';
import { recordsPath, RecordWriter, writeRunManifest } from '../../records/index.js';
import { modelCard } from './model-card.js';
import { makeKeyPair, signStatement } from './signature.js';
import { makeStatement } from './statement.js';
import { verifyStatement, type Check } from './verify.js';

const root = mkdtempSync(join(tmpdir(), 'strata-card-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const MODEL = { vocab_size: 64, hidden_size: 32, num_hidden_layers: 4, num_attention_heads: 4, intermediate_size: 48 };
const LENGTH = 16;
let folder = '';
let numRuns = 0;

/** A run of two stages whose FLOPs are those of its models. */
function writeRun(chain: boolean): void {
  folder = join(root, `run-${numRuns++}`);
  const stages = [
    { name: 'base', kind: 'train', model: { num_hidden_layers: 1 } },
    { name: 'stack', kind: 'grow', operator: 'stack', factor: 4 },
    { name: 'target', kind: 'train' },
  ];
  writeRunManifest(folder, {
    format: 1,
    name: 'small',
    config: { seed: 1, model: MODEL, data: { sequenceLength: LENGTH }, stages },
    sources: {},
    versions: { strata: '0' },
    machine: { cores: 2 },
    parents: [],
    data: { train: { path: 'a', hash: '1' }, validation: { path: 'b', hash: '2' } },
    model: { ...MODEL, parameters: 1000 },
  });
  const target = trainingFlopsPerToken(parseModelConfig(MODEL, 'test'), LENGTH).flops;
  const base = trainingFlopsPerToken(parseModelConfig({ ...MODEL, num_hidden_layers: 1 }, 'test'), LENGTH).flops;
  let clock = 1000;
  const writer = RecordWriter.open(recordsPath(folder), { chain, now: () => clock++ });
  const at = (step: number) => {
    const exact = base * BigInt(Math.min(step, 3) * 160) + target * BigInt(Math.max(0, step - 3) * 160);
    return { step, tokens: step * 160, flops: Number(exact), flopsExact: String(exact) };
  };
  for (let step = 1; step <= 3; step++) writer.append({ kind: 'train', stage: 'base', ...at(step), loss: 4 });
  writer.append({
    kind: 'growth',
    stage: 'stack',
    ...at(3),
    operator: 'stack',
    sourceParameters: 250,
    targetParameters: 1000,
  });
  for (let step = 4; step <= 9; step++) writer.append({ kind: 'train', stage: 'target', ...at(step), loss: 3 });
  writer.append({ kind: 'validation', stage: 'target', ...at(9), loss: 2.5 });
  writer.append({ kind: 'eval', ...at(9), task: 'lambada', metric: 'acc', value: 0.25, stderr: 0.01 });
  writer.close();
  mkdirSync(join(folder, 'checkpoints', '9'), { recursive: true });
  writeFileSync(join(folder, 'checkpoints', '9', 'manifest.json'), '{}');
}
beforeEach(() => writeRun(true));

const failed = (checks: readonly Check[]): string[] => checks.filter(({ ok }) => ok === false).map(({ name }) => name);

describe('a compute statement', () => {
  it('holds: chain, FLOPs counted again, checkpoints, speed', () => {
    const statement = makeStatement(folder);
    expect(statement.stages.map(({ stage, tokens }) => [stage, tokens])).toEqual([
      ['base', 480],
      ['target', 960],
    ]);
    const checks = verifyStatement(statement, folder);
    expect(failed(checks)).toEqual([]);
    expect(checks.filter(({ ok }) => ok === true).map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        'records',
        'FLOPs of base',
        'FLOPs of target',
        'checkpoints',
        'totals',
        'plausible speed',
      ]),
    );
    expect(statement.records.chainedWhenWritten).toBe(true);
  });

  it('still holds when records are added, and not when they are changed, removed or cut off', () => {
    const statement = makeStatement(folder);
    const path = recordsPath(folder);
    const original = readFileSync(path, 'utf8');
    appendFileSync(path, '{"kind":"event","name":"later"}\n');
    expect(failed(verifyStatement(statement, folder))).toEqual([]);
    writeFileSync(path, original.replace('"loss":2.5', '"loss":2.4'));
    expect(failed(verifyStatement(statement, folder))).toEqual(['records']);
    const lines = original.split('\n');
    writeFileSync(path, lines.filter((_, i) => i !== 2).join('\n'));
    expect(failed(verifyStatement(statement, folder))).toContain('records');
    writeFileSync(path, lines.slice(0, -3).join('\n'));
    expect(failed(verifyStatement(statement, folder))).toContain('records');
  });

  it('shows changes of records that were not chained when written', () => {
    writeRun(false);
    const statement = makeStatement(folder);
    expect(statement.records.chainedWhenWritten).toBe(false);
    const path = recordsPath(folder);
    writeFileSync(path, readFileSync(path, 'utf8').replace('"loss":2.5', '"loss":2.4'));
    expect(failed(verifyStatement(statement, folder))).toEqual(['records']);
  });

  it('is not made of records whose chain is broken', () => {
    const path = recordsPath(folder);
    writeFileSync(path, readFileSync(path, 'utf8').replace('"loss":2.5', '"loss":2.4'));
    expect(() => makeStatement(folder)).toThrow(/line 11: its hash does not fit/);
  });

  it('fails where stated FLOPs are not those of the architecture, or no machine could be so fast', () => {
    const statement = makeStatement(folder);
    const [base, target] = statement.stages;
    if (base === undefined || target === undefined) throw new Error('no stages');
    const cheaper = { ...statement, stages: [base, { ...target, flopsExact: '12345' }] };
    expect(failed(verifyStatement(cheaper, folder))).toEqual(['totals', 'FLOPs of target']);
    expect(failed(verifyStatement({ ...statement, wallSeconds: 1e-9 }, folder))).toEqual(['plausible speed']);
  });

  it('fails where a checkpoint or run.json was changed', () => {
    const statement = makeStatement(folder);
    writeFileSync(join(folder, 'checkpoints', '9', 'manifest.json'), '{"other":1}');
    appendFileSync(join(folder, 'run.json'), '\n');
    expect(failed(verifyStatement(statement, folder))).toEqual(['run.json', 'checkpoints']);
  });

  it('is signed with Ed25519, and any change breaks the signature', () => {
    const key = join(root, 'key.pem');
    writeFileSync(key, makeKeyPair().privateKey);
    const signed = signStatement(makeStatement(folder), key);
    expect(verifyStatement(signed, folder)[0]).toMatchObject({ name: 'signature', ok: true });
    expect(failed(verifyStatement({ ...signed, run: 'another' }, folder))).toEqual(['signature']);
    writeFileSync(key, 'no key');
    expect(() => signStatement(signed, key)).toThrow(/cannot be read as a private key/);
  });
});

it('makes a model card of what is known', () => {
  const card = modelCard(makeStatement(folder), folder);
  expect(card).toMatch(/^---\nlibrary_name: transformers\n/);
  expect(card).toContain('growth-stack');
  expect(card).toContain('| target | 960 |');
  expect(card).toContain('`stack` after 480 tokens, 250 to 1000 parameters');
  expect(card).toContain('| lambada | acc | 0.2500 | 0.0100 |');
});
