import { Scope, type Tensor } from '../src/engine/buffers.js';
import { toBfloat16 } from '../src/engine/dtype.js';
import { fallbackKernels } from '../src/engine/kernels/fallback/index.js';
import { matmul } from '../src/engine/kernels/fused/matmul.js';
import { WorkError } from '../src/errors.js';
import type { DType } from '../src/ops/index.js';
import { type Product, productFlops, type StepWork } from './bound.js';

/** All products are measured in turn, several times over, so that a moment's disturbance does not meet all calls of one. */
const ROUNDS = 3;
/** In one round a product is repeated for so long and so often. */
const LEAST_SECONDS = 0.05;
const LEAST_CALLS = 3;

/**
 * Measures every product of a step alone: with Strata's kernel and with libtorch's, whose operands lie in bf16 already where the product rounds
 * its own to that.
 *
 * @param rates The best FLOP/s known by `productKey`, which this raises.
 */
export function measureRates({ products }: StepWork, rates: Map<string, number>): void {
  for (let round = 0; round < ROUNDS; round++)
    for (const [key, { product }] of products) {
      const seconds = Math.min(secondsOf(product, 'f32'), secondsOf(product, product.operandType ?? 'f32', true));
      rates.set(key, Math.max(rates.get(key) ?? 0, productFlops(product) / seconds));
    }
}

/** The shortest of a number of calls on operands of a type; the first one, which meets cold memory, does not count. */
function secondsOf(product: Product, dtype: DType, byLibtorch = false): number {
  const { rows, columns, depth, transposeA, transposeB, accumulate } = product;
  using scope = new Scope();
  const matrix = (height: number, width: number, transposed: boolean): Tensor => {
    const tensor = scope.tensor({ dtype, shape: transposed ? [width, height] : [height, width] });
    fill(tensor);
    return tensor;
  };
  const inputs = [matrix(rows, depth, transposeA), matrix(depth, columns, transposeB)];
  const call = {
    inputs,
    outputs: [matrix(rows, columns, false)],
    accumulate: [accumulate],
    attributes: product,
    workspace: 0n,
  };
  const run = byLibtorch ? fallbackKernels.matmul(call) : matmul(call);
  if (run === undefined) throw new WorkError(`There is no kernel for products of ${dtype}.`);
  run();
  let shortest = Infinity;
  const begin = performance.now();
  let last = begin;
  for (let calls = 0; calls < LEAST_CALLS || last - begin < LEAST_SECONDS * 1000; calls++) {
    run();
    const now = performance.now();
    shortest = Math.min(shortest, now - last);
    last = now;
  }
  return shortest / 1000;
}

/** Small numbers of both signs, over and over. */
const PATTERN = Float32Array.from({ length: 1000 }, (_, i) => i / 1000 - 0.5);

function fill(tensor: Tensor): void {
  const pattern = tensor.type.dtype === 'bf16' ? toBfloat16(PATTERN) : PATTERN;
  const data = tensor.data() as Float32Array | Uint16Array;
  data.set(pattern.subarray(0, data.length));
  for (let filled = pattern.length; filled < data.length; filled *= 2) data.copyWithin(filled, 0, filled);
}
