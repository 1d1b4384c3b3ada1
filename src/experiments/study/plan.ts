import { InputError } from '../../errors.js';
import type { RunFacts } from '../../train/index.js';
import { forecastSweep, type JobResult, type SweepJob } from '../sweep/index.js';
import { type Cell, Expansion, expectedFacts } from './expand.js';
import type { LoadedStudy, StudyPart } from './schema.js';
import { ratesOf, tune, type Tuned } from './tuning.js';

/** A run of a study, with what it will take. */
export interface PlannedRun {
  readonly name: string;
  readonly folder: string;
  readonly part: string;
  /** It is a trial of the part's tuning. */
  readonly isTuning: boolean;
  /** The run that has to end before this one. */
  readonly base: string | undefined;
  readonly steps: number;
  /** Exact FLOPs of the run itself. */
  readonly flops: number;
  /** FLOPs of its bases, from which its records count on. */
  readonly flopsBefore: number;
  /** It was done when the plan was made. */
  readonly wasDone: boolean;
}

/** All runs of a study, bases first, as far as they are known. */
export interface StudyPlan {
  readonly runs: readonly PlannedRun[];
  /** End points that are measured. */
  readonly cells: readonly Cell[];
  /** False while tuning may still ask for more trials; rates can part runs that the plan has as one. */
  readonly isTuned: boolean;
}

/** The parts that are meant. Throws InputError where there is no such part. */
export function chosenParts({ study }: LoadedStudy, names: readonly string[] | undefined): StudyPart[] {
  if (names === undefined || names.length === 0) return study.parts.filter(({ later }) => !later);
  return names.map((name) => {
    const found = study.parts.find((part) => part.name === name);
    if (found === undefined)
      throw new InputError(`There is no part "${name}"; there are ${study.parts.map((part) => part.name).join(', ')}.`);
    return found;
  });
}

/** Parts that share trunks: those run by default with each other, each later one only with itself. */
export function families(chosen: readonly StudyPart[], { study }: LoadedStudy): StudyPart[][] {
  const together = study.parts.filter(({ later }) => !later);
  const later = chosen.filter((part) => part.later).map((part) => [part]);
  return chosen.some((part) => !part.later) ? [together, ...later] : later;
}

/** Parts with tuning of their own, and those whose rates others take over. */
export const tunedParts = (parts: readonly StudyPart[], { study }: LoadedStudy): StudyPart[] =>
  study.parts.filter((part) => parts.some(({ name, ratesFrom }) => name === part.name || ratesFrom === part.name));

/** Plans the arms and controls of parts; rates that are not tuned yet stand in by another. */
export function expand(
  loaded: LoadedStudy,
  parts: readonly StudyPart[],
  out: string,
  tuned: readonly Tuned[],
  facts: RunFacts,
): Expansion[] {
  return families(parts, loaded).map((family) => {
    const expansion = new Expansion(loaded.study, out, facts);
    for (const part of family) expansion.add(part, ratesOf(part, tuned));
    return expansion;
  });
}

/**
 * Plans all runs of a study: trials as far as results ask for them, and every arm and control.
 *
 * Writes nothing, and needs neither data nor libtorch.
 *
 * @param known Results by name of run.
 */
export async function planStudy(
  loaded: LoadedStudy,
  out: string,
  names: readonly string[] | undefined,
  known: ReadonlyMap<string, JobResult>,
): Promise<StudyPlan> {
  const chosen = chosenParts(loaded, names);
  const facts = expectedFacts(loaded.study);
  const trials: SweepJob[] = [];
  let isTuned = true;
  const tuned = await tune(loaded, tunedParts(families(chosen, loaded).flat(), loaded), out, facts, (jobs) => {
    trials.push(...jobs);
    const results = jobs.flatMap(({ name }) => known.get(name) ?? []);
    isTuned = results.length === jobs.length;
    return Promise.resolve(results);
  });
  const expansions = expand(loaded, chosen, out, tuned, facts);
  const jobs = expansions.flatMap(({ forest }) => forest.jobs(out, loaded.hash));
  return {
    runs: [...plannedRuns(trials, true, loaded, known), ...plannedRuns(jobs, false, loaded, known)],
    cells: expansions.flatMap(({ cells }) => cells),
    isTuned,
  };
}

function plannedRuns(
  jobs: readonly SweepJob[],
  isTuning: boolean,
  { study }: LoadedStudy,
  known: ReadonlyMap<string, JobResult>,
): PlannedRun[] {
  const parts = study.parts.map(({ name }) => name).sort((a, b) => b.length - a.length);
  const ends = new Map<string, number>();
  return forecastSweep(jobs).runs.map(({ name, base, flops = 0, steps = 0 }, i) => {
    const flopsBefore = base === undefined ? 0 : ends.get(base)!;
    ends.set(name, flopsBefore + flops);
    const part = parts.find((one) => name.startsWith(`${one}.`))!;
    const wasDone = known.get(name)?.status === 'done';
    return { name, folder: jobs[i]!.folder, part, isTuning, base, steps, flops, flopsBefore, wasDone };
  });
}
