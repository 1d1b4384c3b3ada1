import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readManifest, writeManifest } from '../src/interop/index.js';
import { strata, strataCommand } from './support/strata.js';
import { buildTinyData, tinyRun } from './support/tiny-run.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-replay-test-'));
const reference = join(folder, 'reference');
const STEPS = { base: 30, target: 30 };

beforeAll(async () => {
  strataCommand();
  const data = await buildTinyData(folder);
  const config = join(folder, 'run.json');
  writeFileSync(config, JSON.stringify({ ...tinyRun(data, STEPS), checkpoints: { every: 20, keepLast: 9 } }));
  const { code, stderr } = await strata(['train', config, '--out', reference, '--threads', '1']);
  if (code !== 0) throw new Error(stderr);
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Outcome {
  readonly code: number | null;
  readonly stderr: string;
  readonly replay?: {
    readonly equal: boolean;
    readonly environment: readonly string[];
    readonly records: { readonly count: number; readonly firstDifference: string | null };
    readonly files: readonly { readonly name: string; readonly sha256: string; readonly replayedSha256: string }[];
  };
}

async function replay(run: string, segment: string, ...more: string[]): Promise<Outcome> {
  const { code, stdout, stderr } = await strata(['card', 'verify', run, '--replay', segment, '--json', ...more]);
  return { code, stderr, ...(stdout === '' ? {} : (JSON.parse(stdout) as object)) };
}

/** A copy of the run in which a byte of a checkpoint's weights was changed, and its manifest with it. */
function forge(name: string, step: number): string {
  const run = join(folder, name);
  cpSync(reference, run, { recursive: true });
  const checkpoint = join(run, 'checkpoints', String(step));
  const path = join(checkpoint, 'model.safetensors');
  const bytes = readFileSync(path);
  bytes[bytes.length - 4]! ^= 1;
  writeFileSync(path, bytes);
  const { files: _, format: __, ...fields } = readManifest(checkpoint)!;
  writeManifest(checkpoint, fields);
  return run;
}

const differing = ({ replay: found }: Outcome): string[] =>
  found!.files.filter(({ sha256, replayedSha256 }) => sha256 !== replayedSha256).map(({ name }) => name);

describe('training a segment again', { timeout: 120_000 }, () => {
  it('gives the same bits over a growth, and leaves the run as it was', async () => {
    const before = readFileSync(join(reference, 'records.jsonl'));
    const outcome = await replay(reference, '20..40');
    expect(outcome.code, outcome.stderr).toBe(0);
    // 20 train records, validations at the end of the base, and the growth.
    expect(outcome.replay).toMatchObject({ equal: true, environment: [], records: { firstDifference: null } });
    expect(outcome.replay!.records.count).toBeGreaterThanOrEqual(22);
    expect(outcome.replay!.files.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['model.safetensors', 'optimizer.safetensors']),
    );
    expect(readFileSync(join(reference, 'records.jsonl')).equals(before)).toBe(true);
    expect(readdirSync(reference)).not.toContain('run.lock');
  });

  it('starts from step 0 and reaches the end', async () => {
    expect(await replay(reference, '0..20')).toMatchObject({ code: 0, replay: { equal: true } });
    expect(await replay(reference, '40..60')).toMatchObject({ code: 0, replay: { equal: true } });
  });

  it('finds a weight that was changed at the end of the segment, though the manifest was changed with it', async () => {
    const outcome = await replay(forge('forged-end', 40), '20..40');
    expect(outcome.code).toBe(1);
    expect(differing(outcome)).toEqual(['model.safetensors']);
    expect(outcome.replay!.records.firstDifference).toBeNull();
    expect(outcome.stderr).toMatch(/does not hold: replay 20\.\.40/);
  });

  it('finds a weight that was changed at its start', async () => {
    const outcome = await replay(forge('forged-start', 20), '20..30');
    expect(outcome.code).toBe(1);
    expect(differing(outcome)).toEqual(expect.arrayContaining(['model.safetensors', 'optimizer.safetensors']));
  });

  it('finds a record that was changed', async () => {
    const run = join(folder, 'forged-records');
    cpSync(reference, run, { recursive: true });
    const path = join(run, 'records.jsonl');
    const line = readFileSync(path, 'utf8')
      .split('\n')
      .find((text) => text.includes('"kind":"train"') && text.includes('"step":35,'))!;
    const changed = line.replace(
      /("loss":\d\.)(\d)/,
      (_, start: string, digit: string) => `${start}${(+digit + 1) % 10}`,
    );
    writeFileSync(path, readFileSync(path, 'utf8').replace(line, changed));
    const outcome = await replay(run, '30..40');
    expect(outcome.code).toBe(1);
    expect(outcome.replay!.records.firstDifference).toMatch(/^train\.loss at step 35 /);
    expect(differing(outcome)).toEqual([]);
  });

  it('trains nothing where a checkpoint does not fit its own manifest', async () => {
    const run = join(folder, 'damaged');
    cpSync(reference, run, { recursive: true });
    writeFileSync(join(run, 'checkpoints', '40', 'config.json'), '{}');
    const outcome = await replay(run, '20..40');
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toMatch(/Nothing was trained again: .*40\/config\.json: expected \d+ bytes, found 2/);
  });

  it('says what was different here', async () => {
    const outcome = await replay(reference, '0..20', '--threads', '2');
    expect(outcome.replay!.environment).toEqual(['threads 1 -> 2']);
  });

  it('refuses segments that are not there, naming those that are', async () => {
    const missing = await replay(reference, '25..40');
    expect(missing).toMatchObject({ code: 2 });
    expect(missing.stderr).toMatch(/has no checkpoint 25; it has 0 \(its start\), 20, 30, 40, 60\./);
    expect((await replay(reference, '40..20')).stderr).toMatch(/--replay: expected two steps, the smaller one first/);
    expect(await replay(join(folder, 'nothing'), '0..20')).toMatchObject({ code: 2 });
  });
});
