export { type ComparablePlan, diffPlans, type PlanDifference } from './diff.js';
export { compile, type TensorSource, wholeTensor } from './evaluate.js';
export { executePlan, memorySource, storedSpecs, type TensorSink } from './execute.js';
export { type Expression, shapeOf, sourcesOf } from './expression.js';
export { appendLayers } from './folder/append-layers.js';
export { executeOnFolder, type FolderOptions, type FolderResult } from './folder/execute.js';
export { sourceFingerprint } from './folder/journal.js';
export { formatExpression, formatLayers, planDocument } from './format.js';
export {
  describeOperator,
  describeOptions,
  operatorPage,
  operatorPages,
  type OptionDescription,
} from './operator-page.js';
export { GROWTH_FILE } from './folder/describe.js';
export { addedLayers, countUses, mapOf, momentTensors } from './moments.js';
export { defineOperator, type OperatorDefinition, type OperatorRequest } from './operator.js';
export * from './plan.js';
export { initialParameter, type Prepare, type PrepareInitial, type PrepareParameter } from './prepare.js';
export { operatorOf, operators } from './registry.js';
export { commonOptions, composePlans, type GrowthRequest, planGrowth } from './request.js';
export type { TargetSizes } from './target.js';
