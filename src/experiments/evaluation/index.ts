export {
  evaluate,
  type EvaluateOptions,
  type Evaluation,
  evaluateCheckpoints,
  type StepEvaluation,
} from './evaluate.js';
