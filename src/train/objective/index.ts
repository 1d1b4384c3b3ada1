export { addWork, planObjective, type ObjectivePlan } from './plan.js';
export { modelHash, openReference } from './reference.js';
export { ReferenceModel } from './reference-model.js';
export type { ObjectiveState, RobustRecord } from './robust.js';
