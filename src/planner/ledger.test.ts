import { describe, expect, it } from 'vitest';
import { countParameters, parseModelConfig, preset, type WeightSpec } from '../architecture/index.js';
import { FlopLedger, forwardFlopsPerToken, trainingFlopsPerToken } from './ledger.js';

const model1B = preset('gstack-1.1b');

describe('FLOPs per token', () => {
  it('has the values worked out for 24 layers of 2048', () => {
    const { flops, flops6nd, flopsNonEmbedding } = trainingFlopsPerToken(model1B, 2048);
    expect(countParameters(model1B).matmul).toBe(1_298_661_376);
    expect(flops).toBe(7_791_968_256n + 1_207_959_552n);
    expect(flops).toBe(8_999_927_808n);
    expect(flops6nd).toBe(8_185_786_368n);
    expect(flopsNonEmbedding).toBe(6n * 1_233_225_728n);
  });

  it('counts grouped-query attention by query heads (7B, by hand)', () => {
    // A layer: q and o 4096^2 each, k and v 4096 x 1024 each, three of 4096 x 11008.
    const layer = 2n * 4096n ** 2n + 2n * 4096n * 1024n + 3n * 4096n * 11008n;
    const expected = 6n * (32n * layer + 32000n * 4096n) + 12n * 32n * 4096n * 2048n;
    expect(trainingFlopsPerToken(preset('gstack-7b'), 2048).flops).toBe(expected);
    expect(expected).toBe(38_031_851_520n);
  });

  it('counts a tied head in products but once by convention', () => {
    const untied = parseModelConfig({ ...model1B }, 'test');
    const tied = parseModelConfig({ ...model1B, tie_word_embeddings: true }, 'test');
    const a = trainingFlopsPerToken(untied, 2048);
    const b = trainingFlopsPerToken(tied, 2048);
    expect(b.flops).toBe(a.flops);
    expect(a.flops6nd - b.flops6nd).toBe(6n * 32000n * 2048n);
    expect(b.flopsNonEmbedding).toBe(a.flopsNonEmbedding);
  });

  it('asks a third for a forward pass', () => {
    const forward = forwardFlopsPerToken(model1B, 2048);
    const training = trainingFlopsPerToken(model1B, 2048);
    expect(forward.flops * 3n).toBe(training.flops);
    expect(forward.flops6nd * 3n).toBe(training.flops6nd);
  });
});

describe('a partly frozen model', () => {
  // Hidden 4, one head of 4, ffn 6, vocabulary 10, 2 layers, T 3. A layer has 4 * 16 attention and 3 * 24 ffn parameters.
  const tiny = parseModelConfig(
    { vocab_size: 10, hidden_size: 4, num_hidden_layers: 2, num_attention_heads: 1, intermediate_size: 6 },
    'test',
  );
  const cost = (isTrained: (spec: WeightSpec) => boolean): bigint => trainingFlopsPerToken(tiny, 3, isTrained).flops;
  const LAYER = 4n * 16n + 3n * 24n;
  const HEAD = 40n;
  const ATTENTION = 4n * 3n;

  it('pays nothing backward below the lowest trained weight', () => {
    // Layer 1 without its norm: q, k, v have nothing trained below them, so no gradient passes through them.
    const isTopMatrix = (spec: WeightSpec): boolean => spec.layer === 1 && spec.axes.length === 2;
    const forward = 2n * (2n * LAYER + HEAD) + 2n * 4n * ATTENTION;
    const trained = 2n * LAYER;
    const passed = 2n * (LAYER - 3n * 16n) + 2n * HEAD + 8n * ATTENTION;
    expect(cost(isTopMatrix)).toBe(forward + trained + passed);
  });

  it('pays the passage through frozen layers above a trained one', () => {
    const isFirstNorm = (spec: WeightSpec): boolean => spec.layer === 0 && spec.role === 'attentionNorm';
    expect(cost(isFirstNorm)).toBe(4n * (2n * LAYER + HEAD) + 2n * 12n * ATTENTION);
  });

  it('pays forward only where nothing but the head is trained', () => {
    const forward = 2n * (2n * LAYER + HEAD) + 2n * 4n * ATTENTION;
    expect(cost((spec) => spec.role === 'head')).toBe(forward + 2n * HEAD);
    expect(cost(() => false)).toBe(forward);
  });
});

describe('FlopLedger', () => {
  it('stays exact at 7B and 750B tokens', () => {
    const perToken = trainingFlopsPerToken(model1B, 2048);
    const ledger = new FlopLedger();
    ledger.add(perToken, 7e9);
    expect(ledger.totals().flopsExact).toBe('62999494656000000000');
    ledger.add(perToken, 743e9);
    const totals = ledger.totals();
    expect(totals.tokens).toBe(750e9);
    expect(totals.flopsExact).toBe('6749945856000000000000');
    expect(totals.flops).toBe(6.749945856e21);
    expect(totals.flops6nd).toBe(8_185_786_368 * 750e9);
  });

  it('equals a single sum however often it is stored, and counts work without tokens', () => {
    const perToken = trainingFlopsPerToken(preset('gstack-7b'), 2048);
    let ledger = new FlopLedger();
    for (let step = 0; step < 1000; step++) {
      ledger.add(perToken, 4097);
      ledger = FlopLedger.from(ledger.totals());
    }
    ledger.addWork(perToken, 100);
    expect(ledger.exact).toBe(38_031_851_520n * 4_097_100n);
    expect(ledger.tokens).toBe(4_097_000);
  });
});
