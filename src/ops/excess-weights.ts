import { at, requireShapes, size } from './check.js';
import type { Context, OpRule, Value } from './types.js';

/** What the scalars of `excessWeights` mean, in order; `inverseTau` 0 weighs all items alike. CVaR needs none of them. */
export const EXCESS_SCALARS = ['inverseTau', 'logNormaliser'] as const;

/** What `sums` holds, in order; each is a sum over items of their shares times the value. */
export const EXCESS_SUMS = ['weight', 'loss', 'excess', 'weightedExcess'] as const;

export interface ExcessWeightsAttributes {
  readonly kind: 'kl' | 'cvar';
  /** Tokens of an item: 1 weighs each token, the sequence's length whole sequences. */
  readonly group: number;
  /** Excess losses count as at most this, and at least its negative, in nats. */
  readonly clip: number;
  /** CVaR: share of the items that is kept. */
  readonly alpha: number;
}

/**
 * Weights of a batch by loss in excess of a reference model's: distributionally robust optimisation with a reference (DRRho, arXiv 2505.06699).
 *
 * An item's excess r is the mean of loss - reference over its tokens by their shares, clipped. `kl`: w = exp(r * inverseTau - logNormaliser);
 * `cvar`: w = 1/kept for the ceil(alpha * items) items of largest r (the first of equals), else 0, so that the mean weight is one. An item
 * without shares has no weight and does not count. Outputs: weights[i] = shares[i] * w, and sums by `EXCESS_SUMS`. No gradient: weights are
 * constants of a step. Shapes: losses, reference, shares [N], scalars f64 [2] -> weights [N], sums f64 [4].
 */
export const excessWeightsRule: OpRule<ExcessWeightsAttributes> = {
  name: 'excessWeights',
  infer(inputs, { group }) {
    const [losses, reference, shares, scalars] = inputs;
    const rows = losses?.shape[0];
    const fits =
      inputs.length === 4 &&
      rows !== undefined &&
      rows % group === 0 &&
      reference?.shape[0] === rows &&
      shares?.shape[0] === rows &&
      scalars?.dtype === 'f64' &&
      scalars.shape[0] === EXCESS_SCALARS.length;
    requireShapes(fits, 'excessWeights', `losses, reference, shares [N], N a multiple of ${group}, f64 [2]`, inputs);
    return [at(inputs, 0), { dtype: 'f64', shape: [EXCESS_SUMS.length] }];
  },
  /** Excess of every item, and a copy to select from. */
  workspaceBytes: ([losses], { group }) => (losses ? (size(losses, 0) / group) * 16 : 0),
};

/** Weights by excess loss, and their sums; see the rule. */
export function excessWeights(
  context: Context,
  operands: { losses: Value; reference: Value; shares: Value; scalars: Value },
  attributes: ExcessWeightsAttributes,
): { weights: Value; sums: Value } {
  const { losses, reference, shares, scalars } = operands;
  const [weights, sums] = context.apply(excessWeightsRule, [losses, reference, shares, scalars], attributes);
  return { weights: weights as Value, sums: sums as Value };
}
