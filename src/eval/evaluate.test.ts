import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetWriteFile } from 'hyparquet-writer';
import { afterAll, describe, expect, it } from 'vitest';
import { fixtures } from '../../test/support/harness-reference.js';
import { loadTokenizer } from '../data/index.js';
import { loadTask } from './data/load.js';
import { encodeRequest, rollingWindows, encodeText } from './encode.js';
import { evaluateTask } from './evaluate.js';
import type { GroupedRequest } from './pack.js';
import { evalRecords } from './records.js';
import { averageAccuracy, harnessLayout, sampleLines } from './results.js';
import type { Score, Scorer } from './scorer.js';
import { tasks } from './tasks/registry.js';

const tokenizer = loadTokenizer(`${fixtures}models/stories260K`);
const data = mkdtempSync(join(tmpdir(), 'strata-eval-'));
afterAll(() => rmSync(data, { recursive: true }));

/** A model by definition: a token with id t has log-probability -t / 1000 wherever it stands, and is greedy where t is even. */
class StubScorer implements Scorer {
  readonly seen: GroupedRequest[] = [];
  constructor(readonly maxLength: number) {}
  score(requests: readonly GroupedRequest[]): Promise<Score[]> {
    this.seen.push(...requests);
    return Promise.resolve(requests.map(({ targets }) => scoreOf(targets)));
  }
}
const scoreOf = (targets: Int32Array): Score => ({
  logLikelihood: [...targets].reduce((sum, token) => sum - token / 1000, 0),
  greedy: targets.every((token) => token % 2 === 0),
});

const write = (path: string, text: string): void => {
  mkdirSync(join(data, path, '..'), { recursive: true });
  writeFileSync(join(data, path), text);
};
write(
  'piqa/valid.jsonl',
  [
    { goal: 'cut bread', sol1: 'use a knife', sol2: 'use a spoon' },
    { goal: 'dry hair', sol1: 'use water', sol2: 'use a towel' },
  ]
    .map((row) => `${JSON.stringify(row)}\n`)
    .join(''),
);
write('piqa/valid-labels.lst', '0\n1\n');
write('wikitext/wiki.test.raw', ' \n = One = \n Tim had a red ball . \n = Two = \n He ran . \n');
write('lambada_openai/lambada_test.jsonl', '{"text": "Tim ran to the sunflowers"}\n');

const any = { acceptAny: true };

describe('evaluation with a stub model', () => {
  it('scores questions by the tokens of their answers', async () => {
    const task = await loadTask(tasks.get('piqa')!, data, any);
    const stub = new StubScorer(512);
    const result = await evaluateTask(task, tokenizer, stub, { addBos: 'auto' });
    const expected = task.documents.map((document) =>
      document.kind === 'choice'
        ? document.requests.map(
            (request) => scoreOf(encodeRequest(tokenizer, request, 'auto').continuation).logLikelihood,
          )
        : [],
    );
    expect(result.documents.map(({ scores }) => scores.map(({ logLikelihood }) => logLikelihood))).toEqual(expected);
    const accuracy = expected.map(([a, b], i) => Number((a! >= b! ? 0 : 1) === i));
    expect(result.metrics['acc']?.value).toBe((accuracy[0]! + accuracy[1]!) / 2);
    expect(result.chance).toBe(0.5);
    // Two documents tell nothing: both accuracies are near chance or have no spread.
    expect(stub.seen.map(({ group }) => group)).toEqual([0, 0, 1, 1]);
  });

  it('sums the windows of a page', async () => {
    const task = await loadTask(tasks.get('wikitext')!, data, any);
    const stub = new StubScorer(5);
    const { documents } = await evaluateTask(task, tokenizer, stub, { addBos: 'auto' });
    const [page] = task.documents;
    const tokens = encodeText(tokenizer, page?.kind === 'page' ? page.text : '', 'auto');
    const total = rollingWindows(tokens, 1, 5).reduce((sum, { targets }) => sum + scoreOf(targets).logLikelihood, 0);
    expect(documents[0]!.scores[0]!.logLikelihood).toBeCloseTo(total, 9);
    expect(total).toBeCloseTo(-[...tokens].reduce((sum, token) => sum + token, 0) / 1000, 9);
    expect(new Set(stub.seen.map(({ group }) => group)).size).toBe(stub.seen.length);
  });

  it('names the document whose answer is longer than the model', async () => {
    const task = await loadTask(tasks.get('lambada_openai')!, data, any);
    await expect(evaluateTask(task, tokenizer, new StubScorer(1), { addBos: false })).rejects.toThrow(
      /^LAMBADA \(OpenAI\), document 0: its answer has \d tokens/,
    );
  });

  it("puts results into the harness's layout", async () => {
    const task = await loadTask(tasks.get('piqa')!, data, any);
    const result = await evaluateTask(task, tokenizer, new StubScorer(512), { addBos: false });
    const document = harnessLayout([result], { model: 'm', addBos: false, maxLength: 512 }) as {
      results: Record<string, Record<string, unknown>>;
    };
    expect(document).toMatchObject({
      versions: { piqa: 1 },
      'n-shot': { piqa: 0 },
      'n-samples': { piqa: { original: 2, effective: 2 } },
      higher_is_better: { piqa: { acc: true, acc_norm: true } },
      configs: { piqa: { dataset_path: 'baber/piqa', output_type: 'multiple_choice' } },
    });
    expect(Object.keys(document.results['piqa']!)).toEqual(
      expect.arrayContaining(['alias', 'acc,none', 'acc_stderr,none', 'acc_norm,none', 'acc_norm_stderr,none']),
    );
    const samples = sampleLines(result).trim().split('\n');
    const [first] = samples.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(first).toMatchObject({
      doc_id: 0,
      target: '0',
      arguments: { gen_args_1: { arg_0: 'Question: cut bread\nAnswer:', arg_1: ' use a spoon' } },
      filtered_resps: result.documents[0]!.scores.map(({ logLikelihood }) => [
        String(logLikelihood),
        expect.stringMatching(/True|False/),
      ]),
    });
    expect(evalRecords(result, { step: 3, tokens: 10, flops: 100 })[0]).toMatchObject({
      kind: 'eval',
      step: 3,
      task: 'piqa',
      metric: 'acc',
      documents: 2,
      chance: 0.5,
    });
    expect(averageAccuracy([result])).toBeUndefined();
    expect(averageAccuracy([result], ['piqa'])?.value).toBe(result.metrics['acc']?.value);
  });
});

describe('data files', () => {
  it('that are not the published ones are refused, with what differs', async () => {
    await expect(loadTask(tasks.get('lambada_openai')!, data)).rejects.toThrow(
      /lambada_test\.jsonl: its SHA-256 begins with/,
    );
    await expect(loadTask(tasks.get('sciq')!, data, any)).rejects.toThrow(
      /^The data of SciQ is missing: get SciQ of .*, and put the test split at .*sciq\/test\.jsonl or at .*sciq\/test-\*\.parquet\.$/,
    );
    write(
      'winogrande/winogrande_xl_validation.jsonl',
      '{"sentence": "no blank", "option1": "a", "option2": "b", "answer": "1"}\n',
    );
    await expect(loadTask(tasks.get('winogrande')!, data, any)).rejects.toThrow(
      /row 1: field "sentence" must have a blank/,
    );
    write('arc_easy/ARC-Easy-Test.jsonl', '{"question": \n');
    await expect(loadTask(tasks.get('arc_easy')!, data, any)).rejects.toThrow(/line 1: expected JSON/);
  });

  it('that are no Parquet are refused in a sentence', async () => {
    mkdirSync(join(data, 'logiqa'), { recursive: true });
    const path = join(data, 'logiqa', 'test-00000-of-00001.parquet');
    for (const content of [Buffer.alloc(0), Buffer.from('PAR1'), Buffer.from(`PAR1${'x'.repeat(100)}PAR1`)]) {
      writeFileSync(path, content);
      await expect(loadTask(tasks.get('logiqa')!, data, any)).rejects.toThrow(
        /test-00000-of-00001\.parquet: expected a Parquet file, found: /,
      );
    }
  });

  it('may be Parquet exports of the same rows', async () => {
    mkdirSync(join(data, 'sciq'), { recursive: true });
    const text = (name: string, values: string[]) => ({ name, data: values, type: 'STRING' as const });
    parquetWriteFile({
      filename: join(data, 'sciq', 'test-00000-of-00001.parquet'),
      columnData: [
        text('question', ['q']),
        text('distractor3', ['c']),
        text('distractor1', ['a']),
        text('distractor2', ['b']),
        text('correct_answer', ['d']),
        text('support', ['']),
      ],
    });
    const { documents } = await loadTask(tasks.get('sciq')!, data, any);
    expect(documents[0]).toMatchObject({
      requests: { 3: { context: '\nQuestion: q\nAnswer:', continuation: ' d' } },
      gold: 3,
    });
    await expect(loadTask(tasks.get('sciq')!, data)).rejects.toThrow(
      /expected the 1000 rows of SciQ \(test\), found 1/,
    );
  });
});
