import { join } from 'node:path';
import { Option, type Command } from 'commander';
import {
  forecastSweep,
  type JobResult,
  measuredRate,
  planJobs,
  runSweep,
  SWEEP_RECORDS,
  type SweepForecast,
} from '../../experiments/sweep/index.js';
import { loadRecipe } from '../../train/index.js';
import {
  type CommonOptions,
  defineCommand,
  parseNumber,
  parsePositiveInteger,
  terminalFor,
  withCommonOptions,
} from '../command.js';
import { onInterrupt } from '../interrupt.js';
import { describeResult } from '../study-tables.js';
import { formatDuration, formatTable } from '../terminal.js';

interface SweepCommandOptions extends CommonOptions {
  out?: string;
  processes: number;
  dryRun?: boolean;
  rate?: number;
}

const EXIT_FAILED = 1;
const EXIT_INTERRUPTED = 130;

/** `strata sweep`: a grid of runs. */
export function create(): Command {
  const command = defineCommand('sweep', 'run a grid of runs: sizes, growth tokens, factors, seeds, operators', [
    ['strata sweep recipe.ts --dry-run', 'FLOPs, time and disk of every run'],
    ['strata sweep recipe.ts --out runs/sweep', 'one run after the other; the same command goes on where it stopped'],
    ['strata sweep recipe.ts --out runs/sweep --processes 4 --threads 16', 'four at a time, four threads each'],
  ])
    .argument('<recipe>', 'a recipe (.ts, .js) whose default export is a sweep, or a function returning one')
    .option('--out <dir>', 'folder of the runs (default: runs/NAME)')
    .addOption(new Option('--processes <n>', 'runs at the same time').argParser(parsePositiveInteger).default(1))
    .addOption(
      new Option(
        '--rate <gflops>',
        'GFLOP/s of this machine, for the time; default: what finished runs reached',
      ).argParser(parseNumber),
    )
    .option('--dry-run', 'print FLOPs, time and disk of every run and do nothing');
  return withCommonOptions(command).action(sweep);
}

async function sweep(recipe: string, options: SweepCommandOptions): Promise<void> {
  const terminal = terminalFor(options);
  const value = await loadRecipe(recipe);
  const out = options.out ?? join('runs', String((value as { name?: unknown } | null)?.name ?? 'sweep'));
  const { name, jobs } = planJobs(value, recipe, out);
  if (options.dryRun === true) {
    const forecast = forecastSweep(jobs);
    const rate = options.rate === undefined ? measuredRate(join(out, SWEEP_RECORDS)) : options.rate * 1e9;
    const seconds = rate === undefined || forecast.flops === undefined ? undefined : forecast.flops / rate;
    terminal.result({ name, ...forecast, secondsOneAtATime: seconds ?? null }, () => describe(forecast, seconds));
    return;
  }
  const interrupt = onInterrupt('Stopping the runs');
  try {
    const results = await runSweep(jobs, out, {
      command: [process.execPath, ...process.execArgv, process.argv[1]!],
      processes: options.processes,
      ...(options.threads === undefined ? {} : { threads: options.threads }),
      signal: interrupt.signal,
      onResult: (result, done, total) => terminal.say(`${done}/${total} ${describeResult(result)}`),
    });
    terminal.result({ name, out, results }, () => summary(results, jobs.length, out));
    if (interrupt.signal.aborted) process.exitCode = EXIT_INTERRUPTED;
    else if (results.some(({ status }) => status !== 'done')) process.exitCode = EXIT_FAILED;
  } finally {
    interrupt.dispose();
  }
}

function summary(results: readonly JobResult[], total: number, out: string): string {
  const count = (status: JobResult['status']): number => results.filter((result) => result.status === status).length;
  const failed = results.filter(({ status }) => status !== 'done');
  return [
    `${count('done')} of ${total} runs done, ${count('failed')} failed, ${count('skipped')} skipped; their folders are under ${out}.`,
    ...failed.map(describeResult),
  ].join('\n');
}

function describe({ runs, flops, diskBytes }: SweepForecast, seconds: number | undefined): string {
  const show = (value: number | undefined): string => (value === undefined ? 'unknown' : value.toExponential(3));
  const rows = runs.map((run) => [
    run.name,
    `${run.kind === 'base' ? 'base, ' : ''}${run.parameters.toLocaleString('en-US')} parameters, ${show(run.flops)} FLOPs, ${(run.diskBytes / 1e6).toFixed(0)} MB`,
  ]);
  const time =
    seconds === undefined
      ? 'time unknown (no run has finished here; give --rate)'
      : `${formatDuration(seconds)} one at a time`;
  return `${formatTable(rows as [string, string][])}\nTogether: ${show(flops)} FLOPs, ${time}, ${(diskBytes / 1e9).toFixed(2)} GB of checkpoints.`;
}
