import { describe, expect, it } from 'vitest';
import { preset } from '../../architecture/index.js';
import { addedLayers, momentTensors } from '../moments.js';
import { connectionRate, type LayerSource, sourceLayers } from '../plan.js';
import { planGrowth } from '../request.js';
import { stackedLayers } from './stack.js';

const layersOf = (layers: number, factor: number, options: Record<string, unknown> = {}): unknown =>
  sourceLayers(
    planGrowth({ operator: 'stack', source: preset('test-tiny', { num_hidden_layers: layers }), factor, options })
      .layers!,
  );

describe('stack', () => {
  // METHODS 1.1, checked against the papers named there.
  it('repeats the whole stack', () => {
    expect(layersOf(2, 2)).toEqual([0, 1, 0, 1]);
    expect(layersOf(3, 4)).toEqual([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]);
  });

  it('fills a remainder from the bottom (StackBERT) or with the last layers (bert2BERT, MSG)', () => {
    expect(layersOf(3, 8 / 3)).toEqual([0, 1, 2, 0, 1, 2, 0, 1]);
    expect(layersOf(3, 8 / 3, { remainder: 'top' })).toEqual([0, 1, 2, 0, 1, 2, 1, 2]);
  });

  it('twice by two is once by four', () => {
    const twice = stackedLayers(6, 12, 'bottom').map((layer) => stackedLayers(3, 6, 'bottom')[layer]);
    expect(twice).toEqual(stackedLayers(3, 12, 'bottom'));
  });

  it('copies tensors of the source layer and what lies outside the layers', () => {
    const { tensors, target } = planGrowth({ operator: 'stack', source: preset('test-tiny'), factor: 2 });
    expect(target.num_hidden_layers).toBe(4);
    expect(tensors['model.layers.3.mlp.up_proj.weight']).toEqual({
      op: 'copy',
      of: 'model.layers.1.mlp.up_proj.weight',
    });
    expect(tensors['model.norm.weight']).toEqual({ op: 'copy', of: 'model.norm.weight' });
    expect(tensors['lm_head.weight']).toEqual({ op: 'copy', of: 'lm_head.weight' });
    expect(Object.keys(tensors)).toHaveLength(3 + 4 * 9);
  });

  it('says what it cannot reach', () => {
    const source = preset('test-tiny', { num_hidden_layers: 3 });
    expect(() => planGrowth({ operator: 'stack', source })).toThrow('--factor or --layers');
    expect(() => planGrowth({ operator: 'stack', source, factor: 1.1 })).toThrow('no whole number');
    expect(() => planGrowth({ operator: 'stack', source, target: { num_hidden_layers: 2 } })).toThrow('use inherit');
    expect(() => planGrowth({ operator: 'stack', source, factor: 2, target: { hidden_size: 64 } })).toThrow(
      'Operator stack grows depth only: hidden_size stays 32, found 64.',
    );
    expect(() => planGrowth({ operator: 'stack', source, factor: 2, target: { vocab_size: 64 } })).toThrow(
      'vocab_size',
    );
    expect(() => planGrowth({ operator: 'stack', source, factor: 2, options: { remaindr: 'top' } })).toThrow(
      'did you mean "remainder"?',
    );
    expect(() => planGrowth({ operator: 'stak', source, factor: 2 })).toThrow('did you mean "stack"?');
  });

  it('re-indexes lists with one entry per layer', () => {
    const source = { ...preset('test-tiny'), layer_types: ['full', 'sliding'] };
    expect(planGrowth({ operator: 'stack', source, factor: 2 }).target['layer_types']).toEqual([
      'full',
      'sliding',
      'full',
      'sliding',
    ]);
  });

  it('copies moments with their layers, or only those of the old layers', () => {
    const request = { operator: 'stack', source: preset('test-tiny'), factor: 2 };
    const plan = planGrowth(request);
    expect(addedLayers(plan)).toEqual([2, 3]);
    expect(momentTensors(plan, 'first')).toBeUndefined();
    const copied = momentTensors(planGrowth({ ...request, optimizerState: 'copy' }), 'second')!;
    expect(copied).toEqual(plan.tensors);
    const padded = momentTensors(planGrowth({ ...request, optimizerState: 'pad-zero' }), 'first')!;
    expect(padded['model.layers.1.mlp.down_proj.weight']).toEqual(plan.tensors['model.layers.1.mlp.down_proj.weight']);
    expect(padded['model.layers.3.mlp.down_proj.weight']).toEqual({ op: 'zero', shape: [32, 88] });
  });
});

describe('connectionRate', () => {
  const rate = (...layers: number[]): number | undefined =>
    connectionRate(layers.map((from): LayerSource => ({ kind: 'copy', from: from - 1 })));

  // Goldens of the G_stack paper, appendix H.2, for layers counted from 1.
  it('gives the numbers of the paper', () => {
    expect(rate(1, 2, 3, 1, 2, 3)).toBe(4 / 5);
    expect(rate(1, 1, 2, 2, 3, 3)).toBe(2 / 5);
    expect(rate(...stackedLayers(8, 24, 'bottom').map((layer) => layer + 1))).toBe(21 / 23);
  });
});
