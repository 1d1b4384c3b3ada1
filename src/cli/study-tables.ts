import type { StudyComparison, StudyResults } from '../experiments/study/index.js';
import type { JobResult } from '../experiments/sweep/index.js';
import { formatDuration, formatTable } from './terminal.js';

/** What became of one run, as a line. */
export const describeResult = ({ name, status, validationLoss, seconds, error, wasDone }: JobResult): string =>
  [
    name,
    wasDone === true ? 'was done' : status,
    ...(validationLoss === undefined ? [] : [`validation loss ${validationLoss.toFixed(4)}`]),
    ...(seconds === undefined || wasDone === true ? [] : [formatDuration(seconds)]),
    ...(error === undefined ? [] : [error]),
  ].join(', ');

const percent = (value: number): string =>
  Number.isFinite(value) ? `${value > 0 ? '+' : ''}${(100 * value).toFixed(1)} %` : 'unbounded';
const interval = (found: StudyComparison['speedup']): string =>
  found === null ? '-' : `${percent(found.mean)} [${percent(found.low)}, ${percent(found.high)}]`;

/** What a control has to show for the arms to be believed. */
const EXPECTED: Readonly<Record<StudyComparison['role'], string>> = {
  scratch: '',
  arm: '',
  again: 'A/A: the interval holds 0',
  untrained: 'd = 0: no gain',
  rewarm: 'no gain by warming up again',
  cosine: 'a finished cosine agrees',
  size: 'smaller from scratch',
};

/** The tables of a study: arms against scratch and the best size, controls, ranking, cost. */
export function describeStudy({
  study,
  hash,
  comparisons,
  bestSize,
  ranking,
  tuning,
  cost,
  unfinished,
}: StudyResults): string {
  const row = (one: StudyComparison, last: string): string[] => [
    one.part,
    one.arm,
    `${one.budget} C`,
    interval(one.speedup),
    one.saved === null ? (one.seeds.find(({ reason }) => reason !== undefined)?.reason ?? '-') : interval(one.saved),
    interval(one.sixND),
    interval(one.sixNDNonEmbedding),
    one.verdict,
    last,
  ];
  const head = ['part', 'arm', 'budget', 'speedup', 'saved', 'by 6 N D', 'by 6 N_non-embedding D', 'verdict', ''];
  const arms = comparisons.filter(({ role }) => role === 'arm');
  const controls = comparisons.filter(({ role }) => role !== 'arm');
  const lines = [
    `Study ${study} (${hash.slice(0, 12)}): speedup at equal validation loss between annealed end points; means over seeds with 95 % intervals.`,
    '',
    'Arms against scratch of the same architecture',
    formatTable([head, ...arms.map((one) => row(one, ''))]),
    '',
    'Arms against the best scratch size',
    bestSize.length === 0
      ? 'No size brackets the losses of every seed.'
      : formatTable([head, ...bestSize.map((one) => row(one, `best size: ${one.baseline}`))]),
    '',
    'Controls against scratch',
    formatTable([head, ...controls.map((one) => row(one, EXPECTED[one.role]))]),
  ];
  if (ranking.length > 0)
    lines.push(
      '',
      ...ranking.map(
        ({ part, budget, better, worse, p, tie }) =>
          `${part}, ${budget} C: ${tie ? `${better} and ${worse} tie` : `${better} before ${worse}`} (p = ${p.toPrecision(2)}, Holm)`,
      ),
    );
  for (const { part, name, lr, baseLr, trials, atEdge } of tuning)
    lines.push(
      `${part}, ${name}: rate ${lr.toPrecision(3)}${baseLr === lr ? '' : `, base ${baseLr.toPrecision(3)}`}, the best of ${trials.length}${atEdge ? '; at the edge of the range' : ''}`,
    );
  lines.push('', `All runs: ${cost.flops.toExponential(3)} FLOPs; tuning apart: ${cost.tuningFlops.toExponential(3)}.`);
  for (const { run, status, error } of unfinished)
    lines.push(`${run}: ${status}${error === undefined ? '' : `, ${error}`}`);
  return lines.join('\n');
}
