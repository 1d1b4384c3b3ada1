import { describe, expect, it } from 'vitest';
import { llama } from '../src/architecture/index.js';
import { LLAMA_VARIANTS, readLlamaGolden } from './golden/read.js';
import { referenceLogits } from './support/reference-llama.js';

const TOLERANCE = 1e-5;

describe('the float64 reference forward', () => {
  it.each(LLAMA_VARIANTS)('computes what transformers computes: %s', (variant) => {
    const golden = readLlamaGolden(variant);
    const config = llama.fromHuggingFace(golden.config, variant);
    const tokens = Array.from({ length: 16 }, (_, i) => golden.batches.data[i]!);
    const logits = referenceLogits(config, (name) => golden.weights.get(name)!.data, tokens).flat();
    const furthest = Math.max(...logits.map((value, i) => Math.abs(value - golden.logits.data[i]!)));
    expect(furthest).toBeLessThan(TOLERANCE);
  });
});
