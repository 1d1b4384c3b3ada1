import { describe, expect, it } from 'vitest';
import { parseModelConfig } from '../architecture/index.js';
import { executePlan, memorySource, type Plan, planGrowth, storedSpecs } from '../growth/index.js';
import { twinDistance } from './twin-distance.js';
import { drawnWeights } from './weights.js';

const source = parseModelConfig(
  { vocab_size: 32, hidden_size: 8, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 12 },
  'test',
);

function grow(plan: Plan): Map<string, Float32Array> {
  const drawn = drawnWeights(source, storedSpecs(source), 1, 'paper');
  const weights = new Map<string, Float32Array>();
  executePlan(plan, memorySource(source, drawn.parameter), ({ name }, values) => void weights.set(name, values));
  return weights;
}

const measure = (plan: Plan, weights: Map<string, Float32Array>) =>
  twinDistance(plan, { parameter: (name) => weights.get(name)! });

describe('twinDistance', () => {
  const faithful = planGrowth({ operator: 'hypercloning', source, factor: 2, options: { faithful: true } });

  it('plain copies are locked: hidden 8, and per layer ffn 12, heads 2 and kv heads 2', () => {
    const found = measure(faithful, grow(faithful))!;
    expect(found).toEqual({ pairs: 8 + 2 * (12 + 2 + 2), value: 0, nearest: 0, locked: 40 });
  });

  it('is the largest difference of what belongs to two copies', () => {
    const weights = grow(faithful);
    // Row 3 of gate in layer 1 has a copy in row 15; nothing else of that pair differs.
    const gate = weights.get('model.layers.1.mlp.gate_proj.weight')!;
    gate[15 * 16 + 5] = gate[15 * 16 + 5]! + 0.25;
    const found = measure(faithful, weights)!;
    expect(found.value).toBeCloseTo(0.25, 6);
    // The entry also stands in a column of hidden unit 5, whose copy is 13.
    expect(found.locked).toBe(38);
    expect(found.nearest).toBe(0);
  });

  it('sees the noise that is on by default, and nothing in depth', () => {
    const noisy = planGrowth({ operator: 'hypercloning', source, factor: 2 });
    expect(measure(noisy, grow(noisy))!).toMatchObject({ locked: 0, pairs: 40 });
    const deep = planGrowth({ operator: 'stack', source, factor: 2 });
    expect(measure(deep, grow(deep))).toBeUndefined();
  });
});
