export { loadConfig, type LoadedConfig, loadRecipe, parseConfig } from './load.js';
export { parseQuantity, stepsOf } from './quantity.js';
export {
  type ExternalConfig,
  type GrowStageConfig,
  type OptimizerConfig,
  type RunConfig,
  type RunConfigInput,
  runSchema,
  type ScheduleConfig,
  type Trainable,
  type TrainStageConfig,
  type Until,
} from './schema.js';
export { applySetting } from './set.js';
export { dotPath, type Locate, type Path, validate } from './validate.js';
