import type { FlopLedger } from '../planner/index.js';
import type { EvalRecord, GrowthRecord, TrainRecord, ValidationRecord } from '../records/index.js';
import type { ObjectiveState } from './objective/index.js';
import type { RunPlan } from './run-plan.js';

/** Where a run stands. Everything that a resumed run must know is here or in the weights. */
export interface Progress {
  stageIndex: number;
  stageStep: number;
  /** Steps that the stage will have; Infinity where only a loss ends it. */
  stageSteps: number;
  /** Optimizer steps of the whole run. */
  step: number;
  /** Sequences that the whole run consumed. */
  sequences: number;
  /** Updates that the optimizer's moments have seen. */
  optimizerStep: number;
  /** Step at which the present learning-rate schedule began; later than that where it goes on from a stage before. */
  scheduleStart: number;
  ledger: FlopLedger;
  /** What the last step of a robust objective hands on. */
  objective?: ObjectiveState | undefined;
  /** Share of the tokens that each routed layer keeps in the next step. */
  capacities?: readonly number[] | undefined;
  /** Last validation loss of the stage. */
  validationLoss: number | undefined;
}

/** What a run tells while it goes. */
export interface RunCallbacks {
  /** Before the first step of this process; `resumedAt` is the step of the checkpoint that it goes on from. */
  onStart?(plan: RunPlan, resumedAt: number | undefined): void;
  onStep?(record: TrainRecord, progress: Readonly<Progress>): void;
  onValidation?(record: ValidationRecord): void;
  onEvaluation?(record: EvalRecord): void;
  /** While a growth learns: steps done, of how many, and the loss of the last. */
  onLearning?(operator: string, done: number, total: number, loss: number): void;
  onGrowth?(record: GrowthRecord): void;
  onCheckpoint?(folder: string): void;
  /** Another trainer begins with a stage; its output goes to the file `log`. */
  onExternal?(stage: string, command: string, log: string): void;
  /** A sentence that people should see. */
  onWarning?(sentence: string): void;
}
