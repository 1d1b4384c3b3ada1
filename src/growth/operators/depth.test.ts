import { describe, expect, it } from 'vitest';
import { type ModelConfig, preset } from '../../architecture/index.js';
import { compile, wholeTensor } from '../evaluate.js';
import { memorySource } from '../execute.js';
import { formatLayers } from '../format.js';
import type { Plan } from '../plan.js';
import { type GrowthRequest, planGrowth } from '../request.js';
import { parsePattern } from './partial-stack.js';

const model = (layers: number): ModelConfig => preset('test-tiny', { num_hidden_layers: layers });
const plan = (
  operator: string,
  layers: number,
  options: Record<string, unknown> = {},
  more: Partial<GrowthRequest> = {},
): Plan => planGrowth({ operator, source: model(layers), options, ...more });
const to = (target: number): Partial<GrowthRequest> => ({ target: { num_hidden_layers: target } });
const list = (made: Plan): string => formatLayers(made.layers!);

// Layer lists worked out by hand from the papers' definitions.
describe('layer lists', () => {
  it.each<[string, number, Record<string, unknown>, number | undefined, string]>([
    ['interpolate', 2, {}, 4, '0 0 1 1'],
    ['gradual-top', 3, {}, 5, '0 1 2 1 2'],
    ['midas', 3, {}, 4, '0 1 1 2'],
    ['midas', 3, {}, undefined, '0 1 1 2'],
    ['midas', 4, { block: 2 }, 6, '0 1 0 1 2 3'],
    ['solar', 4, {}, 6, '0 1 2 1 2 3'],
    ['solar', 4, { drop: 1 }, undefined, '0 1 2 1 2 3'],
    ['block-expansion', 4, {}, 6, '0 1 1z 2 3 3z'],
    ['block-expansion', 4, { groups: 2, perGroup: 2 }, undefined, '0 1 0z 1z 2 3 2z 3z'],
    ['zero-depth', 2, {}, 6, '0 0z 0z 1 1z 1z'],
    ['dlo', 4, {}, 6, '0 1 1z 2 3 3z'],
    ['dlo', 4, { init: 'copy' }, 6, '0 1 1 2 3 3'],
    ['dlo', 4, { init: 'linear' }, 8, '0 0 1 (1+0) 2 (2+1) 3 (3+2)'],
    ['dlo', 4, { init: 'random' }, 6, '0 1 * 2 3 *'],
    ['dlo', 6, { arrangement: 'stack-side', init: 'copy' }, 8, '0 1 2 3 2 3 4 5'],
    [
      'dlo',
      4,
      {
        arrangement: 'manual',
        ranges: [
          [0, 3],
          [1, 4],
        ],
        init: 'copy',
      },
      undefined,
      '0 1 2 1 2 3',
    ],
    ['average', 4, {}, undefined, '0 1 (1+2) 2 (2+3) 3'],
    ['average', 5, { where: 'spread', method: 'slerp' }, 7, '0 1 (1+2) 2 3 (3+4) 4'],
    ['opt-deus', 4, {}, undefined, '0 1 (1+2) 2 (2+3) 3'],
    ['random-depth', 2, {}, 4, '0 1 * *'],
    ['expand', 2, { layers: 'stack' }, 6, '0 1 0 1 0 1'],
    ['expand', 2, { layers: 'interpolate' }, 6, '0 0 0 1 1 1'],
    ['expand', 2, { layers: 'last' }, 6, '0 1 1 1 1 1'],
    ['expand', 1, {}, 3, '0 0 0'],
    ['expand', 0, {}, 3, '* * *'],
    ['inherit', 4, {}, 2, '0 1'],
    ['inherit', 4, { keep: 'last' }, 3, '1 2 3'],
    ['inherit', 4, {}, undefined, '0 1'],
    ['partial-stack', 6, { pattern: '1-234*2-56' }, undefined, '0 1 2 3 1 2 3 4 5'],
    ['partial-stack', 4, { layers: [0, 1, 3, 3] }, 4, '0 1 3 3'],
  ])('%s of %i layers with %j to %s is %s', (operator, layers, options, target, expected) => {
    const made = plan(operator, layers, options, target === undefined ? {} : to(target));
    expect(list(made)).toBe(expected);
  });

  it('of 32 layers are those of the papers', () => {
    const range = (from: number, end: number): number[] => Array.from({ length: end - from }, (_, i) => from + i);
    expect(list(plan('solar', 32, {}, to(48)))).toBe([...range(0, 24), ...range(8, 32)].join(' '));
    expect(list(plan('dlo', 32, { arrangement: 'stack-side', init: 'copy' }, to(48)))).toBe(
      [...range(0, 24), ...range(8, 32)].join(' '),
    );
    const pro = plan('block-expansion', 32);
    expect(pro.target.num_hidden_layers).toBe(40);
    expect(list(pro)).toContain('2 3 3z 4');
    const gaps = range(0, 32).flatMap((i) => (i >= 15 && i < 31 ? [`${i}`, `(${i}+${i + 1})`] : [`${i}`]));
    expect(list(plan('opt-deus', 32))).toBe(gaps.join(' '));
    expect(plan('dlo', 32, {}, to(40)).target.num_hidden_layers).toBe(40);
    expect(() => plan('dlo', 32, {}, to(44))).toThrow('found 44');
  });

  it('twice by two is once by four for interpolate', () => {
    const twice = list(plan('interpolate', 6, {}, { factor: 2 }))
      .split(' ')
      .map((i) => list(plan('interpolate', 3, {}, { factor: 2 })).split(' ')[Number(i)]);
    expect(twice.join(' ')).toBe(list(plan('interpolate', 3, {}, { factor: 4 })));
  });
});

describe('partial-stack patterns', () => {
  // Connection rates of the G_stack paper, appendix H.2.
  it.each([
    ['123456*4', 20 / 23],
    ['12-3456*5-56', 18 / 23],
    ['12-345*7-6', 17 / 23],
    ['123-456*7', 17 / 23],
    ['1-234*7-56', 17 / 23],
    ['123*7-456', 17 / 23],
    ['1234-56*10', 14 / 23],
    ['12-34*10-56', 14 / 23],
  ])('%s has connection rate %f', (pattern, rate) => {
    const made = plan('partial-stack', 6, { pattern });
    expect(made.target.num_hidden_layers).toBe(24);
    expect(made.connectionRate).toBeCloseTo(rate, 12);
  });

  it('take ranges for more than nine layers', () => {
    expect(parsePattern('1..12*2', 12)).toEqual([...Array(24).keys()].map((i) => i % 12));
    expect(parsePattern('12..12-1', 12)).toEqual([11, 0]);
  });

  it.each(['', '1-', 'x', '2..1', '7', '0', '1*0', '1*99999', '1..99'])('refuse "%s"', (pattern) => {
    expect(() => parsePattern(pattern, 6)).toThrow('Pattern');
  });
});

describe('what cannot be reached is said', () => {
  it.each<[string, number, Record<string, unknown>, number | undefined, string]>([
    ['gradual-top', 3, {}, 7, 'at most 6 layers'],
    ['midas', 4, { block: 3 }, undefined, 'must divide'],
    ['midas', 4, { block: 2 }, 7, 'blocks of 2'],
    ['solar', 4, {}, 7, 'found 7'],
    ['solar', 4, { drop: 1 }, 8, '6 with drop 1'],
    ['block-expansion', 4, {}, 7, 'it reaches 5, 6, 8 layers, found 7'],
    ['average', 4, {}, 8, '4 to 7 layers'],
    ['inherit', 4, {}, 5, 'at most 4'],
    ['interpolate', 0, {}, 4, 'use expand'],
    ['expand', 0, { layers: 'stack' }, 4, 'only draw'],
    ['expand', 0, {}, undefined, '--layers'],
    ['partial-stack', 4, {}, undefined, 'pattern'],
    ['partial-stack', 4, { layers: [4] }, undefined, 'layers 0 to 3, found 4'],
    ['partial-stack', 4, { layers: [1] }, 2, '1 layers, 2 were asked for'],
  ])('%s of %i with %j to %s', (operator, layers, options, target, message) => {
    expect(() => plan(operator, layers, options, target === undefined ? {} : to(target))).toThrow(message);
  });
});

describe('made layers', () => {
  const tiny = preset('test-tiny', {
    vocab_size: 3,
    hidden_size: 2,
    num_attention_heads: 1,
    num_key_value_heads: 1,
    intermediate_size: 2,
  });

  /** One tensor of a plan, from sources given by name; others are zero. */
  const tensor = (made: Plan, name: string, sources: Record<string, number[]>): number[] => {
    const source = memorySource(made.source, (of) => Float64Array.from(sources[of] ?? [0, 0, 0, 0]));
    const rows = compile(made.tensors[name]!, source, new Float64Array(0));
    return [...wholeTensor(rows, new Float64Array(rows.rows * rows.columns))];
  };
  const q = (layer: number): string => `model.layers.${layer}.self_attn.q_proj.weight`;
  const norm = (layer: number): string => `model.layers.${layer}.input_layernorm.weight`;

  it('average mixes neighbours, by the mean or on the sphere', () => {
    const sources = { [q(0)]: [2, 0, 0, 0], [q(1)]: [0, 1, 0, 0] };
    const mean = planGrowth({ operator: 'average', source: tiny });
    expect(tensor(mean, q(1), sources)).toEqual([1, 0.5, 0, 0]);
    const slerp = planGrowth({ operator: 'average', source: tiny, options: { method: 'slerp' } });
    // slerp([2,0],[0,1],.5) = [1.4142, .7071]
    const out = tensor(slerp, q(1), sources);
    expect(out[0]).toBeCloseTo(Math.SQRT2, 12);
    expect(out[1]).toBeCloseTo(Math.SQRT1_2, 12);
    const parallel = tensor(slerp, q(1), { [q(0)]: [2, 0, 0, 0], [q(1)]: [4, 0, 0, 0] });
    expect(parallel).toEqual([3, 0, 0, 0]);
  });

  it('opt-deus matches rows before it averages', () => {
    // A = [[0],[10]], B = [[10],[0]]: plain average [[5],[5]], matched [[10],[0]], released code [[7.5],[0]]; here with a second,
    // constant column, which the matching leaves alone.
    const sources = { [q(0)]: [0, 0, 10, 0], [q(1)]: [10, 0, 0, 0] };
    const made = (options: object): number[] =>
      tensor(
        planGrowth({ operator: 'opt-deus', source: tiny, options: { regularisation: 0.001, ...options } }),
        q(1),
        sources,
      );
    const close = (values: number[], expected: number[]): void =>
      values.forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 9));
    close(made({}), [10, 0, 0, 0]);
    close(made({ released: true }), [7.5, 0, 0, 0]);
  });

  it('opt-deus averages norms and closes new branches', () => {
    const made = planGrowth({ operator: 'opt-deus', source: tiny });
    expect(tensor(made, norm(1), { [norm(0)]: [1, 2], [norm(1)]: [3, 2] })).toEqual([2, 2]);
    expect(made.tensors['model.layers.1.mlp.down_proj.weight']).toEqual({ op: 'zero', shape: [2, 2] });
    expect(made.tensors['model.layers.1.self_attn.o_proj.weight']).toEqual({ op: 'zero', shape: [2, 2] });
  });

  it('zeroed copies close both branches and keep the rest; biases too', () => {
    const biased = preset('test-tiny', { attention_bias: true, mlp_bias: true });
    const { tensors } = planGrowth({ operator: 'zero-depth', source: biased, factor: 2 });
    for (const name of [
      'self_attn.o_proj.weight',
      'self_attn.o_proj.bias',
      'mlp.down_proj.weight',
      'mlp.down_proj.bias',
    ]) {
      expect(tensors[`model.layers.1.${name}`]).toMatchObject({ op: 'zero' });
      expect(tensors[`model.layers.2.${name}`]).toEqual({ op: 'copy', of: `model.layers.1.${name}` });
    }
    expect(tensors['model.layers.1.self_attn.q_proj.bias']).toEqual({
      op: 'copy',
      of: 'model.layers.0.self_attn.q_proj.bias',
    });
  });

  it('drawn layers have the statistics of fresh ones, the same for the same seed', () => {
    const source = preset('test-small', { num_hidden_layers: 1 });
    const up = 'model.layers.2.mlp.up_proj.weight';
    const draw = (seed: number): Float64Array => {
      const made = planGrowth({
        operator: 'expand',
        source,
        options: { layers: 'draw', seed },
        target: { num_hidden_layers: 3 },
      });
      const rows = compile(
        made.tensors[up]!,
        memorySource(source, () => new Float64Array(0)),
        new Float64Array(0),
      );
      return wholeTensor(rows, new Float64Array(rows.rows * rows.columns));
    };
    const values = draw(1);
    const variance = values.reduce((sum, x) => sum + x * x, 0) / values.length;
    expect(variance / (2 / (5 * 128))).toBeCloseTo(1, 1);
    expect(draw(1)).toEqual(values);
    expect(draw(2)).not.toEqual(values);
  });

  it('masked layers come with their ramp, plain ones without', () => {
    const masked = plan('random-depth', 2, {}, { factor: 2 });
    expect(masked.masks).toEqual([{ kind: 'random', axis: 'layers', old: 2, size: 4, start: 0, end: 0.1 }]);
    expect(masked.preservesFunction.claimed).toBe(true);
    const plain = plan('random-depth', 2, { mask: 1 }, { factor: 2 });
    expect(plain.masks).toBeUndefined();
    expect(plain.preservesFunction.claimed).toBe(false);
  });

  it('inherit leaves the final norm fresh where the code of its authors does', () => {
    const faithful = plan('inherit', 4, { faithful: true }, to(2));
    expect(faithful.tensors['model.norm.weight']).toEqual({ op: 'constant', by: 1, shape: [32] });
    expect(plan('inherit', 4, {}, to(2)).tensors['model.norm.weight']).toEqual({ op: 'copy', of: 'model.norm.weight' });
  });
});
