import { weightSize, type WeightSpec } from '../architecture/index.js';
import { NEWTON_SCHULZ } from '../ops/index.js';
import { isHiddenMatrix } from './step-programs.js';

/**
 * FLOPs of one update by Muon: per trained matrix with sides s <= l and per step of the iteration, the Gram matrix 2 s^2 l, its square 2 s^3, and
 * the product with the matrix 2 s^2 l.
 */
export function muonFlopsPerUpdate(specs: readonly WeightSpec[], isTrained: (spec: WeightSpec) => boolean): bigint {
  return specs
    .filter((spec) => isHiddenMatrix(spec) && isTrained(spec))
    .reduce((sum, spec) => {
      const short = Math.min(...spec.axes.map(({ size }) => size));
      const long = weightSize(spec) / short;
      return sum + BigInt(NEWTON_SCHULZ.steps) * (4n * BigInt(short) ** 2n * BigInt(long) + 2n * BigInt(short) ** 3n);
    }, 0n);
}
