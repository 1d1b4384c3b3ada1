import type { Command } from 'commander';
import { InputError } from '../../errors.js';
import { compareRuns, type Comparison } from '../../experiments/compare/index.js';
import { readFit } from '../../planner/index.js';
import { readRun, type Run } from '../../records/index.js';
import { trainRecordsPerRun, writeFigures, writeReport } from '../../report/index.js';
import { defineCommand, terminalFor, withCommonOptions, type CommonOptions } from '../command.js';
import { expandRunPattern } from '../run-patterns.js';

interface ReportOptions extends CommonOptions {
  out: string;
  title?: string;
  figures?: string;
  baseline?: string[];
  compare: boolean;
  fit?: string;
}

/** `strata report`: the figures and tables of runs as one HTML file. */
export function create(): Command {
  const command = defineCommand('report', 'Write the figures and tables of runs as one HTML file that works offline.', [
    ['strata report runs/scratch runs/grown --out report.html', 'the first run is the baseline'],
    ["strata report 'runs/*' --baseline 'runs/scratch-*' --out report.html", 'paired by seed'],
    ['strata report runs/scratch runs/grown --out report.html --figures figures', 'each figure as SVG and PNG, too'],
  ])
    .argument('<runs...>', 'run folders or quoted patterns')
    .requiredOption('--out <file>', 'the HTML file')
    .option('--baseline <glob...>', 'baseline runs (default: the first run)')
    .option('--no-compare', 'show the runs without comparing them')
    .option('--fit <file>', 'scaling laws and iso-FLOP curves that `strata fit` found')
    .option('--title <text>', 'title of the page')
    .option('--figures <dir>', 'write each figure as SVG and PNG');
  return withCommonOptions(command).action((patterns: string[], options: ReportOptions) => {
    const terminal = terminalFor(options);
    const folders = [...new Set([...(options.baseline ?? []), ...patterns].flatMap(expandRunPattern))];
    const isBaseline = new Set(
      options.baseline === undefined ? folders.slice(0, 1) : options.baseline.flatMap(expandRunPattern),
    );
    const maxTrainRecords = trainRecordsPerRun(folders.length);
    const runs = folders.map((folder) => readRun(folder, { maxTrainRecords }));
    const comparison =
      options.compare && runs.length > 1 ? compareOrWarn(runs, folders, isBaseline, terminal.warn) : undefined;
    const input = {
      runs,
      ...(comparison === undefined ? {} : { comparison }),
      ...(options.fit === undefined ? {} : { fit: readFit(options.fit) }),
      ...(options.title === undefined ? {} : { title: options.title }),
    };
    writeReport(options.out, input);
    const figures = options.figures === undefined ? [] : writeFigures(options.figures, input);
    terminal.result({ report: options.out, figures, comparison: comparison ?? null }, () =>
      [`Report: ${options.out}`, ...figures].join('\n'),
    );
  });
}

/** Runs that cannot be compared still make a report; it says why there is no comparison. */
function compareOrWarn(
  runs: readonly Run[],
  folders: readonly string[],
  isBaseline: ReadonlySet<string>,
  warn: (line: string) => void,
): Comparison | undefined {
  const baselines = runs.filter((_, i) => isBaseline.has(folders[i] ?? ''));
  const others = runs.filter((_, i) => !isBaseline.has(folders[i] ?? ''));
  if (others.length === 0) return undefined;
  try {
    return compareRuns(baselines, others, { grouped: baselines.length > 1 });
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    warn(`No comparison: ${error.message}`);
    return undefined;
  }
}
