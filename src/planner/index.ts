export { DEFAULT_MFU, devices, type Device } from './devices.js';
export {
  FlopLedger,
  forwardFlopsPerToken,
  trainingFlopsPerToken,
  type FlopsPerToken,
  type LedgerTotals,
} from './ledger.js';
export { trainingMemory, type MemoryOptions, type TrainingMemory } from './memory.js';
export { expectedSpeedup, type ExpectedSpeedup } from './published.js';
export { shapeFor, type ShapeChoice } from './shapes.js';
export {
  FALLBACK_GROWTH_SHARE,
  fittedGrowthFactor,
  growthTokens,
  inFittedRange,
  MAX_GROWTH_SHARE,
  PAPER_GROWTH_FACTOR,
  paperTiming,
  type TimingConstants,
} from './timing.js';
export { readTimingConstants, timingConstantsSchema } from './constants.js';
export { makePlan, type Plan, type PlannedTime, type PlanRequest, type StageFlops } from './plan.js';
export { planToRunConfig, planToYaml, type RunConfigOptions } from './run-config.js';
export { fitRuns, readFit, type FitFile, type IsoFlopFit, type SizeFit } from './fit/index.js';
