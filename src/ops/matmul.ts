import { deliver } from './add.js';
import { at, requireShapes, size } from './check.js';
import type { Context, OpRule, ProductAttributes, Value } from './types.js';

export interface MatmulAttributes extends ProductAttributes {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

/**
 * Matrix product y = op(a) op(b), op being the transpose where asked.
 *
 * Shapes: op(a) [M, K], op(b) [K, N], y [M, N]. With `onto` the product is added in the same pass.
 */
export const matmulRule: OpRule<MatmulAttributes> = {
  name: 'matmul',
  infer(inputs, attributes) {
    requireShapes(inputs.length === 2 && inputs.every((t) => t.shape.length === 2), 'matmul', 'two matrices', inputs);
    const [m, k] = dimensions(at(inputs, 0).shape, attributes.transposeA);
    const [k2, n] = dimensions(at(inputs, 1).shape, attributes.transposeB);
    requireShapes(
      k === k2 && at(inputs, 0).dtype === at(inputs, 1).dtype,
      'matmul',
      'equal inner sizes and types',
      inputs,
    );
    return [{ dtype: at(inputs, 0).dtype, shape: [m, n] }];
  },
  flops(inputs, { transposeA, transposeB }) {
    const [m, k] = dimensions(at(inputs, 0).shape, transposeA);
    return 2 * m * k * dimensions(at(inputs, 1).shape, transposeB)[1];
  },
  accumulates: [0],
  mixedPrecision: true,
  backward({ context, inputs, attributes: { transposeA, transposeB }, gradients, sinks }) {
    const a = at(inputs, 0);
    const b = at(inputs, 1);
    const dy = at(gradients, 0);
    if (dy === undefined) return { gradients: [undefined, undefined] };
    const product = (x: Value, tx: boolean, y: Value, ty: boolean, sink: (typeof sinks)[number]) =>
      sink && at(context.apply(matmulRule, [x, y], { transposeA: tx, transposeB: ty }, [sink]), 0);
    return {
      gradients: [
        transposeA ? product(b, transposeB, dy, true, sinks[0]) : product(dy, false, b, !transposeB, sinks[0]),
        transposeB ? product(dy, true, a, transposeA, sinks[1]) : product(a, !transposeA, dy, false, sinks[1]),
      ],
    };
  },
};

const dimensions = (shape: readonly number[], transpose: boolean): [rows: number, columns: number] =>
  transpose ? [at(shape, 1), at(shape, 0)] : [at(shape, 0), at(shape, 1)];

/** Product of two matrices, as they are or transposed. */
export const matmul = (context: Context, a: Value, b: Value, options: Partial<MatmulAttributes> = {}): Value =>
  at(context.apply(matmulRule, [a, b], { transposeA: false, transposeB: false, ...options }), 0);

/**
 * Linear layer y = x w^T (+ bias) (+ residual).
 *
 * Shapes: x [N, in], w [out, in], bias [out], residual and y [N, out].
 */
export function linear(
  context: Context,
  x: Value,
  w: Value,
  options: { bias?: Value | undefined; residual?: Value } = {},
): Value {
  const attributes = { transposeA: false, transposeB: true };
  const y = at(context.apply(matmulRule, [x, w], attributes, [{ onto: options.residual }]), 0);
  return options.bias ? at(context.apply(addBiasRule, [y, options.bias], {}), 0) : y;
}

/** Adds a vector to every row: y = x + b. Shapes: x [N, D], b [D]. */
export const addBiasRule: OpRule<object> = {
  name: 'addBias',
  infer(inputs) {
    const fits = inputs.length === 2 && at(inputs, 0).shape.length === 2 && at(inputs, 1).shape.length === 1;
    requireShapes(fits && size(at(inputs, 0), 1) === size(at(inputs, 1), 0), 'addBias', 'x [N, D] and b [D]', inputs);
    return [at(inputs, 0)];
  },
  inPlace: [[0, 0]],
  backward({ context, gradients, sinks }) {
    const [dy] = gradients;
    if (dy === undefined) return { gradients: [undefined, undefined] };
    const [sinkX, sinkBias] = sinks;
    return {
      gradients: [
        sinkX && deliver(context, dy, sinkX),
        sinkBias && at(context.apply(columnSumRule, [dy], {}, [sinkBias]), 0),
      ],
    };
  },
};

/** Sum over rows: y[j] = sum_i x[i, j]. Shapes: x [N, D], y [D]. */
export const columnSumRule: OpRule<object> = {
  name: 'columnSum',
  infer(inputs) {
    requireShapes(inputs.length === 1 && at(inputs, 0).shape.length === 2, 'columnSum', 'a matrix', inputs);
    return [{ dtype: at(inputs, 0).dtype, shape: [size(at(inputs, 0), 1)] }];
  },
  accumulates: [0],
};
