import { measureAgreement } from '../eval/index.js';
import { loadModel } from '../infer/index.js';
import type { RunContext } from './context.js';
import { openReference } from './objective/index.js';
import type { TrainStage } from './run-plan.js';
import type { TrainingSession } from './session.js';

/**
 * Records how alike a released model and the one released before it predict held-out text, where the config asks for it.
 *
 * The model before is the first argument of the divergence: KL(small || next).
 */
export async function recordAgreement(run: RunContext, stage: TrainStage, session: TrainingSession): Promise<void> {
  const { agreement: tokens } = run.plan.config;
  const { stageStep, stageSteps } = run.progress;
  if (tokens === undefined || !stage.config.release || stageStep !== stageSteps) return;
  const before = run.plan.stages.findLast(
    (other) => other.kind === 'train' && other.config.release && other.index < stage.index,
  );
  if (before === undefined) return;
  using checkpoint = openReference({ kind: 'stage', stage: before.name }, run.folder);
  using smaller = loadModel(checkpoint.folder);
  const found = await measureAgreement(smaller, session.model, run.data.validation, { tokens });
  run.record({ kind: 'agreement', stage: stage.name, with: before.name, step: run.progress.step, ...found });
}
