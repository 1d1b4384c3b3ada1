import { describe, expect, it } from 'vitest';
import type { TaskDocument } from './data/documents.js';
import { chanceOf, judge, summarize } from './judge.js';
import { argmax, bitsPerByte, isNearChance, meanMetric, perplexityMetric, weightedPerplexity } from './metrics.js';

const question = (choices: string[], gold: number, index = 0): TaskDocument => ({
  kind: 'choice',
  index,
  requests: choices.map((choice) => ({ context: 'Q', continuation: ` ${choice}` })),
  choices,
  gold,
});
const scores = (...values: number[]) => values.map((logLikelihood) => ({ logLikelihood, greedy: false }));

describe('questions', () => {
  it('give ties to the lowest index', () => {
    expect(argmax([-2, -1, -1])).toBe(1);
    expect(judge(question(['a', 'b'], 0), scores(-1, -1)).metrics['acc']).toBe(1);
    expect(judge(question(['a', 'b'], 1), scores(-1, -1)).metrics['acc']).toBe(0);
  });

  it('normalise by code points of the answer without its space', () => {
    // -4 / 4 = -1 against -2.4 / 2 = -1.2 (in UTF-16 units the second would be -2.4 / 4 = -0.6, in bytes -2.4 / 8).
    const { metrics } = judge(question(['four', '🙂🙂'], 0), scores(-4, -2.4));
    expect(metrics['acc']).toBe(0);
    expect(metrics['acc_norm']).toBe(1);
  });

  it('tell nats per byte of the right answer and its margin over the best wrong one', () => {
    // Continuations " ab" (3 bytes), " é" (3 bytes), " abc" (4 bytes).
    const { metrics } = judge(question(['ab', 'é', 'abc'], 1), scores(-6, -3, -10));
    expect(metrics['nats_per_byte']).toBeCloseTo(1, 12);
    expect(metrics['margin']).toBeCloseTo(-1 - -2, 12);
  });

  it('count the chance of guessing over questions of different sizes', () => {
    expect(chanceOf([question(['a', 'b'], 0), question(['a', 'b', 'c', 'd'], 0)])).toBeCloseTo(0.375, 12);
  });
});

describe('metrics', () => {
  it('means have the standard error of a sample', () => {
    // 1, 0, 0, 1: variance 1/3, over 4 documents.
    const { value, stderr } = meanMetric([1, 0, 0, 1]);
    expect(value).toBe(0.5);
    expect(stderr).toBeCloseTo(Math.sqrt(1 / 3) / 2, 12);
  });

  it('perplexity per word, with the delta method', () => {
    const { value, stderr } = perplexityMetric([-1, -3]);
    expect(value).toBeCloseTo(Math.exp(2), 12);
    expect(stderr).toBeCloseTo(Math.exp(2) * 1, 12);
  });

  it('perplexities of pages weigh words and bytes', () => {
    expect(weightedPerplexity([-10, -20], [4, 6]).value).toBeCloseTo(Math.exp(3), 12);
    expect(bitsPerByte([-10, -20], [40, 60]).value).toBeCloseTo(0.3 / Math.LN2, 12);
    const page = (index: number, words: number, bytes: number): TaskDocument => ({
      kind: 'page',
      index,
      text: '',
      words,
      bytes,
    });
    const judged = [judge(page(0, 4, 40), scores(-10)), judge(page(1, 6, 60), scores(-20))];
    const metrics = summarize(judged, ['word_perplexity', 'byte_perplexity', 'bits_per_byte']);
    expect(metrics['word_perplexity']?.value).toBeCloseTo(Math.exp(3), 12);
    expect(metrics['byte_perplexity']?.value).toBeCloseTo(Math.exp(0.3), 12);
    expect(metrics['word_perplexity']?.stderr).toBeUndefined();
  });

  it('marks what lies within two standard errors of chance', () => {
    expect(isNearChance({ value: 0.3, stderr: 0.03 }, 0.25)).toBe(true);
    expect(isNearChance({ value: 0.32, stderr: 0.03 }, 0.25)).toBe(false);
    expect(isNearChance({ value: 0.18, stderr: 0.03 }, 0.25)).toBe(false);
    expect(isNearChance({ value: 0.9, stderr: NaN }, 0.25)).toBe(true);
  });
});
