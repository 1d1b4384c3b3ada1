import { join } from 'node:path';
import { writeFileAtomic } from '../../files/atomic.js';
import { planJobs, runSweep, type JobResult, type SweepOptions } from '../sweep/index.js';
import { type MeasuredCost, measuredCost } from './measure.js';
import { spearman } from './spearman.js';
import { type Fidelity, fidelityName, type TunePlan } from './spec.js';

/** A config at a fidelity. */
export interface Trial {
  readonly config: number;
  readonly values: TunePlan['configs'][number];
  readonly run: string;
  readonly status: JobResult['status'];
  /** Last validation loss; undefined where the run failed, which ranks it last. */
  readonly loss?: number;
  readonly error?: string;
}

/** What came of one fidelity. */
export interface Rung {
  readonly fidelity: Fidelity;
  /** The fidelity in words. */
  readonly label: string;
  /** Best first. */
  readonly trials: readonly Trial[];
  /** Configs that went on. */
  readonly kept: readonly number[];
  /** What a step cost, as it was forecast and as it was measured, where a run of this fidelity says so. */
  readonly cost: MeasuredCost | undefined;
}

/** How well one fidelity ranks configs as another does. */
export interface Correlation {
  readonly low: number;
  readonly high: number;
  /** Configs that ran to their end at both. */
  readonly configs: number;
  readonly spearman: number;
}

/** What a search came to. */
export interface TuneResult {
  readonly name: string;
  readonly stage: string;
  /** What was searched over, by path. */
  readonly space: TunePlan['space'];
  /** Whether every fidelity has run; false where the search was stopped. */
  readonly complete: boolean;
  readonly rungs: readonly Rung[];
  readonly correlations: readonly Correlation[];
  readonly winner: Trial | undefined;
  /** Exact FLOPs of all runs, a shared base counted once. */
  readonly flops: number;
  /** Exact FLOPs of all configs at the last fidelity, by those that ran there, and of a shared base. */
  readonly flopsWithoutHalving: number | undefined;
}

/** Summary of a search in its folder; records of every run are in sweep.jsonl beside it. */
export const TUNE_FILE = 'tune.json';

/**
 * Searches: every config at the first fidelity, the best of them at the next, and so on (successive halving, Jamieson and Talwalkar,
 * arXiv 1502.07943; trained last layers as fidelity: arXiv 2504.10735).
 *
 * Each trial is a run of its own, so that the same call goes on where it was stopped.
 *
 * @returns What is known so far where `signal` stopped it.
 */
export async function runTune(plan: TunePlan, source: string, out: string, options: SweepOptions): Promise<TuneResult> {
  const rungs: Rung[] = [];
  let configs = plan.configs.map((_config, i) => i);
  let [flops, last] = [0, { flops: 0, runs: 0, base: 0 }];
  for (let fidelity = 0; fidelity < plan.fidelities.length && options.signal?.aborted !== true; fidelity++) {
    const results = await runSweep(jobsOf(plan, source, out, fidelity, configs), out, options);
    const cells = results.filter(({ role }) => role === 'cell');
    const base = results.find(({ role }) => role === 'base');
    const baseFlops = Number(base?.flopsExact ?? 0);
    const spent = cells.reduce((sum, { flopsExact }) => sum + ownFlops(flopsExact, baseFlops), 0);
    flops += spent + (fidelity === 0 ? baseFlops : 0);
    last = { flops: spent, runs: cells.filter(({ flopsExact }) => flopsExact !== undefined).length, base: baseFlops };
    const trials = configs.flatMap((config) => {
      const result = cells.find(({ coordinates }) => coordinates['config'] === config);
      return result === undefined ? [] : [trialOf(plan, config, result)];
    });
    trials.sort((a, b) => lossOf(a) - lossOf(b));
    const survivors = trials.filter(({ status }) => status === 'done').map(({ config }) => config);
    configs = survivors.slice(0, plan.fidelities[fidelity]!.keep).sort((a, b) => a - b);
    const best = cells.find(({ status }) => status === 'done');
    rungs.push({
      fidelity: plan.fidelities[fidelity]!,
      label: fidelityName(plan.fidelities[fidelity]!),
      trials,
      kept: configs,
      cost: best === undefined ? undefined : measuredCost(best.folder, plan.stage),
    });
  }
  const complete = rungs.length === plan.fidelities.length && options.signal?.aborted !== true;
  const result: TuneResult = {
    name: plan.name,
    stage: plan.stage,
    space: plan.space,
    complete,
    rungs,
    correlations: correlationsOf(rungs),
    winner: complete ? rungs.at(-1)?.trials.find(({ status }) => status === 'done') : undefined,
    flops,
    flopsWithoutHalving:
      complete && last.runs > 0 ? last.base + (last.flops / last.runs) * plan.configs.length : undefined,
  };
  writeFileAtomic(join(out, TUNE_FILE), `${JSON.stringify(result, null, 1)}\n`);
  return result;
}

/** The runs of one fidelity. */
export function jobsOf(plan: TunePlan, source: string, out: string, fidelity: number, configs: readonly number[]) {
  const cells = configs.map((config) => ({
    name: `f${fidelity + 1}-${String(config).padStart(3, '0')}`,
    ...(plan.base === undefined ? {} : { base: 'base' }),
    coordinates: { config, fidelity: fidelity + 1 },
    run: plan.runOf(config, fidelity),
  }));
  const bases = plan.base === undefined ? {} : { bases: { base: plan.base } };
  return planJobs({ name: plan.name, ...bases, cells }, source, out).jobs;
}

const lossOf = ({ loss }: Trial): number => (loss === undefined || Number.isNaN(loss) ? Infinity : loss);

const ownFlops = (exact: string | undefined, base: number): number => Math.max(0, Number(exact ?? base) - base);

const trialOf = (plan: TunePlan, config: number, result: JobResult): Trial => ({
  config,
  values: plan.configs[config]!,
  run: result.name,
  status: result.status,
  ...(result.validationLoss === undefined ? {} : { loss: result.validationLoss }),
  ...(result.error === undefined ? {} : { error: result.error }),
});

/** Every pair of fidelities, over the configs that ran at both: halving leaves fewer and better ones, which lowers what can be seen. */
function correlationsOf(rungs: readonly Rung[]): Correlation[] {
  return rungs.flatMap((lower, low) =>
    rungs.slice(low + 1).map((upper, i) => {
      const losses = new Map(lower.trials.map((trial) => [trial.config, trial.loss]));
      const both = upper.trials.filter(({ config, loss }) => loss !== undefined && losses.get(config) !== undefined);
      const rho = spearman(
        both.map(({ config }) => losses.get(config)!),
        both.map(({ loss }) => loss!),
      );
      return { low: low + 1, high: low + 2 + i, configs: both.length, spearman: rho };
    }),
  );
}
