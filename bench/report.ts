import { formatTable } from '../src/cli/terminal.js';
import type { Machine } from './machine.js';
import { formatFigure } from './pairs.js';
import type { BenchFigure, CaseResult } from './types.js';

/** The document that `--json` prints. */
export interface BenchDocument {
  readonly bench: string;
  readonly machine: Machine;
  readonly versions: Readonly<Record<string, string>>;
  readonly threads: number;
  readonly repetitions: number;
  readonly results: readonly CaseResult[];
  readonly notes: readonly string[];
}

/** The figures as lines for a terminal. */
export function formatForTerminal(document: BenchDocument): string {
  const { machine, versions, threads, repetitions, notes } = document;
  const lines = [
    `${machine.cpu}, ${machine.cores} cores (${machine.features.join(' ')}), ${machine.memoryGiB} GiB; ${threads} threads`,
    `${formatVersions(versions)}; median of ${repetitions} paired rounds (lowest to highest in brackets)`,
    '',
    formatTable(resultRows(document.results)),
  ];
  return [...lines, ...notes.map((note) => `\n${note}`)].join('\n');
}

/** The figures as a page for docs/benchmarks; `command` made them. */
export function formatMarkdown(
  document: BenchDocument,
  figures: readonly BenchFigure[],
  command: string,
  date: string,
): string {
  const { bench, machine, versions, threads, repetitions, results, notes } = document;
  const [head = [], ...rows] = resultRows(results);
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [
    `# Benchmark: ${bench}`,
    '',
    `Made by \`${command}\` on ${date}; the next run with \`--report\` writes this page anew.`,
    '',
    `- Machine: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.system}`,
    `- CPU features that decide the kernels: ${machine.features.join(', ')}`,
    `- Versions: ${formatVersions(versions)}`,
    `- Threads: ${threads}, for each side`,
    `- Each figure is the median of ${repetitions} rounds in which all sides took turns; a ratio is the median of the`,
    '  ratios within a round (lowest to highest in brackets), above 1 where Strata is better.',
    '',
    ...figures.flatMap(({ name, title }) => [`![${title}](${name}.svg)`, '']),
    row(head),
    row(head.map(() => '---')),
    ...rows.map(row),
    '',
    ...results.flatMap(({ case: name, details }) =>
      details ? [`Details of ${name}: ${formatDetails(details)}`, ''] : [],
    ),
    ...notes.flatMap((note) => [note, '']),
  ].join('\n');
}

function resultRows(results: readonly CaseResult[]): string[][] {
  const peers = [...new Set(results.flatMap(({ peers }) => Object.keys(peers)))];
  const limits = results.some(({ limitShare }) => limitShare !== undefined) ? ['of limit'] : [];
  const bounds = results.some(({ bound }) => bound !== undefined) ? ['bound', 'of bound', 'ratio at bound'] : [];
  const ratios = peers.map((peer) => `ratio to ${peer}`);
  const head = ['case', 'unit', 'strata', ...limits, ...bounds, ...peers, ...ratios];
  return [head, ...results.map((result) => resultRow(result, peers, limits.length > 0, bounds.length > 0))];
}

function resultRow(result: CaseResult, columns: readonly string[], withLimits: boolean, withBounds: boolean): string[] {
  const { case: name, unit, ours, peers, ratio, spread, limitShare, bound } = result;
  const share = (value: number | undefined) => (value === undefined ? '' : `${(value * 100).toFixed(0)} %`);
  const show = (value: number | undefined) => (value === undefined ? '' : formatFigure(value));
  const showRatio = (peer: string) => {
    const [value, range] = [ratio[peer], spread[peer]];
    return value === undefined || range === undefined
      ? ''
      : `${value.toFixed(2)} (${range.low.toFixed(2)} to ${range.high.toFixed(2)})`;
  };
  return [
    ...[name, unit, show(ours), ...(withLimits ? [share(limitShare)] : [])],
    ...(withBounds ? [show(bound?.value), share(bound?.share), bound?.ratio.toFixed(2) ?? ''] : []),
    ...columns.map((peer) => show(peers[peer])),
    ...columns.map(showRatio),
  ];
}

const formatVersions = (versions: Readonly<Record<string, string>>): string =>
  Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ');

const formatDetails = (details: Readonly<Record<string, number | string>>): string =>
  Object.entries(details)
    .map(([name, value]) => `${name} ${typeof value === 'number' ? formatFigure(value) : value}`)
    .join('; ');
