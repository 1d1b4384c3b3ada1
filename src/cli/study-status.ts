import type { PartStatus, RunState, StudyStatus } from '../experiments/study/index.js';
import { formatDuration, formatTable } from './terminal.js';

const count = (value: number): string => value.toLocaleString('en-US');
const percent = (done: number, all: number): string => `${(100 * (all === 0 ? 0 : done / all)).toFixed(1)} %`;

/** Where a study stands, for people. */
export function describeStatus(status: StudyStatus): string {
  const { study, hash, state, isTuned, runs, flops, parts, list, flopsPerSecond, secondsLeft } = status;
  const lines = [
    `Study ${study} (${hash.slice(0, 12)}), ${state}: ${runs.done} of ${runs.all} runs done, ${percent(flops.done, flops.all)} of FLOPs.`,
    '',
    formatTable([['part', ...COLUMNS], ...parts.map(row)]),
  ];
  const under = list.filter(({ status: one }) => one === 'running' || one === 'stopped');
  if (under.length > 0)
    lines.push('', formatTable([['under way', 'state', 'step', 'FLOPs', 'loss', 'tokens/s'], ...under.map(runRow)]));
  const lost = list.filter(({ status: one }) => one === 'failed' || one === 'waiting');
  if (lost.length > 0)
    lines.push(
      '',
      ...lost.map((run) => `${run.name}: ${run.status}${run.error === undefined ? '' : `, ${run.error}`}`),
    );
  const time =
    flopsPerSecond === null || secondsLeft === null
      ? ''
      : `, about ${formatDuration(secondsLeft)} (h:mm:ss) at ${(flopsPerSecond / 1e9).toFixed(0)} GFLOP/s, which the runs under way and the last that ended reach`;
  lines.push(
    '',
    `${flops.done.toExponential(3)} of ${flops.all.toExponential(3)} FLOPs done; ${flops.left.toExponential(3)} left${time}.`,
  );
  if (!isTuned)
    lines.push('Tuning is not over: it may ask for more runs, and rates may part runs that are shared so far.');
  return lines.join('\n');
}

const COLUMNS = ['runs', 'done', 'running', 'stopped', 'failed', 'left', 'end points', 'FLOPs', 'done'];

/** Runs that were skipped or wait count as left. */
const row = ({ name, isTuning, runs, flops, endPoints }: PartStatus): string[] => [
  isTuning ? `${name}, tuning` : name,
  ...[runs.all, runs.done, runs.running, runs.stopped, runs.failed, runs.left + runs.skipped + runs.waiting].map(count),
  isTuning ? '-' : `${endPoints.done}/${endPoints.all}`,
  flops.all.toExponential(3),
  percent(flops.done, flops.all),
];

const runRow = ({ name, status, step = 0, steps, flops, flopsDone, loss, tokensPerSecond }: RunState): string[] => [
  name,
  status,
  `${count(step)}/${count(steps)}`,
  percent(flopsDone, flops),
  loss === undefined ? '' : loss.toFixed(3),
  tokensPerSecond === undefined ? '' : count(Math.round(tokensPerSecond)),
];
