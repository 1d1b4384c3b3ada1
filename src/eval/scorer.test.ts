import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readFileSync } from 'node:fs';
import { counters } from '../engine/buffers.js';
import { fixtures } from '../../test/support/harness-reference.js';
import { loadModel } from '../infer/model.js';
import { ModelScorer } from './scorer.js';

/** The reference gives six digits. */
const TOLERANCE = 2e-5;

const folder = `${fixtures}models/stories260K`;
const reference = JSON.parse(readFileSync(`${folder}/reference.json`, 'utf8')) as {
  ids: number[];
  token_logprobs: number[];
};

let before = counters();
beforeEach(() => {
  before = counters();
});
afterEach(() => {
  vi.unstubAllEnvs();
  expect(counters()).toEqual(before);
});

describe.each(['on', 'off'])('scores of stories260K with fused kernels %s', (fused) => {
  beforeEach(() => void vi.stubEnv('STRATA_KERNELS', fused));

  it('equal the log-probabilities of transformers, token by token', async () => {
    using model = loadModel(folder, { threads: 1 });
    using scorer = new ModelScorer(model);
    const { ids, token_logprobs } = reference;
    const requests = token_logprobs.map((_, i) => ({
      group: i % 5,
      input: Int32Array.from(ids.slice(0, i + 1)),
      targets: Int32Array.of(ids[i + 1]!),
    }));
    const scores = await scorer.score(requests);
    scores.forEach(({ logLikelihood }, i) =>
      expect(Math.abs(logLikelihood - token_logprobs[i]!)).toBeLessThan(TOLERANCE),
    );
    const [whole] = await scorer.score([
      { group: 0, input: Int32Array.from(ids.slice(0, -1)), targets: Int32Array.from(ids.slice(1)) },
    ]);
    const sum = token_logprobs.reduce((a, b) => a + b, 0);
    expect(Math.abs(whole!.logLikelihood - sum)).toBeLessThan(TOLERANCE * token_logprobs.length);
    expect(whole!.greedy).toBe(false);
  });
});
