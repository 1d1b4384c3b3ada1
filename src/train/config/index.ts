export { loadConfig, type LoadedConfig, loadRecipe, parseConfig } from './load.js';
export { parseQuantity, stepsOf } from './quantity.js';
export { type RoutingConfig, routingSchema } from './routing.js';
export {
  type ExternalConfig,
  externalSchema,
  type GrowStageConfig,
  type OptimizerConfig,
  optimizerSchema,
  type RunConfig,
  type RunConfigInput,
  runNameSchema,
  runSchema,
  type ScheduleConfig,
  type Trainable,
  type TrainStageConfig,
  type Until,
} from './schema.js';
export { applySetting } from './set.js';
export { dotPath, type Locate, type Path, validate } from './validate.js';
