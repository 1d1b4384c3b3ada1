import { Command } from 'commander';
import { createInterface } from 'node:readline/promises';
import { stringify } from 'yaml';
import { InputError } from '../../errors.js';
import {
  changeTags,
  diffRuns,
  listRuns,
  removeRun,
  summarise,
  type RunSummary,
} from '../../experiments/registry/registry.js';
import { isRunFolder, readRun, type RunManifest } from '../../records/index.js';
import { defineCommand, terminalFor, withCommonOptions, type CommonOptions } from '../command.js';
import { expandRunPattern } from '../run-patterns.js';
import { formatTable } from '../terminal.js';

/** `strata runs`: the runs under a folder. */
export function create(): Command {
  const command = defineCommand('runs', 'List, show, compare, tag and remove runs.', [
    ['strata runs list', 'all runs under runs/'],
    ['strata runs list experiments --tag best', 'those with a tag'],
    ['strata runs diff runs/scratch runs/grown', 'the config values in which two runs differ'],
    ['strata runs tag runs/grown best', 'give a run a tag'],
    ["strata runs rm 'runs/try-*'", 'remove runs, after asking'],
  ]);
  for (const child of [list(), show(), diff(), tag(), remove()]) command.addCommand(withCommonOptions(child));
  return command;
}

const list = (): Command =>
  new Command('list')
    .description('all runs under a folder')
    .argument('[dir]', 'folder', 'runs')
    .option('--tag <tag>', 'only runs with this tag')
    .action((root: string, options: CommonOptions & { tag?: string }) => {
      const runs = listRuns(root).filter(({ tags }) => options.tag === undefined || tags.includes(options.tag));
      terminalFor(options).result(runs, () => (runs.length === 0 ? `No runs under ${root}.` : table(runs)));
    });

function table(runs: readonly RunSummary[]): string {
  const rows = runs.map((run) => [
    run.folder,
    run.state,
    String(run.step),
    run.tokens.toExponential(2),
    run.flops.toExponential(2),
    run.finalLoss?.toFixed(4) ?? '-',
    run.growth.join(' + ') || '-',
    run.tags.join(' '),
  ]);
  return formatTable([['run', 'state', 'step', 'tokens', 'FLOPs', 'loss', 'growth', 'tags'], ...rows]);
}

const show = (): Command =>
  new Command('show')
    .description('what is known of one run')
    .argument('<run>', 'run folder')
    .action((folder: string, options: CommonOptions) => {
      const { manifest } = readRun(folder, { maxTrainRecords: 1 });
      const document = { ...summarise(folder), manifest: manifest ?? null };
      terminalFor(options).result(document, () => describeRun(document));
    });

/** What people look for first, then the config, as YAML; everything else is in the JSON. */
function describeRun({ manifest, stamp: _, ...summary }: RunSummary & { manifest: RunManifest | null }): string {
  if (manifest === null) return stringify({ ...summary, config: 'unknown: run.json is missing' }).trimEnd();
  const { versions, machine, config } = manifest;
  return stringify({ ...summary, versions, cpu: machine.cpu, cores: machine.cores, config }).trimEnd();
}

const diff = (): Command =>
  new Command('diff')
    .description('config values in which two runs differ')
    .argument('<a>', 'run folder')
    .argument('<b>', 'run folder')
    .action((a: string, b: string, options: CommonOptions) => {
      const [left, right] = [a, b].map((folder) => readRun(folder, { maxTrainRecords: 1 }));
      if (left === undefined || right === undefined) throw new InputError('runs diff needs two runs.');
      const differences = diffRuns(left, right);
      const text = (value: unknown): string => (value === null ? '-' : JSON.stringify(value));
      const rows = differences.map(({ path, a: x, b: y }) => [path, text(x), text(y)]);
      terminalFor(options).result(differences, () =>
        rows.length === 0 ? 'The configs are equal.' : formatTable([['field', a, b], ...rows]),
      );
    });

const tag = (): Command =>
  new Command('tag')
    .description('give a run tags, or take them away')
    .argument('<run>', 'run folder')
    .argument('[tags...]', 'tags to add')
    .option('--remove <tag...>', 'tags to take away')
    .action((folder: string, tags: string[], options: CommonOptions & { remove?: string[] }) => {
      const all = changeTags(folder, tags, options.remove);
      terminalFor(options).result({ run: folder, tags: all }, () => `${folder}: ${all.join(' ') || 'no tags'}`);
    });

const remove = (): Command =>
  new Command('rm')
    .description('remove runs, with their checkpoints')
    .argument('<runs...>', 'run folders or quoted patterns')
    .option('--yes', 'do not ask')
    .action(async (patterns: string[], options: CommonOptions & { yes?: boolean }) => {
      const terminal = terminalFor(options);
      const folders = [...new Set(patterns.flatMap(expandRunPattern))];
      for (const folder of folders)
        if (!isRunFolder(folder)) throw new InputError(`${folder} is no run folder, so it is not removed.`);
      if (options.yes !== true) await confirm(folders);
      for (const folder of folders) removeRun(folder);
      terminal.result({ removed: folders }, () => `Removed ${folders.join(', ')}.`);
    });

async function confirm(folders: readonly string[]): Promise<void> {
  if (!process.stdin.isTTY) throw new InputError('runs rm asks before it removes; give --yes where nobody can answer.');
  const dialogue = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await dialogue.question(`Remove ${folders.join(', ')} with all checkpoints? [y/N] `);
    if (!/^y(es)?$/i.test(answer.trim())) throw new InputError('Nothing was removed.');
  } finally {
    dialogue.close();
  }
}
