import { InputError } from '../../errors.js';
import type { Run } from '../../records/index.js';
import { isAnnealed } from './annealed.js';
import { compareArms, type ArmComparison, type ArmRank } from './arms.js';
import { compareGroups, compareWith, seedOf, type GroupComparison } from './groups.js';
import { type CompareMode, type Conventions, type PairComparison } from './pair.js';

/** What `strata compare --json` prints. */
export interface Comparison {
  readonly baseline: string;
  readonly mode: CompareMode;
  readonly runs: readonly Omit<PairComparison, 'conventions'>[];
  /** All runs together, where they differ in their seed alone. */
  readonly groups?: GroupComparison;
  /** Where they do not: each arm, best first, and what paired tests say of their order. */
  readonly arms?: readonly ArmComparison[];
  readonly ranking?: readonly ArmRank[];
  readonly conventions: readonly Conventions[];
  /** What a reader has to know before believing the figures. */
  readonly notes: readonly string[];
}

/** Below this many tokens a parameter, growth looks better than it is (the compute-optimal ratio of Hoffmann et al. 2022, arXiv 2203.15556). */
const LONG_ENOUGH = 20;

/**
 * Compares runs with a baseline: FLOPs to equal validation loss, the base models' training included.
 *
 * @param grouped Compare groups paired by seed as well.
 * @throws InputError where the runs were validated on different data.
 */
export function compareRuns(
  baselines: readonly Run[],
  runs: readonly Run[],
  options: { mode?: CompareMode; grouped?: boolean } = {},
): Comparison {
  const [baseline] = baselines;
  if (baseline === undefined) throw new InputError('There is no baseline to compare with.');
  const mode = options.mode ?? 'validation';
  refuseOtherValidationData([...baselines, ...runs]);
  const grouped = options.grouped === true;
  const pairs = runs.map((run) => compareWith(grouped ? partnersOf(run, baselines) : [baseline], run, mode));
  const arms = grouped ? compareArms(baselines, runs, mode) : undefined;
  return {
    baseline: grouped ? baselines.map(({ name }) => name).join(', ') : baseline.name,
    mode,
    runs: pairs.map(({ conventions: _, ...pair }) => pair),
    ...(grouped && arms === undefined ? { groups: compareGroups(baselines, runs, mode) } : {}),
    ...arms,
    conventions: pairs.flatMap(({ conventions }) => conventions ?? []),
    notes: notesOn(baseline, runs, mode),
  };
}

/** Baselines with the run's seed, or else the first. */
function partnersOf(run: Run, baselines: readonly Run[]): readonly Run[] {
  const partners = baselines.filter((other) => seedOf(other) !== undefined && seedOf(other) === seedOf(run));
  return partners.length > 0 ? partners : baselines.slice(0, 1);
}

/** Losses on different texts, or of different tokenizers, cannot be compared. */
function refuseOtherValidationData(runs: readonly Run[]): void {
  const known = runs.filter((run) => run.manifest?.data.validation?.hash !== undefined);
  const [first] = known;
  const other = known.find((run) => run.manifest?.data.validation?.hash !== first?.manifest?.data.validation?.hash);
  if (first === undefined || other === undefined) return;
  const describe = (run: Run): string =>
    `${run.name} on ${run.manifest?.data.validation?.path} (data.validation.hash ${run.manifest?.data.validation?.hash?.slice(0, 12)})`;
  throw new InputError(
    `The runs were validated on different data, so their losses cannot be compared: ${describe(first)}, ${describe(other)}.`,
  );
}

function notesOn(baseline: Run, runs: readonly Run[], mode: CompareMode): string[] {
  const notes: string[] = [];
  const note = (condition: boolean, text: string): void => void (condition && notes.push(text));
  note(
    mode === 'paper',
    'Paper mode: smoothed training loss along unfinished schedules; not comparable with figures at annealed end points.',
  );
  const anonymous = [baseline, ...runs].filter((run) => run.manifest?.data.validation?.hash === undefined);
  note(
    anonymous.length > 0,
    `Validation data unknown, taken to be the same: ${anonymous.map(({ name }) => name).join(', ')}.`,
  );
  const unfinished = [baseline, ...runs].filter((run) => !isAnnealed(run)).map(({ name }) => name);
  note(
    mode === 'validation' && unfinished.length > 0,
    `Not annealed, its schedule has not ended: ${unfinished.join(', ')}.`,
  );
  const ratio = tokensPerParameter(baseline);
  note(
    ratio !== undefined && ratio < LONG_ENOUGH,
    `The baseline read ${ratio?.toPrecision(2)} tokens per parameter: so short a run flatters growth, because its model is too large for its budget.`,
  );
  const own = runs.filter((run) => run.records.growth.length > 0 && sameShape(run, baseline)).length > 0;
  note(
    own && baseline.records.growth.length === 0,
    "The baseline is the target's own architecture from scratch; a smaller model from scratch may do better at the same FLOPs.",
  );
  const others = runs.filter((run) => sameShape(run, baseline) === false).map(({ name }) => name);
  note(others.length > 0, `Another architecture than the baseline's: ${others.join(', ')}.`);
  return notes;
}

function tokensPerParameter(run: Run): number | undefined {
  const parameters = run.manifest?.model?.parameters;
  const tokens = run.records.train.tokens[run.records.train.length - 1] ?? run.records.validation.at(-1)?.tokens;
  return parameters === undefined || tokens === undefined ? undefined : tokens / parameters;
}

/** Undefined where a manifest does not say. */
function sameShape(a: Run, b: Run): boolean | undefined {
  const [left, right] = [a.manifest?.model, b.manifest?.model];
  if (left === undefined || right === undefined) return undefined;
  return ['num_hidden_layers', 'hidden_size', 'intermediate_size'].every((field) => left[field] === right[field]);
}
