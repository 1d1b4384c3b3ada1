import { describe, expect, it } from 'vitest';
import { type ModelConfig, preset, RandomStream } from '../../architecture/index.js';
import { compile, wholeTensor } from '../evaluate.js';
import { memorySource, storedSpecs } from '../execute.js';
import { initialParameter } from '../prepare.js';
import type { Plan } from '../plan.js';
import { planGrowth } from '../request.js';

type Learned = (name: string) => Float64Array;

const source = preset('test-tiny', {
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 4,
  hidden_size: 8,
  intermediate_size: 12,
  vocab_size: 5,
});
const read = (name: string): Float64Array => {
  const { axes } = storedSpecs(source).find((spec) => spec.name === name)!;
  const values = new Float64Array(axes.reduce((product, axis) => product * axis.size, 1));
  new RandomStream(1, name).fillNormal(values);
  return values;
};
const begins =
  (plan: Plan): Learned =>
  (name) =>
    initialParameter(plan.prepare!.parameters.find((parameter) => parameter.name === name)!, 0);

/** All tensors of a plan. */
const tensors = (plan: Plan, learned?: Learned): Map<string, Float64Array> => {
  const from = memorySource(plan.source, read, learned);
  return new Map(
    storedSpecs(plan.target).map(({ name }) => {
      const rows = compile(plan.tensors[name]!, from, new Float64Array(0));
      return [name, wholeTensor(rows, new Float64Array(rows.rows * rows.columns))];
    }),
  );
};

describe('ligo', () => {
  it('in depth begins as stack, bit for bit', () => {
    const plan = planGrowth({ operator: 'ligo-depth', source, factor: 2 });
    expect(tensors(plan, begins(plan))).toEqual(tensors(planGrowth({ operator: 'stack', source, factor: 2 })));
  });

  it('with selections is interpolate', () => {
    const plan = planGrowth({ operator: 'ligo-depth', source, factor: 2 });
    const selections: Learned = () => Float64Array.from([1, 0, 1, 0, 0, 1, 0, 1]);
    expect(tensors(plan, selections)).toEqual(tensors(planGrowth({ operator: 'interpolate', source, factor: 2 })));
  });

  it('with selections and untied inputs is fpi', () => {
    const plan = planGrowth({ operator: 'ligo-width', source, factor: 2, options: { untiedInputs: true } });
    const selections: Learned = (name) => {
      const [rows, columns] = plan.prepare!.parameters.find((parameter) => parameter.name === name)!.shape;
      const values = new Float64Array(rows * columns);
      for (let row = 0; row < rows; row++) values[row * columns + (row % columns)] = name.endsWith('.in') ? 0.5 : 1;
      return values;
    };
    const fpi = planGrowth({ operator: 'fpi', source, factor: 2, options: { faithful: true, map: 'circular' } });
    expect(tensors(plan, selections)).toEqual(tensors(fpi));
  });

  it('mixes layers and expands axes as worked out by hand', () => {
    const one: ModelConfig = preset('test-tiny', {
      num_hidden_layers: 1,
      hidden_size: 1,
      head_dim: 2,
      num_attention_heads: 1,
      num_key_value_heads: 1,
      intermediate_size: 1,
      vocab_size: 1,
    });
    const value = (plan: Plan, name: string, weights: number[], learned: number[]): number[] => {
      const from = memorySource(
        one,
        () => Float64Array.from(weights),
        () => Float64Array.from(learned),
      );
      const rows = compile(plan.tensors[name]!, from, new Float64Array(0));
      return [...wholeTensor(rows, new Float64Array(rows.rows * rows.columns))];
    };
    // L = 1 -> 2, w = [[1],[.5]], W = [[2]]: layers [[2]], [[1]].
    const deep = planGrowth({ operator: 'ligo-depth', source: one, factor: 2 });
    expect(value(deep, 'model.layers.0.mlp.up_proj.weight', [2], [1, 0.5])).toEqual([2]);
    expect(value(deep, 'model.layers.1.mlp.up_proj.weight', [2], [1, 0.5])).toEqual([1]);
    // B_h = [1, .5]^T, E = [[4]]: E' = [[4, 2]].
    const wide = planGrowth({ operator: 'ligo-width', source: one, target: { hidden_size: 2 } });
    expect(value(wide, 'model.embed_tokens.weight', [4], [1, 0.5])).toEqual([4, 2]);
  });

  it("begins as the authors' code where asked: added rows are averages, old ones stay fixed", () => {
    const plan = planGrowth({ operator: 'ligo', source, factor: [2, 2], options: { init: 'authors' } });
    const hidden = plan.prepare!.parameters.find(({ name }) => name === 'ligo.hidden')!;
    expect(hidden).toMatchObject({ shape: [16, 8], frozenRows: 8 });
    const values = initialParameter(hidden, 1);
    const row = (i: number): number[] => [...values.subarray(i * 8, (i + 1) * 8)];
    expect(row(3)).toEqual([0, 0, 0, 1, 0, 0, 0, 0]);
    expect(row(11).reduce((sum, x) => sum + x, 0)).toBeCloseTo(1, 12);
    expect(row(11).every((x) => x > 0)).toBe(true);
    const mix = initialParameter(plan.prepare!.parameters.find(({ name }) => name === 'ligo.depth.query')!, 1);
    expect(mix[0]! + mix[1]!).toBeCloseTo(1, 12);
    expect(mix[0]).toBeGreaterThan(0.97);
  });

  it('has nine mixes for Llama and names what it keeps', () => {
    const plan = planGrowth({ operator: 'ligo', source, factor: [2, 2] });
    expect(plan.prepare!.parameters.filter(({ name }) => name.startsWith('ligo.depth.'))).toHaveLength(9);
    expect(() => planGrowth({ operator: 'ligo-width', source, target: { num_attention_heads: 8 } })).toThrow(
      'query heads per group',
    );
    expect(() => planGrowth({ operator: 'ligo', source })).toThrow('needs a factor');
  });
});

describe('lesa', () => {
  it('asks for one prediction per matrix of each gap, norms by option', () => {
    const deep = preset('test-tiny', { num_hidden_layers: 4 });
    const plan = (options: Record<string, unknown>): Plan => planGrowth({ operator: 'lesa', source: deep, options });
    expect(plan({}).target.num_hidden_layers).toBe(6);
    expect(plan({}).tensors['model.layers.2.self_attn.q_proj.weight']).toMatchObject({
      op: 'learned',
      of: 'lesa.query.1',
    });
    expect(plan({ norms: 'layer0' }).tensors['model.layers.4.input_layernorm.weight']).toEqual({
      op: 'copy',
      of: 'model.layers.0.input_layernorm.weight',
    });
    expect(plan({}).prepare).toMatchObject({ kind: 'lesa', steps: 10, options: { gaps: [1, 2], hidden: 256 } });
    expect(() => planGrowth({ operator: 'lesa', source: preset('test-tiny') })).toThrow('at least 3');
  });
});
