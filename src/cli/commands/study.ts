import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { Option, type Command } from 'commander';
import { InputError } from '../../errors.js';
import {
  forecastStudy,
  type LoadedStudy,
  loadStudy,
  readStudyFile,
  runStudy,
  studyFile,
  readStudyStatus,
  type StudyResults,
} from '../../experiments/study/index.js';
import { measuredRate, SWEEP_RECORDS } from '../../experiments/sweep/index.js';
import { writeStudyReport } from '../../report/index.js';
import {
  type CommonOptions,
  defineCommand,
  parseNumber,
  parsePositiveInteger,
  terminalFor,
  withCommonOptions,
} from '../command.js';
import { onInterrupt } from '../interrupt.js';
import { showStudy } from '../study-progress.js';
import { describeStatus } from '../study-status.js';
import { describeStudy } from '../study-tables.js';
import { formatDuration, type Terminal } from '../terminal.js';

interface StudyCommandOptions extends CommonOptions {
  out?: string;
  part?: string[];
  processes: number;
  dryRun?: boolean;
  rate?: number;
}

const EXIT_FAILED = 1;
const EXIT_INTERRUPTED = 130;
/** FLOP/s of a core where none has been measured: a little below what tier A reached on one of AMD's with AVX-512. */
const ASSUMED_RATE = 4e10;

/** `strata study`: arms, budgets, seeds and controls, run or resumed, or asked how far they are. */
export function create(): Command {
  const command = defineCommand('study', 'run a study: arms, budgets, seeds and controls, with intervals', [
    ['strata study studies/stack-tier-a.yaml --dry-run', 'FLOPs, hours and disk before anything starts'],
    [
      'strata study studies/stack-tier-a.yaml --processes 2',
      'two runs at a time; the same command goes on where it stopped',
    ],
    ['strata study continue runs/stack-tier-a', 'goes on with the study that a folder was begun with'],
    ['strata study status runs/stack-tier-a', 'how far a study is that runs, or stopped; with --json for scripts'],
    ['strata study studies/stack-tier-a.yaml --part muon', 'a part that stands there for later'],
  ])
    .argument('<study>', 'a study (YAML, JSON or a recipe), or the word "continue" or "status"')
    .argument('[folder]', 'with "continue" or "status": the folder of the study')
    .option('--out <dir>', 'folder of the study (default: runs/NAME)')
    .option('--part <name...>', 'these parts, instead of all that are not for later')
    .addOption(
      new Option('--processes <n>', 'runs at the same time, sharing the threads')
        .argParser(parsePositiveInteger)
        .default(1),
    )
    .addOption(
      new Option(
        '--rate <gflops>',
        'GFLOP/s of this machine, for the hours; default: what finished runs reached',
      ).argParser(parseNumber),
    )
    .option('--dry-run', 'print FLOPs, hours and disk, and do nothing');
  return withCommonOptions(command).action(study);
}

async function study(path: string, folder: string | undefined, options: StudyCommandOptions): Promise<void> {
  const terminal = terminalFor(options);
  if (path === 'status') {
    const status = await readStudyStatus(namedFolder(path, folder, options.out), options.part);
    return terminal.result(status, () => describeStatus(status));
  }
  const { loaded, out } = await openStudy(path, folder, options.out);
  if (options.dryRun === true) return dryRun(loaded, out, options);
  const interrupt = onInterrupt('Stopping the runs');
  const shown = showStudy(terminal, loaded.study.name, interrupt.signal);
  try {
    const results = await runStudy(loaded, out, {
      command: [process.execPath, ...process.execArgv, process.argv[1]!],
      processes: options.processes,
      ...(options.part === undefined ? {} : { parts: options.part }),
      ...(options.threads === undefined ? {} : { threads: options.threads }),
      signal: interrupt.signal,
      ...shown.callbacks,
    });
    shown.finish();
    if (results === undefined) {
      terminal.warn(`Stopped; the same command, or "strata study continue ${out}", goes on from there.`);
      process.exitCode = EXIT_INTERRUPTED;
      return;
    }
    report(results, out, options.part, terminal);
    const isWaiting = results.unfinished.some(({ status }) => status === 'waiting');
    if (interrupt.signal.aborted || isWaiting) process.exitCode = EXIT_INTERRUPTED;
    else if (results.unfinished.length > 0) process.exitCode = EXIT_FAILED;
  } finally {
    shown.finish();
    interrupt.dispose();
  }
}

async function openStudy(
  path: string,
  folder: string | undefined,
  asked: string | undefined,
): Promise<{ loaded: LoadedStudy; out: string }> {
  if (path === 'continue') {
    const out = asWritten(namedFolder(path, folder, asked));
    return { loaded: readStudyFile(out), out };
  }
  if (folder !== undefined)
    throw new InputError(`Expected one study, found another argument "${folder}"; its folder goes by --out.`);
  const loaded = await loadStudy(path);
  return { loaded, out: asWritten(asked ?? join('runs', loaded.study.name)) };
}

/** The runs' configs name the folder, and a run goes on only with the same config: however the folder is spelled, it stands there one way. */
const asWritten = (folder: string): string => relative('.', folder) || '.';

function namedFolder(word: string, folder: string | undefined, asked: string | undefined): string {
  const out = folder ?? asked;
  if (out === undefined) throw new InputError(`strata study ${word} needs the folder of the study.`);
  return out;
}

function report(results: StudyResults, out: string, parts: readonly string[] | undefined, terminal: Terminal): void {
  const page = join(out, studyFile('report.html', parts));
  writeStudyReport(page, results);
  terminal.result({ out, report: page, ...results }, () =>
    [describeStudy(results), '', `Report: ${page}`, `Results: ${join(out, studyFile('results.json', parts))}`].join(
      '\n',
    ),
  );
}

function dryRun(loaded: LoadedStudy, out: string, options: StudyCommandOptions): void {
  const { forecast, tuning, cells } = forecastStudy(loaded, out, options.part);
  const measured = options.rate === undefined ? measuredRate(join(out, SWEEP_RECORDS)) : options.rate * 1e9;
  const rate = measured ?? ASSUMED_RATE * availableParallelism();
  const flops = (forecast.flops ?? NaN) + (tuning.flops ?? 0);
  const diskBytes = forecast.diskBytes + tuning.diskBytes;
  const summary = {
    name: loaded.study.name,
    hash: loaded.hash,
    ...{ out, endPoints: cells, flops, tuningFlops: tuning.flops ?? 0, hours: flops / rate / 3600, diskBytes },
    rate: {
      flopsPerSecond: rate,
      from: options.rate !== undefined ? '--rate' : measured !== undefined ? 'finished runs' : 'assumed',
    },
  };
  terminalFor(options).result({ ...summary, runs: forecast.runs, tuning: tuning.runs }, () =>
    [
      leftAligned(
        [...tuning.runs, ...forecast.runs].map((run) => [
          run.name,
          `${run.parameters.toLocaleString('en-US')} parameters, ${run.flops?.toExponential(3)} FLOPs, ${(run.diskBytes / 1e6).toFixed(0)} MB`,
        ]),
      ),
      '',
      `${tuning.runs.length} runs of tuning (about two more each, where it refines) and ${forecast.runs.length} others with ${cells} end points.`,
      `Together ${flops.toExponential(3)} FLOPs, ${(tuning.flops ?? 0).toExponential(3)} of them for tuning: ${formatDuration(flops / rate)} (h:mm:ss) at ${(rate / 1e9).toFixed(0)} GFLOP/s (${summary.rate.from}${summary.rate.from === 'assumed' ? '; give --rate' : ''}), and ${(diskBytes / 1e9).toFixed(2)} GB of checkpoints.`,
    ].join('\n'),
  );
}

/** Rows of two columns; the names of runs are words, whatever they begin with. */
function leftAligned(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, text]) => `${name.padEnd(width)}  ${text}`).join('\n');
}
