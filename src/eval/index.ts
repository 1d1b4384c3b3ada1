export { type EvaluationCallback, evaluationCallback, type EvaluationOptions } from './callback.js';
export type { TaskDocument } from './data/documents.js';
export { type LoadedTask, loadTask, type LoadOptions } from './data/load.js';
export {
  type AddBos,
  cutRequest,
  type EncodedRequest,
  encodeRequest,
  encodeText,
  prefixToken,
  rollingWindows,
  type TokenRequest,
} from './encode.js';
export {
  encodeTask,
  type EncodedTask,
  type EvaluateOptions,
  evaluateTask,
  scoreTask,
  type TaskResult,
} from './evaluate.js';
export { chanceOf, type JudgedDocument, type TaskMetrics } from './judge.js';
export type { Metric } from './metrics.js';
export { type GroupedRequest } from './pack.js';
export { comparePaired, type PairedComparison, readPair, readSamples, type TaskSamples } from './paired.js';
export { evalRecords, type RunPosition } from './records.js';
export { averageAccuracy, type EvaluationFacts, harnessLayout, PAPER_TASKS, sampleLines } from './results.js';
export { ModelScorer, type Score, type Scorer } from './scorer.js';
export { parseTasks, taskGroups, tasks } from './tasks/registry.js';
export type { Task } from './tasks/types.js';
export { type Agreement, type AgreementOptions, measureAgreement } from './agreement/agreement.js';
export {
  type AttentionOptions,
  type AttentionReport,
  type HeadAttention,
  type LayerAttention,
  measureAttention,
} from './attention/measure.js';
export {
  compareMeanField,
  type MeanFieldOptions,
  type MeanFieldReport,
  type SharedAxis,
  type SpreadComparison,
} from './meanfield/compare.js';
