import { at, requireShapes, size } from './check.js';
import { GRADIENT_SEED } from './seed.js';
import { ShapeError, type Context, type OpRule, type TensorType, type Value } from './types.js';

/** How a router's probability p scales what a routed branch adds: by scale / 2 + (p - 1/2) * gap, exactly 1 at p = 1/2 with a scale of 2. */
export interface RouteAttributes {
  readonly scale: number;
  readonly gap: number;
}

const isColumn = (type: TensorType | undefined, rows: number | undefined): boolean =>
  rows !== undefined && type?.shape.length === 2 && type.shape[0] === rows && type.shape[1] === 1;
const isList = (type: TensorType | undefined, rows: number | undefined): boolean =>
  rows !== undefined && type?.shape.length === 1 && type.shape[0] === rows;

/**
 * Which tokens a layer keeps in training, and by how much: gate[i] = scale / 2 + (p_i - 1/2) * gap for the ceil(capacity * N) largest p = sigmoid(z), else 0.
 *
 * Tokens as probable as the last of those are kept, too, so that a router of zeros keeps all. The choice has no gradient, the factor has.
 * Shapes: z [N, 1], capacity f64 [1], gate [N]. Source: DLO, arXiv 2407.11030, and its code.
 */
export const routeGateRule: OpRule<RouteAttributes> = {
  name: 'routeGate',
  infer(inputs) {
    const [z, capacity] = inputs;
    const fits = inputs.length === 2 && isColumn(z, z?.shape[0]) && capacity?.dtype === 'f64' && isList(capacity, 1);
    requireShapes(fits, 'routeGate', 'z [N, 1] and capacity f64 [1]', inputs);
    return [{ dtype: at(inputs, 0).dtype, shape: [size(at(inputs, 0), 0)] }];
  },
  /** A copy of the logits to select from. */
  workspaceBytes: ([z]) => (z ? size(z, 0) * 4 : 0),
  backward({ context, inputs, outputs, attributes, gradients, sinks }) {
    const [dy] = gradients;
    if (dy === undefined || sinks[0] === undefined) return { gradients: [undefined, undefined] };
    const operands = [dy, at(inputs, 0), at(outputs, 0)];
    return { gradients: [at(context.apply(routeGateBackwardRule, operands, attributes, [sinks[0]]), 0), undefined] };
  },
};

/** Gradient of the gate: dz = dgate * gap * p (1 - p) where the token was kept, else 0. Shapes: dgate [N], z [N, 1], gate [N]; dz as z. */
export const routeGateBackwardRule: OpRule<RouteAttributes> = {
  name: 'routeGateBackward',
  infer(inputs) {
    const [dGate, z, gate] = inputs;
    const rows = z?.shape[0];
    const fits = inputs.length === 3 && isColumn(z, rows) && isList(dGate, rows) && isList(gate, rows);
    requireShapes(fits, 'routeGateBackward', 'dgate [N], z [N, 1] and gate [N]', inputs);
    return [at(inputs, 1)];
  },
  accumulates: [0],
};

/** Gate of each token; see the rule. */
export const routeGate = (context: Context, z: Value, capacity: Value, attributes: RouteAttributes): Value =>
  at(context.apply(routeGateRule, [z, capacity], attributes), 0);

/** Every row times its own number: y[i, j] = x[i, j] g[i]. Shapes: x [N, D], g [N], y [N, D]. */
export const scaleRowsRule: OpRule<object> = {
  name: 'scaleRows',
  infer(inputs) {
    const [x, g] = inputs;
    requireShapes(
      inputs.length === 2 && x?.shape.length === 2 && isList(g, x.shape[0]),
      'scaleRows',
      'x [N, D] and g [N]',
      inputs,
    );
    return [at(inputs, 0)];
  },
  inPlace: [[0, 0]],
  accumulates: [0],
  backward({ context, inputs, gradients, sinks }) {
    const [dy] = gradients;
    if (dy === undefined) return { gradients: [undefined, undefined] };
    const [x, g] = [at(inputs, 0), at(inputs, 1)];
    const dg = sinks[1] && at(context.apply(rowDotRule, [dy, x], {}, [sinks[1]]), 0);
    return { gradients: [sinks[0] && at(context.apply(scaleRowsRule, [dy, g], {}, [sinks[0]]), 0), dg] };
  },
};

/** x times g row by row, added to `residual`. */
export const scaleRows = (context: Context, x: Value, g: Value, residual: Value): Value =>
  at(context.apply(scaleRowsRule, [x, g], {}, [{ onto: residual }]), 0);

const isPair = ([a, b]: readonly TensorType[]): boolean =>
  a?.shape.length === 2 && b?.shape.length === 2 && a.shape[0] === b.shape[0] && a.shape[1] === b.shape[1];

/** Inner product of each pair of rows: y[i] = sum_j a[i, j] b[i, j]. Shapes: a, b [N, D], y [N]. Without gradient. */
export const rowDotRule: OpRule<object> = {
  name: 'rowDot',
  infer(inputs) {
    requireShapes(inputs.length === 2 && isPair(inputs), 'rowDot', 'a and b [N, D]', inputs);
    return [{ dtype: at(inputs, 0).dtype, shape: [size(at(inputs, 0), 0)] }];
  },
};

/** How little a branch changes each token: s[i] = cos(x_i, x_i + f_i). Shapes: x, f [N, D], s [N]. Without gradient. */
export const rowSimilarityRule: OpRule<object> = {
  name: 'rowSimilarity',
  infer(inputs) {
    requireShapes(inputs.length === 2 && isPair(inputs), 'rowSimilarity', 'x and f [N, D]', inputs);
    return [{ dtype: at(inputs, 0).dtype, shape: [size(at(inputs, 0), 0)] }];
  },
};

export const rowSimilarity = (context: Context, x: Value, f: Value): Value =>
  at(context.apply(rowSimilarityRule, [x, f], {}), 0);

export interface RoutingLossAttributes {
  /** Factor on the loss, 1 in the paper. */
  readonly coefficient: number;
}

const routingShapes = (inputs: readonly TensorType[]): TensorType[] => {
  const [weights, capacity, ...layers] = inputs;
  const count = layers.length / 2;
  const rows = weights?.shape[0];
  const fits =
    count >= 1 &&
    Number.isInteger(count) &&
    capacity?.dtype === 'f64' &&
    isList(capacity, 1) &&
    layers.slice(0, count).every((z) => isColumn(z, rows)) &&
    layers.slice(count).every((s) => isList(s, rows));
  requireShapes(
    fits,
    'routingLoss',
    'weights [N], capacity f64 [1], logits [N, 1] and similarities [N] of each layer',
    inputs,
  );
  const dtype = at(inputs, 2).dtype;
  return [
    { dtype, shape: [1] },
    { dtype: 'f64', shape: [count] },
  ];
};

/** Similarities of all layers, a copy to select from. */
const routingWorkspace = (inputs: readonly TensorType[]): number =>
  inputs[0] ? size(inputs[0], 0) * ((inputs.length - 2) / 2) * 4 : 0;

/**
 * Teaches routers which tokens a layer changes most: binary cross-entropy of p = sigmoid(z) against labels by similarity.
 *
 * Over all layers together the round(capacity * N * layers) lowest similarities have label 1 (those equal to the last of them, too), the rest 0.
 * total = coefficient * sum_i weights[i] * mean over layers of BCE(p, label); shares[l] = share of layer l's tokens with label 1.
 * Shapes: weights [N], capacity f64 [1], then z [N, 1] of each layer, then s [N] of each layer; total [1], shares f64 [layers].
 * Source: DLO, arXiv 2407.11030, and its code.
 */
export const routingLossRule: OpRule<RoutingLossAttributes> = {
  name: 'routingLoss',
  infer: routingShapes,
  workspaceBytes: routingWorkspace,
  backward({ context, inputs, attributes, gradients, sinks }) {
    if (gradients[0] !== GRADIENT_SEED)
      throw new ShapeError('routingLoss: its total has to be (a summand of) the loss that backward starts from');
    const count = (inputs.length - 2) / 2;
    const destinations = [undefined, undefined, ...sinks.slice(2, 2 + count)];
    const [total, shares, ...dz] = context.apply(routingLossBackwardRule, inputs, attributes, destinations);
    const none = Array.from({ length: count }, () => undefined);
    return {
      gradients: [undefined, undefined, ...dz.map((d, i) => sinks[2 + i] && d), ...none],
      replaces: [total, shares],
    };
  },
};

/** The loss and its gradients: dz = coefficient * weights[i] / layers * (p - label). Outputs: total, shares, then dz of each layer. */
export const routingLossBackwardRule: OpRule<RoutingLossAttributes> = {
  name: 'routingLossBackward',
  infer: (inputs) => [...routingShapes(inputs), ...inputs.slice(2, 2 + (inputs.length - 2) / 2)],
  workspaceBytes: routingWorkspace,
};

/** Loss of the routers of all layers, and the share of label 1 in each; see the rule. */
export function routingLoss(
  context: Context,
  operands: {
    readonly weights: Value;
    readonly capacity: Value;
    readonly layers: readonly { logits: Value; similarity: Value }[];
  },
  attributes: RoutingLossAttributes,
): { total: Value; shares: Value } {
  const { weights, capacity, layers } = operands;
  const inputs = [
    weights,
    capacity,
    ...layers.map(({ logits }) => logits),
    ...layers.map(({ similarity }) => similarity),
  ];
  const [total, shares] = context.apply(routingLossRule, inputs, attributes);
  return { total: total as Value, shares: shares as Value };
}
