import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../errors.js';
import type { Checkpoint } from '../interop/index.js';
import { OPTIMIZER_FILE, readTrainerState, TRAINER_STATE_FILE } from './checkpoint.js';
import type { RunPlan } from './run-plan.js';

/** The optimizer's state of a checkpoint that a run starts from. */
export interface ParentState {
  readonly file: string;
  /** Updates that it has seen. */
  readonly steps: number;
}

/**
 * The optimizer's state that a run takes over from its parent: only where its first growth, or `optimizerState` of the run, says so.
 *
 * @throws InputError where it is asked for and the parent has none.
 */
export function parentState(plan: RunPlan, parent: Checkpoint | undefined): ParentState | undefined {
  const [first] = plan.stages;
  const treatment = first?.kind === 'grow' ? first.config.optimizerState : plan.config.optimizerState;
  if (parent === undefined || treatment === undefined || treatment === 'fresh') return undefined;
  const file = join(parent.folder, OPTIMIZER_FILE);
  if (!existsSync(file) || !existsSync(join(parent.folder, TRAINER_STATE_FILE)))
    throw new InputError(
      `${parent.folder}: optimizerState "${treatment}" needs a run's checkpoint with ${OPTIMIZER_FILE}; use fresh.`,
    );
  return { file, steps: readTrainerState(parent.folder).optimizerStep };
}
