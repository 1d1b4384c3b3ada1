export {
  applySetting,
  externalSchema,
  type GrowStageConfig,
  loadConfig,
  type LoadedConfig,
  loadRecipe,
  optimizerSchema,
  parseConfig,
  parseQuantity,
  type RunConfig,
  type RunConfigInput,
  runNameSchema,
  runSchema,
  type TrainStageConfig,
} from './config/index.js';
export { type FolderLearned, type FolderPreparation, prepareOnFolder } from './prepare-folder.js';
export { type DryRun, dryRun, type DryRunStage } from './dry-run.js';
export { hasEngine } from './engine.js';
export { HandedOver } from './external/index.js';
export { Interruption } from './interruption.js';
export { type ScoreOptions, type ScoreResult, scoreData } from './objective/score.js';
export { type ReleasedMember, releasedMembers } from './released.js';
export { planRun } from './plan.js';
export type { RunFacts, RunPlan, Stage } from './run-plan.js';
export type { Progress, RunCallbacks } from './progress.js';
export type { ProfiledOp, ProfileSummary } from './profile.js';
export { openData, type RunData } from './data.js';
export { factsOf, runFolder, type RunOptions, type RunResult, runTraining } from './run.js';
export { differences } from './run-folder.js';
export { train, type TrainOptions } from './train.js';
