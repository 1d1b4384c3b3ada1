import { beforeAll, describe, expect, it } from 'vitest';
import { familyOf, type Floats, type ModelConfig } from '../src/architecture/index.js';
import { Scope, type Tensor } from '../src/engine/buffers.js';
import { EagerContext } from '../src/engine/eager.js';
import { loadLibtorch } from '../src/engine/libtorch/load.js';
import { executePlan, type MaskRamp, memorySource, planGrowth } from '../src/growth/index.js';
import { openCheckpoint } from '../src/interop/index.js';
import { arenaParameters, forwardOf, layOut } from '../src/model/index.js';
import { matmul } from '../src/ops/index.js';
import { maskShape, maskVectors, unmaskedAxis } from '../src/train/masks.js';
import { FAMILY_VARIANTS, type FamilyVariant, readFamilyGolden } from './golden/read.js';

/** Rounding of float64 over tiny models, relative to the largest logit. */
const EXACT = 1e-11;
/** The epsilon of norms, which `random` sees relative to another mean square: it is set to next to nothing. */
const EPSILON = 1e-14;
/** Gemma's embeddings are multiplied by sqrt(hidden size), rounded to float32, and grown weights make up for it in float32. */
const SINGLE = 2e-7;
const CHANGED = 1e-4;

beforeAll(() => void loadLibtorch({ threads: 1 }));

type Read = (name: string) => Floats;

/** Logits of a few tokens in float64, by the family's forward, with masks where given. */
function logitsOf(config: ModelConfig, read: Read, masks?: readonly MaskRamp[], share = 1): Float64Array {
  using scope = new Scope();
  const eager = new EagerContext(scope);
  const length = 8;
  const weights = familyOf(config).weights(config);
  const layout = layOut(weights, () => false);
  const arena = scope.tensor({ dtype: 'f64', shape: [layout.size] });
  for (const [name, { offset }] of layout.ranges) (arena.data() as Float64Array).set(read(name), offset);
  const forward = forwardOf(config);
  const tables = Object.entries(forward.tables(config, length)).map(([name, { values, columns }]) => [
    name,
    values instanceof Int32Array
      ? scope.from({ dtype: 'i32', shape: [length, columns] }, values)
      : scope.from({ dtype: 'f64', shape: [length, columns] }, Float64Array.from(values)),
  ]);
  const ids = scope.from({ dtype: 'i32', shape: [length] }, Int32Array.of(1, 5, 2, 7, 3, 1, 4, 6));
  const vectors = Object.entries(maskVectors(masks ?? [], config, share)).map(([name, values]) => [
    name,
    scope.from({ dtype: 'f64', shape: [values.length] }, values),
  ]);
  const faded = masks && { ...maskShape(masks, config), vectors: Object.fromEntries(vectors) };
  const call = { ids, tables: Object.fromEntries(tables), batch: 1, length, ...(faded && { masks: faded }) };
  const hidden = forward.hidden(eager, config, arenaParameters(eager, arena, layout, weights), call);
  const head = arenaParameters(eager, arena, layout, weights).get('head');
  return Float64Array.from((matmul(eager, hidden, head, { transposeB: true }) as Tensor).data() as Float64Array);
}

const apart = (a: Float64Array, b: Float64Array): number =>
  Math.max(...a.map((value, i) => Math.abs(value - b[i]!))) / Math.max(...a.map(Math.abs));

const withEpsilon = (config: ModelConfig): ModelConfig => ({
  ...config,
  ...Object.fromEntries(
    Object.keys(config)
      .filter((field) => /eps/.test(field))
      .map((field) => [field, EPSILON]),
  ),
});

describe.each(FAMILY_VARIANTS)('%s', (variant: FamilyVariant) => {
  it.each([
    ['msg', 'all'],
    ['random-depth', 'depth'],
    ['random-width', 'width'],
  ] as const)('%s: the source while the mask is 0, the plain model at its end', (operator, direction) => {
    using source = openCheckpoint(readFamilyGolden(variant).folder);
    const config = withEpsilon(source.config);
    const { modelType } = familyOf(config);
    // GPT-2 and GPT-NeoX say the head size by the other two.
    const hasHeadSize = modelType !== 'gpt2' && modelType !== 'gpt_neox';
    const wider = {
      hidden_size: hasHeadSize ? config.hidden_size + 8 : 2 * config.hidden_size,
      intermediate_size: config.intermediate_size + 4,
      ...(modelType === 'olmo2'
        ? {}
        : {
            num_attention_heads: 2 * config.num_attention_heads,
            num_key_value_heads: 2 * config.num_key_value_heads,
          }),
    };
    const kept = modelType === 'gemma2' ? SINGLE : EXACT;
    const deeper = { num_hidden_layers: config.num_hidden_layers + 1 };
    const target = { all: { ...wider, ...deeper }, depth: deeper, width: wider }[direction];
    const plan = planGrowth({ operator, source: config, target });
    const masks = plan.masks!;
    expect(unmaskedAxis(masks, plan.target)).toBeUndefined();
    const grown = new Map<string, Float32Array>();
    executePlan(
      plan,
      memorySource(config, (name) => source.read(name)),
      ({ name }, values) => void grown.set(name, values),
    );
    const read: Read = (name) => grown.get(name)!;
    const before = logitsOf(config, (name) => source.read(name));
    const whole = logitsOf(plan.target, read);
    expect(apart(before, logitsOf(plan.target, read, masks, 0))).toBeLessThan(kept);
    expect(apart(whole, logitsOf(plan.target, read, masks, 1))).toBeLessThan(EXACT);
    const end = Math.max(...masks.map((mask) => mask.end));
    const middle = logitsOf(plan.target, read, masks, end / 2);
    expect(apart(before, middle)).toBeGreaterThan(CHANGED);
    expect(apart(whole, middle)).toBeGreaterThan(CHANGED);
  });
});
