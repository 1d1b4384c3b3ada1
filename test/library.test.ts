import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createJiti } from 'jiti';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseConfig, readRun, type RunInput } from '../src/index.js';
import { planRun } from '../src/train/index.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'strata-library-'));
const home = process.cwd();

/** The examples of a page that use the library. */
const examplesOf = (page: string): string[] =>
  [...readFileSync(join(root, page), 'utf8').matchAll(/```ts\n(.*?)```/gs)]
    .map(([, code = '']) => code)
    .filter((code) => code.includes("from 'strata-lm'"));

/** The same with a model of a quarter of the width, for a hundredth of the FLOPs. */
const shortened = (code: string): string =>
  code
    .replace(/flops: 1e(\d+)/g, (_, exponent) => `flops: 1e${Number(exponent) - 2}`)
    .replace('hidden_size: 128', 'hidden_size: 32')
    .replace('intermediate_size: 320', 'intermediate_size: 80');

const corpus = (file: string): Buffer => readFileSync(join(root, 'corpora', 'novels-small', file));

beforeAll(() => {
  // Real text by the names that the examples use; the first is the smaller file, which is enough.
  writeFileSync(join(folder, 'train.jsonl.gz'), corpus('validation.jsonl.gz'));
  writeFileSync(join(folder, 'validation.jsonl.gz'), corpus('validation.jsonl.gz'));
});
afterEach(() => process.chdir(home));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function run(code: string, name: string): Promise<void> {
  process.chdir(folder);
  const file = join(folder, `${name}.ts`);
  writeFileSync(file, shortened(code));
  await createJiti(file, { alias: { 'strata-lm': join(root, 'src', 'index.ts') }, moduleCache: false }).import(file);
}

/** The example of a page that does the whole thing. */
const wholeExample = (page: string): string | undefined => examplesOf(page).find((code) => code.includes('compare('));

describe('the library example', () => {
  it('trains, grows, compares and reports', { timeout: 180_000 }, async () => {
    const whole = wholeExample('docs/guide/library.md') ?? '';
    expect(whole.trim().split('\n').length).toBeLessThanOrEqual(25);
    await run(whole, 'whole');
    const { growth } = readRun(join(folder, 'runs', 'grown')).records;
    expect(growth).toMatchObject([{ operator: 'stack' }]);
    expect(readFileSync(join(folder, 'report.html'), 'utf8')).toContain('<!doctype html>');
  });

  it('is the same in README', () => {
    expect(wholeExample('README.md')).toBe(wholeExample('docs/guide/library.md'));
  });
});

it('the config in the guide to runs is one', () => {
  const page = readFileSync(join(root, 'docs', 'guide', 'runs.md'), 'utf8');
  const [, yaml = ''] = /```yaml\n(.*?)```/s.exec(page) ?? [];
  const { stages } = planRun(parseConfig(parse(yaml) as RunInput), { vocabSize: 2048 });
  expect(stages.map(({ model }) => model.num_hidden_layers)).toEqual([3, 12, 12]);
});
