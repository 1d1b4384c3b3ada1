import { at, requireShapes, size } from './check.js';
import type { RouteAttributes } from './routing.js';
import type { Context, OpRule, TensorType, Value } from './types.js';

export interface RoutedFeedForwardAttributes extends RouteAttributes {
  /** Epsilon of the norm before the branch. */
  readonly eps: number;
}

/**
 * A gated feed-forward branch that is computed only for the tokens whose router says so (p = sigmoid(z) >= 1/2): all others pass unchanged.
 *
 * y_i = x_i + down(silu(gate) * up) * (scale / 2 + (p_i - 1/2) * gap), gate and up of rmsNorm(x_i); computed[i] is 1 or 0. The rows that are computed
 * are packed first, so that the matrix products have no other rows. FLOPs are those of all tokens: the most it can cost. Without gradient.
 * Shapes: x [N, D], z [N, 1], gain [D], gateUp [2F, D], down [D, F]; y [N, D], computed i32 [N]. Source: DLO, arXiv 2407.11030.
 */
export const routedFeedForwardRule: OpRule<RoutedFeedForwardAttributes> = {
  name: 'routedFeedForward',
  infer(inputs) {
    const [x, z, gain, gateUp, down] = inputs;
    const fits =
      inputs.length === 5 &&
      x?.shape.length === 2 &&
      z?.shape[0] === x.shape[0] &&
      z?.shape[1] === 1 &&
      gain?.shape[0] === x.shape[1] &&
      gateUp?.shape[1] === x.shape[1] &&
      down?.shape[0] === x.shape[1] &&
      gateUp?.shape[0] === 2 * (down?.shape[1] ?? 0);
    requireShapes(fits, 'routedFeedForward', 'x [N, D], z [N, 1], gain [D], gateUp [2F, D], down [D, F]', inputs);
    return [at(inputs, 0), { dtype: 'i32', shape: [size(at(inputs, 0), 0)] }];
  },
  workspaceBytes: (inputs) => routedWorkspace(inputs).bytes,
  flops: ([x, , , , down]) => (x && down ? 6 * size(x, 0) * size(down, 0) * size(down, 1) : 0),
};

/** Byte offsets of what the fused kernel packs: rows, what gate and up give, the branch's outputs, rows' places and factors. */
export function routedWorkspace([x, , , , down]: readonly TensorType[]): {
  readonly gateUp: number;
  readonly inner: number;
  readonly places: number;
  readonly factors: number;
  readonly bytes: number;
} {
  const [rows, columns, ffn] = x && down ? [size(x, 0), size(x, 1), size(down, 1)] : [0, 0, 0];
  const align = (bytes: number): number => Math.ceil(bytes / 64) * 64;
  const gateUp = align(4 * rows * columns);
  const inner = gateUp + align(8 * rows * ffn);
  const places = inner + align(4 * rows * ffn);
  const factors = places + align(8 * rows);
  return { gateUp, inner, places, factors, bytes: factors + align(4 * rows) };
}

/** Output of the branch added to x, and which tokens were computed; see the rule. */
export function routedFeedForward(
  context: Context,
  operands: { x: Value; z: Value; gain: Value; gateUp: Value; down: Value },
  attributes: RoutedFeedForwardAttributes,
): { y: Value; computed: Value } {
  const { x, z, gain, gateUp, down } = operands;
  const [y, computed] = context.apply(routedFeedForwardRule, [x, z, gain, gateUp, down], attributes);
  return { y: y as Value, computed: computed as Value };
}
