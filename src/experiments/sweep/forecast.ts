import { factsOf, openData, planRun, type RunFacts, type RunPlan } from '../../train/index.js';
import { InputError } from '../../errors.js';
import type { SweepJob } from './spec.js';

/** What one run of a sweep will take. */
export interface JobForecast {
  readonly name: string;
  readonly kind: SweepJob['kind'];
  readonly base: string | undefined;
  readonly coordinates: SweepJob['coordinates'];
  /** Exact FLOPs of the run itself, the base not counted again; undefined where only a loss ends it. */
  readonly flops: number | undefined;
  readonly steps: number | undefined;
  readonly parameters: number;
  /** Bytes of the checkpoints that are kept at the end, and one more that is being written. */
  readonly diskBytes: number;
}

/** What a sweep will take. */
export interface SweepForecast {
  readonly runs: readonly JobForecast[];
  readonly flops: number | undefined;
  readonly diskBytes: number;
}

const FLOAT_BYTES = 4;

/**
 * Derives FLOPs and disk of every run. Needs no libtorch, and no data where configs name the vocabulary's size.
 *
 * @throws InputError naming run and field where a config does not fit together.
 */
export function forecastSweep(jobs: readonly SweepJob[]): SweepForecast {
  const plans = new Map<string, RunPlan>();
  const runs = jobs.map((job): JobForecast => {
    const base = job.base === undefined ? undefined : plans.get(job.base)!;
    const parent = base === undefined ? job.parent : parentOf(base);
    const plan = planRun(job.loaded, { ...dataFacts(job), ...(parent === undefined ? {} : { parent }) });
    plans.set(job.name, plan);
    const own = plan.totals && plan.totals.ledger.exact - (base?.totals?.ledger.exact ?? 0n);
    return {
      name: job.name,
      kind: job.kind,
      base: job.base,
      coordinates: job.coordinates,
      flops: own === undefined ? undefined : Number(own),
      steps: plan.totals?.steps,
      parameters: plan.stages.at(-1)!.counts.total,
      diskBytes: diskBytes(plan),
    };
  });
  const isKnown = runs.every(({ flops }) => flops !== undefined);
  return {
    runs,
    flops: isKnown ? runs.reduce((sum, { flops }) => sum + flops!, 0) : undefined,
    diskBytes: runs.reduce((sum, run) => sum + run.diskBytes, 0),
  };
}

/** Facts of the data, where they are there already. */
function dataFacts({ loaded }: SweepJob): RunFacts {
  try {
    const data = openData(loaded.config);
    try {
      return factsOf(data, undefined);
    } finally {
      data.close();
    }
  } catch (error) {
    if (error instanceof InputError) return {};
    throw error;
  }
}

function parentOf(base: RunPlan): NonNullable<RunFacts['parent']> {
  const { totals, stages } = base;
  if (totals === undefined)
    throw new InputError(`Base "${base.config.name}": expected a limit in tokens, steps or FLOPs in every stage.`);
  return { config: stages.at(-1)!.model, ledger: totals.ledger, flopsKnown: true };
}

/** Weights and two moments in float32, for every checkpoint that stays, at the largest model's size. */
function diskBytes({ config, stages }: RunPlan): number {
  const largest = Math.max(...stages.map(({ counts }) => counts.total));
  const released = stages.filter((stage) => stage.kind === 'train' && stage.config.release).length;
  return (config.checkpoints.keepLast + released + 1) * 3 * FLOAT_BYTES * largest;
}
