export { compile, type TensorSource, wholeTensor } from './evaluate.js';
export { executePlan, memorySource, storedSpecs, type TensorSink } from './execute.js';
export { type Expression, shapeOf, sourcesOf } from './expression.js';
export { addedLayers, momentTensors } from './moments.js';
export { defineOperator, type OperatorDefinition, type OperatorRequest } from './operator.js';
export * from './plan.js';
export { operatorOf, operators } from './registry.js';
export { commonOptions, composePlans, type GrowthRequest, planGrowth } from './request.js';
export type { TargetSizes } from './target.js';
