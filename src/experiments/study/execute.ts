import { join } from 'node:path';
import { writeFileAtomic } from '../../files/atomic.js';
import {
  forecastSweep,
  type JobResult,
  lastResults,
  runSweep,
  type SweepForecast,
  type SweepJob,
  type SweepOptions,
} from '../sweep/index.js';
import { compareAll, compareBestSize, type Comparison, type Rank, rankArms } from './analyse.js';
import { type EndPoint, readEndPoints } from './end-points.js';
import { expectedFacts, partSize, studyFacts } from './expand.js';
import type { RunFacts } from '../../train/index.js';
import { chosenParts, expand, families, planStudy, type StudyPlan, tunedParts } from './plan.js';
import { type LoadedStudy, settleStudy, type StudyPart } from './schema.js';
import { firstTrials, tune, type Tuned } from './tuning.js';
import { writeUntrained } from './untrained.js';

/** Name of a study's results, or report: parts that were asked for by name have one of their own. */
export const studyFile = (kind: 'results.json' | 'report.html', parts: readonly string[] | undefined): string =>
  parts === undefined || parts.length === 0 ? kind : kind.replace('.', `-${[...parts].sort().join('-')}.`);

/** What a study found, as results.json holds it. */
export interface StudyResults {
  readonly format: 1;
  readonly study: string;
  /** Hash of study.json's values. */
  readonly hash: string;
  readonly hypothesis: string;
  readonly stopRule: string;
  readonly parts: readonly {
    readonly name: string;
    readonly nonEmbeddingParameters: number;
    /** Scratch at C. */
    readonly tokens: number;
    readonly flops: number;
  }[];
  readonly tuning: readonly Tuned[];
  readonly endPoints: readonly EndPoint[];
  /** Arms and controls against scratch of the target's own architecture. */
  readonly comparisons: readonly Comparison[];
  /** Arms against the best scratch size. */
  readonly bestSize: readonly Comparison[];
  readonly ranking: readonly Rank[];
  /** Exact FLOPs of all runs of the study, shared ones once, and those of the tuning apart. */
  readonly cost: { readonly flops: number; readonly tuningFlops: number };
  readonly unfinished: readonly { readonly run: string; readonly status: string; readonly error?: string }[];
}

export interface StudyOptions extends Omit<SweepOptions, 'stamp'> {
  /** Later parts to run instead of those that are run by default. */
  readonly parts?: readonly string[];
  /** What is to be run, as far as it is known: before the first run, and whenever tuning has come further. */
  readonly onPlan?: (plan: StudyPlan) => void;
}

/** What a study will take, before any of it is run. Rates do not change that. */
export function forecastStudy(
  loaded: LoadedStudy,
  out: string,
  names?: readonly string[],
): { forecast: SweepForecast; tuning: SweepForecast; cells: number } {
  const parts = chosenParts(loaded, names);
  const facts = expectedFacts(loaded.study);
  const expansions = expand(loaded, parts, out, [], facts);
  const trials = tunedParts(families(parts, loaded).flat(), loaded).flatMap((part) =>
    firstTrials(loaded, part, out, facts),
  );
  return {
    forecast: forecastSweep(expansions.flatMap(({ forest }) => forest.jobs(out, loaded.hash))),
    tuning: forecastSweep(trials),
    cells: expansions.flatMap(({ cells }) => cells).length,
  };
}

/**
 * Runs what is left of a study and compares what is there: first the tuning, then all arms and controls.
 *
 * @returns What was found; undefined where it was stopped before the tuning ended.
 * @throws InputError where data are missing, or the folder was begun with another study.
 */
export async function runStudy(
  loaded: LoadedStudy,
  out: string,
  options: StudyOptions,
): Promise<StudyResults | undefined> {
  const facts = studyFacts(loaded.study);
  settleStudy(loaded, out);
  const { parts: names, onPlan, ...sweep } = options;
  const chosen = chosenParts(loaded, names);
  // Parts that share trunks are planned together, so that their rates have to be known together.
  const parts = families(chosen, loaded).flat();
  const known = lastResults(out);
  for (const [name, { status }] of known) if (status !== 'done') known.delete(name);
  const run = async (jobs: readonly SweepJob[]): Promise<JobResult[]> => {
    if (onPlan !== undefined) onPlan(await planStudy(loaded, out, names, known));
    const results = await runSweep(jobs, out, { ...sweep, stamp: { study: loaded.hash } });
    for (const result of results) known.set(result.name, result);
    return results;
  };
  const tuned = await tune(loaded, tunedParts(parts, loaded), out, facts, run);
  if (sweep.signal?.aborted === true) return undefined;
  const expansions = expand(loaded, chosen, out, tuned, facts);
  for (const { untrained } of expansions) for (const [folder, model] of untrained) writeUntrained(folder, model, facts);
  const jobs = expansions.flatMap(({ forest }) => forest.jobs(out, loaded.hash));
  const results = await run(jobs);
  const ends = readEndPoints(
    expansions.flatMap(({ cells }) => cells),
    jobs,
  );
  const found = resultsOf(loaded, parts, tuned, ends, jobs, results, facts);
  writeFileAtomic(join(out, studyFile('results.json', names)), `${JSON.stringify(found, null, 1)}\n`);
  return found;
}

function resultsOf(
  { study, hash }: LoadedStudy,
  parts: readonly StudyPart[],
  tuning: readonly Tuned[],
  endPoints: readonly EndPoint[],
  jobs: readonly SweepJob[],
  results: readonly JobResult[],
  facts: RunFacts,
): StudyResults {
  const comparisons = compareAll(endPoints);
  const paid = new Map(results.map(({ name, flopsExact }) => [name, Number(flopsExact ?? 0)]));
  const flops = jobs.reduce(
    (sum, { name, base }) =>
      sum + Math.max(0, (paid.get(name) ?? 0) - (base === undefined ? 0 : (paid.get(base) ?? 0))),
    0,
  );
  const done = new Map(results.map((result) => [result.name, result]));
  return {
    format: 1,
    study: study.name,
    hash,
    hypothesis: study.hypothesis,
    stopRule: study.stopRule,
    parts: parts.map((part) => {
      const { nonEmbedding, tokens, flops: atC } = partSize(study, part, facts);
      return { name: part.name, nonEmbeddingParameters: nonEmbedding, tokens, flops: atC };
    }),
    tuning,
    endPoints,
    comparisons,
    bestSize: compareBestSize(endPoints),
    ranking: rankArms(comparisons),
    cost: { flops, tuningFlops: tuning.reduce((sum, one) => sum + one.flops, 0) },
    unfinished: jobs.flatMap(({ name }) => {
      const result = done.get(name);
      if (result?.status === 'done') return [];
      return [
        {
          run: name,
          status: result?.status ?? 'not run',
          ...(result?.error === undefined ? {} : { error: result.error }),
        },
      ];
    }),
  };
}
