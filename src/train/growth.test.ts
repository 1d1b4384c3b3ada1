import { describe, expect, it } from 'vitest';
import { parseModelConfig } from '../architecture/index.js';
import { grownWeights, planStageGrowth } from './growth.js';
import { drawnWeights, type Weights } from './weights.js';
import { storedSpecs } from '../growth/index.js';

const model = parseModelConfig(
  { vocab_size: 32, hidden_size: 8, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 16 },
  'test',
);
const down = (layer: number): string => `model.layers.${layer}.mlp.down_proj.weight`;

/** Weights whose moments are the weight plus 1 and its square; the head has none, as if it were frozen. */
function source(): Weights {
  const drawn = drawnWeights(model, storedSpecs(model), 1, 'paper');
  return {
    parameter: (name) => drawn.parameter(name),
    moments: (name) =>
      name === 'lm_head.weight'
        ? undefined
        : { first: drawn.parameter(name).map((x) => x + 1), second: drawn.parameter(name).map((x) => x * x) },
  };
}

const stack = (optimizerState: 'fresh' | 'copy' | 'pad-zero'): Weights =>
  grownWeights(
    planStageGrowth(
      { name: 'g', kind: 'grow', operator: 'stack', factor: 2, options: {}, optimizerState },
      model,
      undefined,
      1,
      'test',
    ),
    source(),
  );

describe('grownWeights', () => {
  it('stacks: layers 0 1 0 1, all else copied', () => {
    const grown = stack('fresh');
    [0, 1, 0, 1].forEach((from, layer) => expect(grown.parameter(down(layer))).toEqual(source().parameter(down(from))));
    expect(grown.parameter('model.embed_tokens.weight')).toEqual(source().parameter('model.embed_tokens.weight'));
    expect(grown.moments(down(0))).toBeUndefined();
  });

  it('takes optimizer state over as asked', () => {
    [0, 1, 0, 1].forEach((from, layer) =>
      expect(stack('copy').moments(down(layer))).toEqual(source().moments(down(from))),
    );
    const padded = stack('pad-zero');
    expect(padded.moments(down(1))).toEqual(source().moments(down(1)));
    expect(new Set(padded.moments(down(2))!.first)).toEqual(new Set([0]));
    expect(new Set(padded.moments('lm_head.weight')!.second)).toEqual(new Set([0]));
  });
});
