export { compareExponents, type ExponentComparison, type ExponentFit } from './exponents.js';
export { compareArms, rankArms, type ArmComparison, type ArmRank } from './arms.js';
export { compareRuns, type Comparison } from './compare.js';
export { compareEndPoints, compareGroups, speedupInterval, type GroupComparison } from './groups.js';
export { isAnnealed } from './annealed.js';
export {
  compareCurves,
  comparePair,
  totalFlops,
  type CompareMode,
  type Conventions,
  type EqualLoss,
  type PairComparison,
  type SpeedupPoint,
} from './pair.js';
export {
  costAt,
  crossing,
  runningMinimum,
  trainingCurve,
  validationCurve,
  type LossCurve,
  type LossPoint,
} from './curve.js';
