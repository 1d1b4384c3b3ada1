import { at, requireShapes, size } from './check.js';
import { chunkRows, type LogitAttributes } from './linear-cross-entropy.js';
import type { Context, OpRule, Value } from './types.js';

/**
 * Head and log-probabilities of given tokens: what scoring needs of the logits, which exist for one chunk of rows at a time.
 *
 * With z = x w^T: logProbs[i] = z_i,target - log sum_j exp(z_ij), best[i] = the first j with the largest z_ij, bestLogProbs[i] its log-probability.
 * Where the target is the best token both are the same number. Shapes: x [N, D], w [V, D], targets i32 [N]; logProbs [N], best i32 [N], bestLogProbs [N].
 */
export const tokenScoresRule: OpRule<LogitAttributes> = {
  name: 'tokenScores',
  infer(inputs) {
    const [x, w, targets] = inputs;
    const fits = x?.shape[1] === w?.shape[1] && targets?.dtype === 'i32' && targets.shape[0] === x?.shape[0];
    requireShapes(fits && inputs.length === 3, 'tokenScores', 'x [N, D], w [V, D], targets i32 [N]', inputs);
    const dtype = at(inputs, 0).dtype === 'f64' ? 'f64' : 'f32';
    const shape = [size(at(inputs, 0), 0)];
    return [
      { dtype, shape },
      { dtype: 'i32', shape },
      { dtype, shape },
    ];
  },
  workspaceBytes: ([x, w]) =>
    x && w ? chunkRows(size(x, 0), size(w, 0)) * size(w, 0) * (x.dtype === 'f64' ? 8 : 4) : 0,
  flops: ([x, w]) => (x && w ? 2 * size(x, 0) * size(x, 1) * size(w, 0) : 0),
};

/** Log-probabilities of targets and of the best tokens; see the rule. */
export function tokenScores(
  context: Context,
  x: Value,
  w: Value,
  targets: Value,
  attributes: LogitAttributes = {},
): { logProbs: Value; best: Value; bestLogProbs: Value } {
  const [logProbs, best, bestLogProbs] = context.apply(tokenScoresRule, [x, w, targets], attributes);
  return { logProbs: logProbs as Value, best: best as Value, bestLogProbs: bestLogProbs as Value };
}
