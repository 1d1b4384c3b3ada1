import { basename } from 'node:path';
import type { Run } from '../../records/index.js';
import { holm, meanInterval, pairedTest } from '../statistics.js';
import { compareGroups, seedOf, type GroupComparison } from './groups.js';
import type { CompareMode } from './pair.js';

/** Runs that differ in nothing but their seed, against baselines of the same seeds. */
export interface ArmComparison extends Omit<GroupComparison, 'baselineFrom'> {
  readonly arm: string;
  readonly runs: number;
  /** Mean speedup over the seeds (of log C ratios), with one seed, too; null where there is none. */
  readonly mean: number | null;
}

/** What a paired test says of two arms. */
export interface ArmRank {
  readonly better: string;
  readonly worse: string;
  /** Two-sided, of the paired t-test over shared seeds, corrected by Holm over all pairs of arms with as many seeds. */
  readonly p: number;
  readonly tie: boolean;
}

/** Arms, best first, and their ranking. */
export interface ArmComparisons {
  readonly arms: readonly ArmComparison[];
  readonly ranking: readonly ArmRank[];
}

/** Largest corrected p at which one arm counts as better. */
const SIGNIFICANT = 0.05;

/** Fields of a config that do not make another arm. */
const OF_ONE_RUN = new Set(['name', 'seed', 'out', 'from', 'study']);

/** Compares arms with baselines of the same seeds and ranks them; undefined where all runs belong to one arm. */
export function compareArms(
  baselines: readonly Run[],
  runs: readonly Run[],
  mode: CompareMode,
): ArmComparisons | undefined {
  const byArm = new Map<string, Run[]>();
  for (const run of runs) byArm.set(keyOf(run), [...(byArm.get(keyOf(run)) ?? []), run]);
  if (byArm.size < 2) return undefined;
  const arms = [...byArm.values()].map((own): ArmComparison => {
    const { baselineFrom: _, ...group } = compareGroups(baselines, own, mode);
    const mean =
      group.pairs.length === 0
        ? null
        : Math.expm1(meanInterval(group.pairs.map(({ speedup }) => Math.log1p(speedup))).mean);
    return { arm: nameOf(own), runs: own.length, mean, ...group };
  });
  arms.sort((a, b) => (b.mean ?? -Infinity) - (a.mean ?? -Infinity));
  return { arms, ranking: rankArms(arms) };
}

/** An arm with the speedup of each seed. */
interface Ranked {
  readonly arm: string;
  readonly mean: number | null;
  readonly pairs: readonly { readonly seed: number; readonly speedup: number }[];
}

/** Pairs of arms that share all their seeds, two or more, with the better one first. */
export function rankArms(arms: readonly Ranked[]): ArmRank[] {
  const seedsOf = ({ pairs }: Ranked): string => String(pairs.map(({ seed }) => seed).sort((a, b) => a - b));
  const tested = arms.filter(({ pairs }) => pairs.length > 1).sort((a, b) => (b.mean ?? 0) - (a.mean ?? 0));
  const couples = tested.flatMap((a, i) =>
    tested.slice(i + 1).flatMap((b) => (seedsOf(a) === seedsOf(b) ? [[a, b] as const] : [])),
  );
  const logs = ({ pairs }: Ranked): number[] =>
    [...pairs].sort((a, b) => a.seed - b.seed).map(({ speedup }) => Math.log1p(speedup));
  const corrected = holm(couples.map(([a, b]) => pairedTest(logs(a), logs(b))));
  return couples.map(([a, b], i) => ({
    better: a.arm,
    worse: b.arm,
    p: corrected[i]!,
    tie: !(corrected[i]! < SIGNIFICANT),
  }));
}

/** The config without what one run alone has; runs without a config are arms of their own. */
function keyOf(run: Run): string {
  const { config } = run.manifest ?? {};
  if (config === undefined) return run.name;
  return JSON.stringify(Object.entries(config).filter(([field]) => !OF_ONE_RUN.has(field)));
}

/** The name that the arm's runs share without their seeds, or that of its first. */
function nameOf(runs: readonly Run[]): string {
  const names = runs.map((run) => {
    const named = run.manifest?.config['name'];
    const name = typeof named === 'string' ? named : basename(run.name);
    const seed = seedOf(run);
    return seed === undefined ? name : name.replace(new RegExp(`[-_.]?(?:seed|s)?[-_.]?${seed}$`), '') || name;
  });
  const [first = ''] = names;
  return names.every((name) => name === first) ? first : (runs[0]?.name ?? '');
}
