// Strata's scores against lm-evaluation-harness's: tokens, log-likelihoods and metrics of the stored references.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { loadTokenizer, type Tokenizer } from '../src/data/index.js';
import { loadTask } from '../src/eval/data/load.js';
import { encodeRequest } from '../src/eval/encode.js';
import { evaluateTask, type TaskResult } from '../src/eval/evaluate.js';
import { ModelScorer } from '../src/eval/scorer.js';
import { tasks } from '../src/eval/tasks/registry.js';
import { type LoadedModel, loadModel } from '../src/infer/model.js';
import { fixtures, readReference, type Reference, type ReferenceRequest } from './support/harness-reference.js';
import { evaluationDataOrSkip, skipUnlessSlow } from './support/tiers.js';

/** Absolute, in nats: the harness sums in float32. */
const REQUEST_TOLERANCE = 1e-3;
const PAGE_TOLERANCE = 1e-2;
/** Relative, for metrics over many requests whose errors partly cancel. */
const METRIC_TOLERANCE = 1e-5;

const SLOW_MS = 900_000;

interface Loaded {
  readonly model: LoadedModel;
  readonly tokenizer: Tokenizer;
}

/**
 * A model with 50,257 tokens and its tokenizer are too large to ship: they lie in `models` beside the evaluation data, where there are any.
 */
const beside = (name: string): string => join(process.env['STRATA_EVAL_DATA'] ?? '.', '..', 'models', name);

const stories = `${fixtures}models/stories260K`;
const references = [
  ['bos', stories, stories],
  ['no-bos', stories, stories],
  ['gpt2-random', beside('gpt2-random'), beside('gpt2-tokenizer')],
] as const;

describe.each(references)('%s', (name, modelFolder, tokenizerFolder) => {
  const reference = readReference(name);
  let found: Loaded | undefined;
  beforeAll(() => {
    if (existsSync(modelFolder) && existsSync(tokenizerFolder))
      found = { model: loadModel(modelFolder, { threads: 1 }), tokenizer: loadTokenizer(tokenizerFolder) };
  });
  afterAll(() => found?.model[Symbol.dispose]());
  const loadedOrSkip = (context: TestContext): Loaded =>
    found ?? context.skip(`needs ${name} and its tokenizer in the folder "models" beside STRATA_EVAL_DATA`);

  it.for([...tasks.keys()])('%s: every stored request and document', async (task, context) => {
    const stored = reference.tasks[task]!;
    const result = await evaluate(loadedOrSkip(context), task, reference, context, stored.docs.length);
    expect(result.documents).toHaveLength(stored.docs.length);
    result.documents.forEach((found, i) => {
      const { requests, metrics } = stored.docs[i]!;
      if (found.document.kind === 'page') return expectPage(found.scores[0]!.logLikelihood, requests[0]![2]);
      expectRequests(found, requests as readonly ReferenceRequest[]);
      expectDocument(found, metrics as Record<string, number>);
    });
  });

  it.for([...tasks.keys()])('%s: tokens of every stored request', async (task, context) => {
    const stored = reference.tasks[task]!;
    const { tokenizer } = loadedOrSkip(context);
    const { documents } = await loadTask(tasks.get(task)!, evaluationDataOrSkip(context), {
      limit: stored.docs.length,
    });
    documents.forEach((document, i) => {
      if (document.kind === 'page') return;
      const requests = document.kind === 'choice' ? document.requests : [document.request];
      const counts = requests.map((request) => {
        const tokens = encodeRequest(tokenizer, request, reference.addBos);
        return [tokens.context.length, tokens.continuation.length];
      });
      expect(counts, `document ${i}`).toEqual(stored.docs[i]!.requests.map(([, before, after]) => [before, after]));
    });
  });

  it.for([...tasks.keys()])('%s: metrics over all documents (slow)', { timeout: SLOW_MS }, async (task, context) => {
    skipUnlessSlow(context);
    const { summary } = reference.tasks[task]!;
    const { metrics } = await evaluate(loadedOrSkip(context), task, reference, context, summary.n);
    for (const metric of tasks.get(task)!.metrics) {
      const [value, expected] = [metrics[metric]!, summary];
      // One prediction may flip where two choices are closer than the tolerance of a request.
      const tolerance = metric.startsWith('acc') ? 1.5 / summary.n : METRIC_TOLERANCE * (expected[metric] as number);
      expect(Math.abs(value.value - (expected[metric] as number)), metric).toBeLessThan(tolerance);
      const stderr = expected[`${metric}_stderr`];
      if (typeof stderr === 'number' && metric !== 'perplexity') expect(value.stderr).toBeCloseTo(stderr, 4);
    }
  });
});

async function evaluate(
  { model, tokenizer }: Loaded,
  task: string,
  reference: Reference,
  context: TestContext,
  limit: number,
): Promise<TaskResult> {
  const documents = await loadTask(tasks.get(task)!, evaluationDataOrSkip(context), { limit });
  using scorer = new ModelScorer(model, reference.tasks[task]!.maxLength ?? reference.maxLength);
  return await evaluateTask(documents, tokenizer, scorer, { addBos: reference.addBos });
}

type Judged = TaskResult['documents'][number];

const expectPage = (found: number, expected: number): void =>
  expect(Math.abs(found - expected)).toBeLessThan(PAGE_TOLERANCE);

function expectRequests({ scores, document }: Judged, requests: readonly ReferenceRequest[]): void {
  expect(scores).toHaveLength(requests.length);
  requests.forEach(([, , , logLikelihood, greedy], j) => {
    const where = `document ${document.index}, request ${j}`;
    expect(Math.abs(scores[j]!.logLikelihood - logLikelihood), where).toBeLessThan(REQUEST_TOLERANCE);
    expect(scores[j]!.greedy, where).toBe(greedy);
  });
}

/** A prediction may differ only where two choices are closer than the tolerance. */
function expectDocument({ metrics, document, scores }: Judged, expected: Readonly<Record<string, number>>): void {
  if (document.kind === 'lastWord') {
    expect(metrics['acc']).toBe(expected['acc']);
    return expectPage(metrics['perplexity']!, expected['perplexity']!);
  }
  const sorted = scores.map(({ logLikelihood }) => logLikelihood).sort((a, b) => b - a);
  if (sorted[0]! - sorted[1]! > 2 * REQUEST_TOLERANCE) expect(metrics['acc']).toBe(expected['acc']);
  if (expected['acc_norm'] !== undefined) expect(metrics['acc_norm']).toBe(expected['acc_norm']);
}
