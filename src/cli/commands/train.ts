import type { Command } from 'commander';
import {
  type DryRun,
  dryRun,
  type DryRunStage,
  hasEngine,
  HandedOver,
  Interruption,
  loadConfig,
  type ReleasedMember,
  releasedMembers,
  type ProfileSummary,
  train as runTraining,
} from '../../train/index.js';
import { type CommonOptions, defineCommand, terminalFor, withCommonOptions } from '../command.js';
import { onInterrupt } from '../interrupt.js';
import { describeProfile } from '../profile-table.js';
import { compact, showRun } from '../run-progress.js';
import { formatDuration, formatTable, type Terminal } from '../terminal.js';

interface TrainOptions extends CommonOptions {
  out?: string;
  set?: string[];
  dryRun?: boolean;
  profile?: boolean;
}

const EXIT_INTERRUPTED = 130;

/** `strata train`. */
export function create(): Command {
  const command = defineCommand('train', 'run a config: stages of train and grow', [
    ['strata train run.yaml --out runs/first', 'a run; the same command goes on where it stopped'],
    ['strata train run.yaml --set stages.target.optimizer.lr=1e-3 --set seed=2 --out runs/second', 'with changes'],
    ['strata train run.yaml --profile --set stages.base.until=20', 'where the time of a step goes'],
    ['strata train recipe.ts --dry-run', 'every derived value and where it came from; needs no libtorch'],
  ])
    .argument('<config>', 'YAML or JSON file, or a recipe (.ts, .js) that exports a config or a function returning one')
    .option('--out <dir>', 'run folder (default: runs/NAME)')
    .option('--set <path=value>', 'change a value of the config; can be given again', collect)
    .option('--profile', 'time every op: a Chrome trace and a table in the run folder, the table printed at the end')
    .option('--dry-run', 'print every derived value and do nothing');
  return withCommonOptions(command).action(train);
}

const collect = (value: string, all: string[] = []): string[] => [...all, value];

async function train(path: string, options: TrainOptions): Promise<void> {
  const terminal = terminalFor(options);
  if (options.dryRun === true) {
    const threads = options.threads === undefined ? {} : { threads: options.threads };
    const result = dryRun(await loadConfig(path, options.set ?? []), { time: hasEngine(), ...threads });
    terminal.result(result, () => describeDryRun(result));
    return;
  }
  await runWithProgress(path, options, terminal);
}

async function runWithProgress(path: string, options: TrainOptions, terminal: Terminal): Promise<void> {
  const interrupt = onInterrupt();
  const shown = showRun(terminal);
  const start = performance.now();
  let profile: ProfileSummary | undefined;
  try {
    const result = await runTraining(path, {
      set: options.set ?? [],
      reporter: terminal,
      ...(options.out === undefined ? {} : { out: options.out }),
      ...(options.threads === undefined ? {} : { threads: options.threads }),
      ...(options.profile === true ? { profile: (summary: ProfileSummary) => void (profile = summary) } : {}),
      callbacks: shown.callbacks,
      signal: interrupt.signal,
    });
    shown.finish();
    if (profile !== undefined) terminal.say(`${describeProfile(profile)}\n`);
    const seconds = (performance.now() - start) / 1000;
    const released = releasedMembers(result.folder);
    terminal.result(
      { ...result, seconds, released, ...(profile === undefined ? {} : { profile }) },
      () =>
        formatTable([
          [result.wasFinished ? 'run (was finished)' : 'run', result.folder],
          ['checkpoint', result.checkpoint],
          ['steps', result.steps.toLocaleString('en-US')],
          ['tokens', compact(result.tokens)],
          ['FLOPs', `${result.flops.toExponential(3)} (exact, the base included)`],
          ['validation loss', result.validationLoss?.toFixed(4) ?? 'not measured'],
        ]) + describeReleased(released),
    );
  } catch (error) {
    shown.finish();
    if (!(error instanceof Interruption || error instanceof HandedOver)) throw error;
    if (profile !== undefined) terminal.say(describeProfile(profile));
    terminal.warn(error.message);
    process.exitCode = EXIT_INTERRUPTED;
  } finally {
    interrupt.dispose();
  }
}

/** The models that were released on the way, where there are several: a family's table. */
function describeReleased(released: readonly ReleasedMember[]): string {
  if (released.length < 2) return '';
  const rows = released.map(({ stage, folder, nonEmbeddingParameters, tokens, flops, validationLoss }) => [
    stage,
    compact(nonEmbeddingParameters),
    compact(tokens),
    flops.toExponential(3),
    validationLoss?.toFixed(4) ?? '-',
    folder,
  ]);
  const header = ['released', 'parameters', 'tokens so far', 'FLOPs so far', 'validation loss', 'checkpoint'];
  return `\n\n${formatTable([header, ...rows])}`;
}

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
const whole = (value: number): string => value.toLocaleString('en-US');

function describeDryRun({ name, stages, derived, values, totals, warnings }: DryRun): string {
  const lines = [`Run ${name}`];
  for (const stage of stages) lines.push('', `Stage ${stage.name} (${stage.kind})`, ...aligned(stageRows(stage)));
  if (totals !== null)
    lines.push(
      '',
      `Total: ${whole(totals.steps)} steps, ${compact(totals.tokens)} tokens, ${Number(totals.flops).toExponential(4)} FLOPs exact, ` +
        `${Number(totals.flops6nd).toExponential(4)} by 6 N D`,
    );
  const rows = [...Object.entries(derived), ...Object.entries(values)].map(([path, { value, from }]) => [
    path,
    JSON.stringify(value) ?? '',
    from,
  ]);
  lines.push('', 'Every value, and where it came from', ...aligned(rows));
  for (const warning of warnings) lines.push('', `Note: ${warning}`);
  return lines.join('\n');
}

function stageRows(stage: DryRunStage): string[][] {
  const { memoryBytes: memory, growth, schedule, microBatch } = stage;
  const rows = [
    [
      'model',
      `${stage.layers} layers, hidden ${stage.hidden}: ${whole(stage.parameters)} parameters, ${whole(stage.nonEmbeddingParameters)} without embeddings`,
    ],
  ];
  if (growth !== undefined)
    rows.push([
      'growth',
      `${growth.operator}, g = ${growth.growthFactor.toFixed(3)}, plan ${growth.planHash.slice(0, 12)}`,
    ]);
  if (memory === undefined || microBatch === undefined) return rows;
  const { steps, tokens, flops } = stage;
  rows.push(
    ['trained', `${whole(stage.trainedParameters ?? 0)} parameters`],
    [
      'FLOPs',
      `${whole(Number(stage.flopsPerToken))} a token${flops === undefined ? '' : `, ${Number(flops).toExponential(4)} in the stage`}`,
    ],
    ['steps', steps === undefined ? 'until its loss is reached' : `${whole(steps)}, ${whole(tokens ?? 0)} tokens`],
    ['micro-batch', `${microBatch.sequences} sequences (${microBatch.from})`],
    [
      'memory',
      `${gib(memory.peak)}: parameters ${gib(memory.parameters)}, gradients ${gib(memory.gradients)}, ` +
        `moments ${gib(memory.moments)}, activations ${gib(memory.activations)}, and inputs`,
    ],
    ['operations', `${stage.operations} calls a step with one micro-batch`],
  );
  const { time } = stage;
  if (time !== undefined) {
    const { seconds, secondsPerStep, tokensPerSecond } = time;
    const total = seconds === undefined ? '' : `, ${formatDuration(seconds)} for the stage`;
    rows.push([
      'time',
      `${secondsPerStep.toPrecision(3)} s a step, ${whole(Math.round(tokensPerSecond))} tokens/s${total} (kernels measured on this machine; steps only)`,
    ]);
  }
  if (schedule !== undefined)
    rows.push([
      'learning rate',
      `${schedule.kind}: ${schedule.lr.map(([step, rate]) => `${rate.toPrecision(3)} at step ${step}`).join(', ')}`,
    ]);
  return rows;
}

/** Rows as lines, every column but the last padded. */
function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows.reduce<number[]>((most, row) => row.map((cell, i) => Math.max(most[i] ?? 0, cell.length)), []);
  return rows.map(
    (row) => `  ${row.map((cell, i) => (i < row.length - 1 ? cell.padEnd(widths[i] ?? 0) : cell)).join('  ')}`,
  );
}
