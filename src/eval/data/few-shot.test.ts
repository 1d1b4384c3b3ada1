import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fixtures, referenceHash } from '../../../test/support/harness-reference.js';
import { evaluationDataOrSkip } from '../../../test/support/tiers.js';
import { tasks } from '../tasks/registry.js';
import type { Row, Task } from '../tasks/types.js';
import type { TaskDocument } from './documents.js';
import { loadTask } from './load.js';

/** Hashes of the harness's requests, a list per document; see test/reference/fewshot.py. */
type Hashes = readonly (readonly string[])[];
interface Handmade extends Readonly<Record<`shots${number}`, Hashes>> {
  readonly train?: readonly Row[];
  readonly scored: readonly Row[];
}
const reference = JSON.parse(readFileSync(`${fixtures}eval/fewshot.json`, 'utf8')) as {
  readonly handmade: Readonly<Record<string, Handmade>>;
  readonly published: Readonly<Record<string, { readonly shots5: Hashes }>>;
};

const folder = mkdtempSync(join(tmpdir(), 'strata-few-shot-'));
const any = { acceptAny: true };
const taskOf = (name: string): Task => tasks.get(name)!;
const write = (path: string, text: string): void => {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
};

/** Writes rows of the hub's form as the published file has them. */
function writeSplit({ file, labels, cut }: Task['split'], rows: readonly Row[]): void {
  if (labels !== undefined) write(labels.path, rows.map(({ label }) => `${String(label)}\n`).join(''));
  const block = ({ label, context, question, options }: Row): string =>
    [label, context, question, ...(options as string[]).map((option) => `X.${option}`)].join('\n');
  write(
    file.path,
    cut === undefined ? rows.map((row) => `${JSON.stringify(row)}\n`).join('') : rows.map(block).join('\n\n'),
  );
}

function hashesOf(document: TaskDocument): string[] {
  if (document.kind === 'page') return [];
  const requests = document.kind === 'choice' ? document.requests : [document.request];
  return requests.map(({ context, continuation }) => referenceHash(`${context}\0${continuation}`));
}

beforeAll(() => {
  for (const [name, { train, scored }] of Object.entries(reference.handmade)) {
    const { split, examples } = taskOf(name);
    writeSplit(split, scored);
    if (train !== undefined && examples !== undefined) writeSplit(examples, train);
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(Object.keys(reference.handmade))('few-shot prompts of %s', (name) => {
  it.each([1, 2, 6])("with %i examples equal the harness's, by hash", async (shots) => {
    const { documents } = await loadTask(taskOf(name), folder, { ...any, fewShot: shots, limit: 8 });
    expect(documents.map(hashesOf)).toEqual(reference.handmade[name]![`shots${shots}`]);
  });
});

describe.each(Object.entries(reference.published))('few-shot prompts of %s', (name, { shots5 }) => {
  it("over the published files equal the harness's, by hash", async (context) => {
    const { documents, files } = await loadTask(taskOf(name), evaluationDataOrSkip(context), { fewShot: 5, limit: 40 });
    expect(documents.map(hashesOf)).toEqual(shots5);
    expect(files.every(({ verified }) => verified)).toBe(true);
  });
});

describe('examples that cannot be drawn', () => {
  it('name the file of the training split', async () => {
    rmSync(join(folder, 'winogrande', 'train_xl.jsonl'));
    await expect(loadTask(taskOf('winogrande'), folder, { ...any, fewShot: 1 })).rejects.toThrow(
      /^The data of WinoGrande \(xl\), from whose train split few-shot examples are drawn, is missing: get .*train_xl\.jsonl or at .*train-\*\.parquet\.$/,
    );
  });

  it('are more than there are rows', async () => {
    await expect(loadTask(taskOf('piqa'), folder, { ...any, fewShot: 40 })).rejects.toThrow(
      /piqa\/train\.jsonl: 41 rows are drawn from, but it has 40\.$/,
    );
  });

  it('are of a task without questions', async () => {
    write('wikitext/wiki.test.raw', ' = One = \n a \n');
    await expect(loadTask(taskOf('wikitext'), folder, { ...any, fewShot: 1 })).rejects.toThrow(/has no questions/);
  });
});
