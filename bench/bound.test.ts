import { describe, expect, it } from 'vitest';
import { attentionRule } from '../src/ops/index.js';
import { workOf } from '../src/engine/work.js';
import { productFlops, productKey, type Product, stepBound, type StepWork, stepWork } from './bound.js';
import { recordStep, type TrainStepShape } from './train-step-subject.js';

/** Four tokens through two layers. */
const TINY: TrainStepShape = {
  ...{ hidden: 8, layers: 2, heads: 2, kvHeads: 2, ffn: 10, vocab: 16 },
  ...{ batch: 1, length: 4 },
};

const product = (rows: number, columns: number, depth: number, options: Partial<Product> = {}): Product => ({
  ...{ rows, columns, depth, transposeA: false, transposeB: false, accumulate: false },
  ...options,
});
const flopsOf = ({ products }: StepWork): number =>
  [...products.values()].reduce((sum, { product, calls }) => sum + calls * productFlops(product), 0);

describe('stepBound', () => {
  const [square, wide] = [product(100, 100, 100), product(100, 200, 100)];
  const work: StepWork = {
    products: new Map([
      [productKey(square), { product: square, calls: 3 }],
      [productKey(wide), { product: wide, calls: 1 }],
    ]),
    attentionFlops: 4e6,
    otherBytes: 5e6,
  };
  const rates = new Map([
    [productKey(square), 2e9],
    [productKey(wide), 8e9],
  ]);

  it('adds products at their own rates, attention at half of the best one, and bytes at the bandwidth', () => {
    // 3 x 2e6 FLOPs at 2e9 and 4e6 at 8e9; 4e6 at 4e9; 5e6 bytes at 1e10.
    const { products, attention, other, total, bestRate, flops } = stepBound(work, rates, 1e10);
    expect(products).toBeCloseTo(3.5e-3, 12);
    expect(attention).toBeCloseTo(1e-3, 12);
    expect(other).toBeCloseTo(0.5e-3, 12);
    expect(total).toBeCloseTo(5e-3, 12);
    expect([bestRate, flops]).toEqual([8e9, 14e6]);
  });

  it('does not go on without a rate', () => {
    expect(() => stepBound(work, new Map(), 1e10)).toThrow('was not measured');
  });
});

describe('stepWork', () => {
  // Matrices of a layer: qkv 24 x 8, output 8 x 8, gate and up 20 x 8, down 8 x 10, 496 entries; the head has 16 x 8, as the embedding has.
  const MATRICES = 2 * 496 + 128;
  // Five gains of 8 are padded to a line of 16.
  const PARAMETERS = MATRICES + 128 + 48;
  // Gradients are read for their norm; AdamW reads four arenas and writes three, with 5 f64 scalars for matrices and for gains.
  const state = 4 * PARAMETERS + 8 + 7 * 4 * PARAMETERS + 2 * 40;

  it('counts what the recorded step does', () => {
    const work = stepWork(recordStep(TINY, 'f32'), 4);
    expect(flopsOf(work)).toBe(3 * 2 * 4 * MATRICES);
    // 10 pairs in each of 2 heads of 4; two products of that size in forward, five in backward, in 2 layers.
    expect(work.attentionFlops).toBe(2 * (2 + 5) * 2 * (10 * 2 * 4));
    // Of x [4, 8] 128 bytes; the statistics of a norm take 16, its gain 32.
    const norm = 128 + 32 + 128 + 16;
    const normBackward = 128 + 128 + 32 + 16 + 128 + 32;
    const rotary = 384 + 2 * 32 + 384;
    const layer = 2 * norm + rotary + (320 + 160) + (160 + 2 * 320) + 2 * (normBackward + 128) + rotary;
    const ends = 2 * 128 + norm + (16 + 16 + 4 + 16) + normBackward + (128 + 16 + 512);
    expect(work.otherBytes).toBe(2 * layer + ends + state);
  });

  it('halves activations alone where asked', () => {
    const work = stepWork(recordStep(TINY, 'bf16'), 2);
    const norm = 64 + 32 + 64 + 8;
    const normBackward = 64 + 64 + 32 + 8 + 64 + 32;
    const rotary = 192 + 2 * 32 + 192;
    const layer = 2 * norm + rotary + (160 + 80) + (80 + 2 * 160) + 2 * (normBackward + 64) + rotary;
    const ends = 128 + 64 + norm + (16 + 16 + 2 + 8) + normBackward + (64 + 16 + 512);
    expect(work.otherBytes).toBe(2 * layer + ends + state);
  });

  it('knows how often each product is made, and its form', () => {
    const { products } = stepWork(recordStep(TINY, 'bf16'), 4);
    const callsOf = (wanted: Product): number | undefined =>
      products.get(productKey({ ...wanted, operandType: 'bf16' }))?.calls;
    expect(callsOf(product(4, 24, 8, { transposeB: true }))).toBe(2);
    expect(callsOf(product(4, 8, 10, { transposeB: true, accumulate: true }))).toBe(2);
    expect(callsOf(product(24, 8, 4, { transposeA: true }))).toBe(2);
    expect(callsOf(product(4, 16, 8, { transposeB: true }))).toBe(1);
    expect(products.size).toBe(15);
  });

  it('takes the head in the chunks of rows in which logits exist', () => {
    // 16 MiB hold 256 rows of 16,384 logits.
    const { products } = stepWork(recordStep({ ...TINY, vocab: 16384, batch: 75 }, 'f32'), 4);
    const callsOf = (wanted: Product): number | undefined => products.get(productKey(wanted))?.calls;
    expect(callsOf(product(256, 16384, 8, { transposeB: true }))).toBe(1);
    expect(callsOf(product(44, 16384, 8, { transposeB: true }))).toBe(1);
    expect(callsOf(product(16384, 8, 256, { transposeA: true }))).toBe(1);
    expect(callsOf(product(16384, 8, 44, { transposeA: true, accumulate: true }))).toBe(1);
  });
});

describe('workOf', () => {
  it('counts the pairs that attention sees through a window', () => {
    const layout = { batch: 1, length: 4, heads: 1, kvHeads: 1, headDim: 2, scale: 1 };
    const qkv = { dtype: 'f32', shape: [4, 6] } as const;
    const flops = (window?: number): number => {
      const attributes = { ...layout, window };
      return workOf({ rule: attentionRule, attributes, inputs: [qkv], outputs: [] } as never).flops;
    };
    // 1 + 2 + 3 + 4 pairs, 1 + 2 + 2 + 2 pairs; four operations for each pair and dimension.
    expect(flops()).toBe(4 * 10 * 2);
    expect(flops(2)).toBe(4 * 7 * 2);
    expect(flops(9)).toBe(4 * 10 * 2);
  });
});
