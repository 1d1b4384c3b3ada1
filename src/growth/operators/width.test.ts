import { describe, expect, it } from 'vitest';
import { type ModelConfig, preset, RandomStream } from '../../architecture/index.js';
import { compile, wholeTensor } from '../evaluate.js';
import { memorySource } from '../execute.js';
import { momentTensors } from '../moments.js';
import type { Expression } from '../expression.js';
import type { Plan } from '../plan.js';
import { type GrowthRequest, planGrowth } from '../request.js';
import { headMaps } from '../width-maps.js';
import { msgInterpolatedLayers } from './msg.js';
import { sparklingFactor } from './sparkling.js';

/** One head of two, hidden 2, ffn 2: every matrix of the ffn is 2 x 2. */
const tiny = (changes: Record<string, unknown> = {}): ModelConfig =>
  preset('test-tiny', {
    vocab_size: 1,
    hidden_size: 2,
    num_hidden_layers: 2,
    num_attention_heads: 1,
    num_key_value_heads: 1,
    head_dim: 2,
    intermediate_size: 2,
    ...changes,
  });

const gate = (layer: number): string => `model.layers.${layer}.mlp.gate_proj.weight`;
const down = (layer: number): string => `model.layers.${layer}.mlp.down_proj.weight`;

/** Rows of one tensor; sources that are not given count 0, 1, 2, ... */
function rows(expression: Expression, source: ModelConfig, values: Record<string, number[]>): number[][] {
  const read = (name: string): Float64Array =>
    Float64Array.from(values[name] ?? Array.from({ length: 64 }, (_, i) => i));
  const tensor = compile(expression, memorySource(source, read), new Float64Array(0));
  const flat = [...wholeTensor(tensor, new Float64Array(tensor.rows * tensor.columns))];
  return Array.from({ length: tensor.rows }, (_, r) => flat.slice(r * tensor.columns, (r + 1) * tensor.columns));
}

const grow = (
  operator: string,
  target: Record<string, number>,
  options: Record<string, unknown> = {},
  source = tiny(),
): Plan => planGrowth({ operator, source, target, options });
const W = [1, 2, 3, 4];
const wide = { hidden_size: 4, intermediate_size: 4, num_attention_heads: 2, num_key_value_heads: 2 };
const tiled = [
  [0.5, 1, 0.5, 1],
  [1.5, 2, 1.5, 2],
  [0.5, 1, 0.5, 1],
  [1.5, 2, 1.5, 2],
];

describe('copied units', () => {
  it('fpi 2 to 3 with map 0 1 0', () => {
    const plan = grow('fpi', { hidden_size: 3, intermediate_size: 3 }, { faithful: true, map: 'circular' });
    expect(rows(plan.tensors[gate(0)]!, tiny(), { [gate(0)]: W })).toEqual([
      [0.5, 2, 0.5],
      [1.5, 4, 1.5],
      [0.5, 2, 0.5],
    ]);
    expect(plan.preservesFunction.claimed).toBe(false);
  });

  it('hypercloning twice', () => {
    const plan = grow('hypercloning', wide, { faithful: true });
    expect(rows(plan.tensors[gate(0)]!, tiny(), { [gate(0)]: W })).toEqual(tiled);
    expect(rows(plan.tensors['lm_head.weight']!, tiny(), { 'lm_head.weight': [1, 2] })).toEqual([[0.5, 1, 0.5, 1]]);
    expect(rows(plan.tensors['model.embed_tokens.weight']!, tiny(), {})).toEqual([[0, 1, 0, 1]]);
    expect(rows(plan.tensors['model.norm.weight']!, tiny(), {})).toEqual([[0], [1], [0], [1]]);
  });

  it('hypercloning without noise is fpi with the circular map, bit for bit', () => {
    expect(grow('hypercloning', wide, { faithful: true }).tensors).toEqual(
      grow('fpi', wide, { faithful: true, map: 'circular' }).tensors,
    );
  });

  it('a single kv head may stay', () => {
    const source = tiny({ num_attention_heads: 2 });
    const plan = planGrowth({ operator: 'hypercloning', source, factor: 2 });
    expect(plan.target).toMatchObject({ num_attention_heads: 4, num_key_value_heads: 1 });
  });

  it('paired noise keeps the sums over copies and has the level asked for', () => {
    const source = tiny({ hidden_size: 64, intermediate_size: 64 });
    const values = new Float64Array(64 * 64);
    new RandomStream(1, 'w').fillNormal(values);
    const read = { [gate(0)]: [...values] };
    const sizes = { hidden_size: 128, intermediate_size: 64 };
    const plain = rows(grow('hypercloning', sizes, { faithful: true }, source).tensors[gate(0)]!, source, read);
    const noisy = rows(grow('hypercloning', sizes, { snrDb: 10 }, source).tensors[gate(0)]!, source, read);
    let [noise, signal] = [0, 0];
    plain.forEach((row, r) =>
      row.forEach((value, c) => {
        noise += (noisy[r]![c]! - value) ** 2;
        signal += value ** 2;
        expect(noisy[r]![c]! + noisy[r]![(c + 64) % 128]!).toBeCloseTo(value + row[(c + 64) % 128]!, 12);
      }),
    );
    expect(Math.abs(10 * Math.log10(signal / noise) - 10)).toBeLessThan(0.5);
  });

  it('direct-width shares each input by parts that sum to 1, and differ by row', () => {
    const plan = grow('direct-width', { hidden_size: 6 });
    const made = rows(plan.tensors[gate(0)]!, tiny(), { [gate(0)]: W });
    for (const [r, row] of made.entries())
      for (const c of [0, 1]) expect(row[c]! + row[c + 2]! + row[c + 4]!).toBeCloseTo(W[r * 2 + c]!, 12);
    expect(made[0]![0]! / W[0]!).not.toBeCloseTo(made[1]![0]! / W[2]!, 3);
    expect(made[0]![2]).not.toBe(made[0]![4]);
  });

  it('aki takes new rows from the next layer', () => {
    // Rows 1 -> 2, columns unchanged, layers [[1]] and [[5]]: [[1],[5]] and [[5],[5]].
    const source = tiny({ intermediate_size: 1 });
    const plan = grow('aki', { intermediate_size: 2 }, { faithful: true }, source);
    const values = { [gate(0)]: [1, 1], [gate(1)]: [5, 5] };
    expect(rows(plan.tensors[gate(0)]!, source, values)).toEqual([
      [1, 1],
      [5, 5],
    ]);
    expect(rows(plan.tensors[gate(1)]!, source, values)).toEqual([
      [5, 5],
      [5, 5],
    ]);
  });

  it('staged puts copies on the diagonal and halves the final norm', () => {
    const plan = grow('staged-width', wide);
    expect(rows(plan.tensors[gate(0)]!, tiny(), { [gate(0)]: W })).toEqual([
      [1, 2, 0, 0],
      [3, 4, 0, 0],
      [0, 0, 1, 2],
      [0, 0, 3, 4],
    ]);
    expect(rows(plan.tensors['model.norm.weight']!, tiny(), { 'model.norm.weight': [2, 6] })).toEqual([
      [1],
      [3],
      [1],
      [3],
    ]);
    expect(() => grow('staged-width', { ...wide, intermediate_size: 6 })).toThrow(
      'intermediate_size 2 must become a multiple, 4 here',
    );
  });

  it('mean-field scales by source over target size, or by copies', () => {
    // f = sum of a_i, a = [1, 3], units 0 1 1: sampling 2/3 2 2 (4.667 for 4), count 1 1.5 1.5.
    const of = (scale: string): number[] => {
      const source = tiny({ hidden_size: 2, intermediate_size: 2 });
      const plan = grow('mean-field', { intermediate_size: 3 }, { scale, map: 'tile', faithful: true }, source);
      return rows(plan.tensors[down(0)]!, source, { [down(0)]: [3, 1, 0, 0] })[0]!;
    };
    expect(of('count')).toEqual([1.5, 1, 1.5]);
    of('sampling').forEach((value, i) => expect(value).toBeCloseTo([2, 2 / 3, 2][i]!, 12));
  });

  it('mean-field shrinks', () => {
    const source = tiny({ intermediate_size: 8 });
    const plan = grow('mean-field', { intermediate_size: 3 }, { map: 'iid', faithful: true, seed: 5 }, source);
    expect(rows(plan.tensors[down(0)]!, source, {})[0]!.map((value) => value / (8 / 3))).toEqual([
      ...plan.maps!.ffn[0]!,
    ]);
    expect(plan.preservesFunction.claimed).toBe(false);
  });

  it('mup-width puts copies side by side', () => {
    const plan = grow('mup-width', wide, { faithful: true });
    expect(rows(plan.tensors[gate(0)]!, tiny(), { [gate(0)]: W })).toEqual([
      [0.5, 0.5, 1, 1],
      [0.5, 0.5, 1, 1],
      [1.5, 1.5, 2, 2],
      [1.5, 1.5, 2, 2],
    ]);
  });

  it('sparkling has the factors of its paper', () => {
    expect(sparklingFactor(2, 4)).toBe(1 / 2);
    expect(sparklingFactor(1, 3)).toBe(1 / 3);
    expect(sparklingFactor(2, 3)).toBeCloseTo(0.6325, 4);
    const plan = grow('sparkling', { hidden_size: 3 });
    expect(plan.preservesFunction.claimed).toBe(false);
    expect(plan.training).toMatchObject({ optimizerState: 'pad-zero', newEntries: { peak: 1.3, warmupSteps: 250 } });
  });
});

describe('new units', () => {
  it('zero-width feeds new outputs by zero from old inputs', () => {
    const plan = grow('zero-width', { hidden_size: 3, intermediate_size: 3 }, { gate: 'zero' });
    const made = rows(plan.tensors[gate(0)]!, tiny(), { [gate(0)]: W });
    expect([made[0]!.slice(0, 2), made[1]!.slice(0, 2), made[2]!.slice(0, 2)]).toEqual([
      [1, 2],
      [3, 4],
      [0, 0],
    ]);
    expect(made.every((row) => row[2] !== 0)).toBe(true);
    expect(rows(plan.tensors['model.embed_tokens.weight']!, tiny(), {})).toEqual([[0, 1, 0]]);
    const gain = rows(plan.tensors['model.norm.weight']!, tiny(), { 'model.norm.weight': [1, 2] }).flat();
    expect(gain).toEqual([Math.sqrt(2 / 3), 2 * Math.sqrt(2 / 3), 1]);
    expect(plan.target['rms_norm_eps']).toBeCloseTo((1e-5 * 2) / 3, 20);
  });

  it('szp shrinks, pads and adds a draw everywhere', () => {
    const zero = grow('szp', { hidden_size: 3, intermediate_size: 3 }, { lambda: 0.5, sigma: 0 });
    expect(rows(zero.tensors[gate(0)]!, tiny(), { [gate(0)]: [2, -1, 0, 4] })).toEqual([
      [1, -0.5, 0],
      [0, 2, 0],
      [0, 0, 0],
    ]);
    const drawn = grow('szp', { hidden_size: 3, intermediate_size: 3 }, { lambda: 0.5 });
    const made = rows(drawn.tensors[gate(0)]!, tiny(), { [gate(0)]: [2, -1, 0, 4] }).flat();
    const noise = new Float64Array(9);
    new RandomStream(0, gate(0)).fillNormal(noise, Math.sqrt(2 / 15));
    [1, -0.5, 0, 0, 2, 0, 0, 0, 0].forEach((value, i) => expect(made[i]).toBeCloseTo(value + noise[i]!, 12));
    expect(rows(drawn.tensors['model.norm.weight']!, tiny(), { 'model.norm.weight': [3, 4] })).toEqual([[3], [4], [1]]);
  });

  it('random-width and msg come with ramps in their order, plain with mask=1', () => {
    const masks = grow('random-width', wide).masks!;
    expect(masks.map(({ axis, old, size }) => [axis, old, size])).toEqual([
      ['ffn', 2, 4],
      ['hidden', 2, 4],
      ['heads', 1, 2],
    ]);
    expect(masks.map(({ start, end }) => [start, end])).toEqual([
      [0, 0.1],
      [0.1, 0.2],
      [0.2, expect.closeTo(0.3, 12) as number],
    ]);
    const both = planGrowth({ operator: 'msg', source: tiny(), factor: [2, 2] });
    expect(both.masks!.map(({ axis }) => axis)).toEqual(['hidden', 'ffn', 'heads', 'layers']);
    expect(planGrowth({ operator: 'msg', source: tiny(), factor: [2, 2], options: { mask: 1 } }).masks).toBeUndefined();
    expect(msgInterpolatedLayers(3, 5)).toEqual([0, 1, 1, 2, 2]);
  });
});

describe('heads', () => {
  const config = (heads: number, kvHeads: number): ModelConfig =>
    tiny({ num_attention_heads: heads, num_key_value_heads: kvHeads });
  const circular = (from: number, to: number): number[] => Array.from({ length: to }, (_, i) => i % from);

  it('keep their group when groups grow, and are copied inside it', () => {
    expect(headMaps(config(4, 2), config(6, 2), circular)).toEqual({ heads: [0, 1, 0, 2, 3, 2], kvHeads: [0, 1] });
    expect(headMaps(config(4, 2), config(8, 4), circular)).toEqual({
      heads: [0, 1, 2, 3, 0, 1, 2, 3],
      kvHeads: [0, 1, 0, 1],
    });
  });

  it('keep their keys and values when only those are copied', () => {
    expect(headMaps(config(4, 2), config(4, 4), circular)).toEqual({ heads: [0, 1, 2, 3], kvHeads: [0, 0, 1, 1] });
  });

  it('say what cannot be reached', () => {
    expect(() => headMaps(config(4, 1), config(6, 2), circular)).toThrow(
      'num_attention_heads 6 with num_key_value_heads 2 has 3 query heads per group, the source has 4',
    );
    expect(() => grow('fpi', { hidden_size: 4, head_dim: 4 })).toThrow('head_dim stays 2, found 4');
    expect(() => grow('fpi', { hidden_size: 1 })).toThrow('hidden_size is 2 in the source, found 1');
    expect(() => grow('fpi', {})).toThrow('--factor or a target size');
    expect(() => grow('hypercloning', { hidden_size: 3 })).toThrow('multiple of 2, found 3');
    expect(() => grow('fpi', { num_hidden_layers: 3 })).toThrow('grows width only');
    expect(() => planGrowth({ operator: 'msg', source: tiny(), factor: 2 })).toThrow('DEPTH,WIDTH');
    expect(() => planGrowth({ operator: 'fpi+stack', source: tiny(), factor: [2, 2] })).toThrow(
      'first operator must grow depth',
    );
    expect(() => planGrowth({ operator: 'stack+fpi', source: tiny(), factor: 2 })).toThrow('DEPTH,WIDTH');
  });

  it('warns of what transformers would refuse', () => {
    const source = tiny({ num_attention_heads: 2, num_key_value_heads: 2 });
    expect(grow('lemon', { hidden_size: 3 }, {}, source).warnings.join()).toContain('transformers 5 refuses');
  });
});

describe('optimizer state', () => {
  const source = tiny();
  const state = (
    operator: string,
    optimizerState: GrowthRequest['optimizerState'],
    moment: 'first' | 'second',
  ): Record<string, Expression> =>
    momentTensors(planGrowth({ operator, source, target: wide, optimizerState: optimizerState! }), moment)!;

  it('grow-linear halves and quarters, blocks as the weights (staged)', () => {
    const read = { [gate(0)]: W };
    expect(rows(state('staged-width', 'grow-linear', 'first')[gate(0)]!, source, read)).toEqual([
      [0.5, 1, 0, 0],
      [1.5, 2, 0, 0],
      [0, 0, 0.5, 1],
      [0, 0, 1.5, 2],
    ]);
    expect(rows(state('staged-width', 'grow-linear', 'second')[gate(0)]!, source, read)[0]).toEqual([0.25, 0.5, 0, 0]);
    const final = state('staged-width', 'grow-linear', 'first')['model.norm.weight']!;
    expect(rows(final, source, {})).toEqual([[0], [1], [0], [1]]);
  });

  it('grow-linear follows the gradient: outputs share it, inputs see it whole, the untied head keeps it', () => {
    const read = { [gate(0)]: W, 'lm_head.weight': [8, 4] };
    const first = state('mup-width', 'grow-linear', 'first');
    expect(rows(first[gate(0)]!, source, read)[0]).toEqual([0.5, 0.5, 1, 1]);
    expect(rows(first['lm_head.weight']!, source, read)).toEqual([[8, 8, 4, 4]]);
    expect(rows(state('mup-width', 'grow-linear', 'second')[gate(0)]!, source, read)[0]).toEqual([
      0.25, 0.25, 0.5, 0.5,
    ]);
  });

  it('pad-zero keeps old entries and gives new ones zero', () => {
    const first = state('sparkling', 'pad-zero', 'first');
    expect(rows(first[gate(0)]!, source, { [gate(0)]: W })).toEqual([
      [1, 2, 0, 0],
      [3, 4, 0, 0],
      [0, 0, 0, 0],
      [0, 0, 0, 0],
    ]);
  });

  it('copy is refused for width', () => {
    expect(() => state('fpi', 'copy', 'first')).toThrow('for depth only');
  });
});
