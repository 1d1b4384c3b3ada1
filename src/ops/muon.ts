import { affine } from './affine.js';
import { squaredNorm } from './adamw.js';
import { at, requireShapes, sameShape, size } from './check.js';
import { matmulRule } from './matmul.js';
import type { Context, OpRule, Value } from './types.js';

export interface MuonMomentumAttributes {
  readonly momentum: number;
}

/**
 * The momentum of Muon, Nesterov's form: g' = g * gradientScale; m = b m + (1 - b) g'; u = b m + (1 - b) g'.
 *
 * Inputs: g, m of one shape, scalars f64 (see ADAMW_SCALARS). Outputs: m, u. Source: Jordan et al. 2024, github.com/KellerJordan/Muon.
 */
export const muonMomentumRule: OpRule<MuonMomentumAttributes> = {
  name: 'muonMomentum',
  infer(inputs) {
    const [g, m, scalars] = inputs;
    requireShapes(
      inputs.length === 3 && sameShape(at(inputs, 0), at(inputs, 1)) && scalars?.dtype === 'f64',
      'muonMomentum',
      'g, m of one type and scalars f64',
      inputs,
    );
    return [m ?? at(inputs, 1), g ?? at(inputs, 0)];
  },
  inPlace: [[0, 1]],
};

/** Added to a norm before dividing by it. */
const NORM_EPSILON = 1e-7;

/** y = x / (sqrt(s) + 1e-7). Shapes: x any, s f64 [1] (a sum of squares), y as x. */
export const unitNormRule: OpRule<{ readonly eps: number }> = {
  name: 'unitNorm',
  infer(inputs) {
    requireShapes(
      inputs.length === 2 && at(inputs, 1).dtype === 'f64' && size(at(inputs, 1), 0) === 1,
      'unitNorm',
      'x and s f64 [1]',
      inputs,
    );
    return [at(inputs, 0)];
  },
  inPlace: [[0, 0]],
};

export interface MuonUpdateAttributes {
  /** Factor of the orthogonal direction: what brings its entries to the size that the learning rate is made for. */
  readonly scale: number;
  readonly weightDecay: number;
}

/** p = p - lr * (scale * o + decay * p), in place. Inputs: p, o of one shape, scalars f64 (lr first). Output: p. */
export const muonUpdateRule: OpRule<MuonUpdateAttributes> = {
  name: 'muonUpdate',
  infer(inputs) {
    requireShapes(
      inputs.length === 3 && sameShape(at(inputs, 0), at(inputs, 1)) && at(inputs, 2).dtype === 'f64',
      'muonUpdate',
      'p, o of one type and scalars f64',
      inputs,
    );
    return [at(inputs, 0)];
  },
  inPlace: [[0, 0]],
};

/** Steps and coefficients of the quintic iteration: x (a + b x x^T + c (x x^T)^2), with slope a = 3.4445 at zero. */
export const NEWTON_SCHULZ = { steps: 5, a: 3.4445, b: -4.775, c: 2.0315 } as const;

/**
 * Brings the singular values of a matrix near 1 (0.7 to 1.2), keeping its singular vectors: the nearest orthogonal matrix, roughly.
 *
 * Shapes: x [M, N], y [M, N]; the smaller Gram matrix is used. Source: Jordan et al. 2024, "Muon"; coefficients and steps theirs.
 */
export function orthogonalise(context: Context, x: Value): Value {
  const { steps, a, b, c } = NEWTON_SCHULZ;
  const wide = size(x.type, 0) <= size(x.type, 1);
  const product = (left: Value, right: Value, transposeA: boolean, transposeB: boolean, onto?: Value): Value =>
    at(context.apply(matmulRule, [left, right], { transposeA, transposeB }, [{ onto }]), 0);
  let y = at(context.apply(unitNormRule, [x, squaredNorm(context, x)], { eps: NORM_EPSILON }), 0);
  for (let step = 0; step < steps; step++) {
    const gram = product(y, y, !wide, wide);
    const polynomial = product(
      affine(context, gram, { scale: c }),
      gram,
      false,
      false,
      affine(context, gram, { scale: b }),
    );
    const start = affine(context, y, { scale: a });
    y = wide ? product(polynomial, y, false, false, start) : product(y, polynomial, false, false, start);
  }
  return y;
}

/** One step of Muon for a matrix: momentum and parameter are written where they lie. */
export function muon(
  context: Context,
  { p, g, m }: { p: Value; g: Value; m: Value },
  scalars: Value,
  attributes: MuonMomentumAttributes & MuonUpdateAttributes,
): void {
  const { momentum, scale, weightDecay } = attributes;
  const direction = at(context.apply(muonMomentumRule, [g, m, scalars], { momentum }, [{ into: m }]), 1);
  context.apply(muonUpdateRule, [p, orthogonalise(context, direction), scalars], { scale, weightDecay }, [{ into: p }]);
}
