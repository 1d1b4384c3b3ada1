import type { Command } from 'commander';
import { compareRuns } from '../../experiments/compare/index.js';
import { InputError } from '../../errors.js';
import type { Run } from '../../records/index.js';
import { startLiveServer, type PageComparison } from '../../report/index.js';
import { defineCommand, parseNumber, terminalFor, withCommonOptions, type CommonOptions } from '../command.js';
import { expandRunPattern } from '../run-patterns.js';

interface WatchOptions extends CommonOptions {
  port: number;
  baseline?: string;
}

/** `strata watch`: the report of runs that are being trained. */
export function create(): Command {
  const command = defineCommand('watch', 'Serve the report of running runs on this machine, with live news.', [
    ['strata watch runs', 'all runs under a folder, new ones included'],
    ['strata watch runs/scratch runs/grown --port 8080', 'two runs, on a fixed port'],
  ])
    .argument('<runs...>', 'run folders, folders with runs, or quoted patterns')
    .option('--port <n>', 'port on 127.0.0.1 (0: any free one)', parseNumber, 7700)
    .option('--baseline <run>', 'run to compare with (default: the first run without a growth)');
  return withCommonOptions(command).action(async (patterns: string[], options: WatchOptions) => {
    const terminal = terminalFor(options);
    const roots = patterns.flatMap(expandRunPattern);
    const compare = (runs: readonly Run[]): PageComparison | undefined => compareLive(runs, options.baseline);
    const server = await startLiveServer({ roots, port: options.port, compare, title: 'Strata, live' });
    terminal.result({ url: server.url }, () => `Live at ${server.url} (Ctrl-C ends it)`);
    await new Promise<void>((resolve) => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
    });
    await server.close();
  });
}

/** Compares what can be compared so far; runs on other validation data are shown without a comparison. */
function compareLive(runs: readonly Run[], wanted: string | undefined): PageComparison | undefined {
  const baseline =
    wanted === undefined
      ? runs.find((run) => run.records.growth.length === 0)
      : runs.find(({ folder }) => folder === wanted);
  const others = runs.filter((run) => run !== baseline);
  if (baseline === undefined || others.length === 0) return undefined;
  try {
    return compareRuns([baseline], others);
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}
