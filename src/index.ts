export { growthFactor, type ModelConfig, preset, presetNames } from './architecture/index.js';
export {
  type BuildOptions,
  type BuildResult,
  buildDataset as buildData,
  loadTokenizer,
  openDataset,
  trainTokenizer,
  type TrainTokenizerOptions,
} from './data/index.js';
export { hasFastBf16 } from './engine/device.js';
export { InputError, WorkError } from './errors.js';
export type { Comparison } from './experiments/compare/index.js';
export { evaluate, type EvaluateOptions, type Evaluation } from './experiments/evaluation/index.js';
export { appendLayers, operators, type Plan, planGrowth } from './growth/index.js';
export { type Checkpoint, openCheckpoint } from './interop/index.js';
export { compare, report } from './library.js';
export { readRun, type Run, type RunRecord } from './records/index.js';
export {
  type DryRun,
  dryRun,
  Interruption,
  loadConfig,
  parseConfig,
  type RunCallbacks,
  type RunConfig,
  type RunConfigInput as RunInput,
  type RunResult,
  train,
  type TrainOptions,
} from './train/index.js';
export { version } from './version.js';
export { grid, type Sweep, type SweepCell } from './experiments/sweep/index.js';
export { type StudyInput } from './experiments/study/index.js';
