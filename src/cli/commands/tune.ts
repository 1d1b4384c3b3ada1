import { join } from 'node:path';
import { Option, type Command } from 'commander';
import { forecastSweep, type JobResult } from '../../experiments/sweep/index.js';
import {
  fidelityName,
  jobsOf,
  planTune,
  type Rung,
  runTune,
  TUNE_FILE,
  type TunePlan,
  type TuneResult,
} from '../../experiments/tune/index.js';
import { writeTuneReport } from '../../report/index.js';
import { loadRecipe } from '../../train/index.js';
import { type CommonOptions, defineCommand, parsePositiveInteger, terminalFor, withCommonOptions } from '../command.js';
import { onInterrupt } from '../interrupt.js';

interface TuneCommandOptions extends CommonOptions {
  out?: string;
  processes: number;
  dryRun?: boolean;
}

const EXIT_FAILED = 1;
const EXIT_INTERRUPTED = 130;
const SHOWN = 10;

/** `strata tune`: a search over hyper-parameters. */
export function create(): Command {
  const command = defineCommand('tune', 'search for hyper-parameters: cheap fidelities first, successive halving', [
    ['strata tune recipe.ts --dry-run', 'configs and FLOPs of every fidelity'],
    ['strata tune recipe.ts --out runs/tune', 'the search; the same command goes on where it stopped'],
    ['strata tune dist/recipes/tune-rewarm.js', 'the rate of a grown model, tried on its added layers'],
  ])
    .argument('<recipe>', 'a recipe (.ts, .js) whose default export is a search, or a function returning one')
    .option('--out <dir>', 'folder of the runs (default: runs/NAME)')
    .addOption(new Option('--processes <n>', 'runs at the same time').argParser(parsePositiveInteger).default(1))
    .option('--dry-run', 'print configs and FLOPs of every fidelity and do nothing');
  return withCommonOptions(command).action(tune);
}

async function tune(recipe: string, options: TuneCommandOptions): Promise<void> {
  const terminal = terminalFor(options);
  const plan = planTune(await loadRecipe(recipe), recipe);
  const out = options.out ?? join('runs', plan.name);
  if (options.dryRun === true) {
    const forecast = forecastTune(plan, recipe, out);
    terminal.result({ name: plan.name, ...forecast, space: plan.configs }, () => describeForecast(plan, forecast));
    return;
  }
  const interrupt = onInterrupt('Stopping the runs');
  try {
    const result = await runTune(plan, recipe, out, {
      command: [process.execPath, ...process.execArgv, process.argv[1]!],
      processes: options.processes,
      ...(options.threads === undefined ? {} : { threads: options.threads }),
      signal: interrupt.signal,
      onResult: (done, count, total) => terminal.say(`${count}/${total} ${line(done)}`),
    });
    const report = join(out, 'report.html');
    writeTuneReport(report, result);
    terminal.result({ out, report, ...result }, () => `${describe(result, out)}\nReport: ${report}`);
    if (interrupt.signal.aborted) process.exitCode = EXIT_INTERRUPTED;
    else if (result.winner === undefined) process.exitCode = EXIT_FAILED;
  } finally {
    interrupt.dispose();
  }
}

interface TuneForecast {
  readonly fidelities: readonly { readonly configs: number; readonly flopsEach: number; readonly flops: number }[];
  readonly baseFlops: number;
  readonly flops: number;
  /** All configs at the last fidelity. */
  readonly flopsWithoutHalving: number;
}

/** FLOPs of a search: which configs survive does not change them, as long as only rates and the like are searched. */
function forecastTune(plan: TunePlan, source: string, out: string): TuneForecast {
  let configs = plan.configs.length;
  let baseFlops = 0;
  const fidelities = plan.fidelities.map(({ keep }, i) => {
    const indices = Array.from({ length: configs }, (_, config) => config);
    const { runs } = forecastSweep(jobsOf(plan, source, out, i, indices));
    baseFlops = runs.find(({ kind }) => kind === 'base')?.flops ?? 0;
    const flops = runs.filter(({ kind }) => kind === 'cell').reduce((sum, run) => sum + (run.flops ?? NaN), 0);
    const entry = { configs, flopsEach: flops / configs, flops };
    configs = keep;
    return entry;
  });
  return {
    fidelities,
    baseFlops,
    flops: fidelities.reduce((sum, { flops }) => sum + flops, baseFlops),
    flopsWithoutHalving: fidelities.at(-1)!.flopsEach * plan.configs.length + baseFlops,
  };
}

const configCount = (count: number): string => `${count} config${count === 1 ? '' : 's'}`;

const show = (value: number): string => (Number.isFinite(value) ? value.toExponential(3) : 'unknown');

function describeForecast(plan: TunePlan, forecast: TuneForecast): string {
  const { fidelities, flops, flopsWithoutHalving, baseFlops } = forecast;
  return [
    `${plan.name}: ${plan.configs.length} configs of ${Object.keys(plan.configs[0]!).join(', ')}; stage ${plan.stage} is tuned`,
    ...fidelities.map(
      (each, i) =>
        `  ${i + 1}. ${fidelityName(plan.fidelities[i]!)}: ${each.configs} run${each.configs === 1 ? '' : 's'} of ${show(each.flopsEach)} FLOPs`,
    ),
    ...(baseFlops > 0 ? [`  The base, once: ${show(baseFlops)} FLOPs`] : []),
    `Together ${show(flops)} FLOPs; all configs at the last fidelity would take ${show(flopsWithoutHalving)}.`,
  ].join('\n');
}

const line = ({ name, status, validationLoss, error, wasDone }: JobResult): string =>
  [
    name,
    wasDone === true ? 'was done' : status,
    ...(validationLoss === undefined ? [] : [`validation loss ${validationLoss.toFixed(4)}`]),
    ...(error === undefined ? [] : [error]),
  ].join(', ');

/** What a search came to, for people. */
export function describe(result: TuneResult, out: string): string {
  const { rungs, correlations, winner, flops, flopsWithoutHalving } = result;
  const lines: string[] = [];
  rungs.forEach((rung, i) => {
    lines.push(`Fidelity ${i + 1}: ${rung.label}, ${configCount(rung.trials.length)}`);
    for (const { values, loss, status, config } of rung.trials.slice(0, SHOWN)) {
      const settings = Object.entries(values).map(([path, value]) => `${path.split('.').at(-1)} ${value}`);
      const mark = rung.kept.includes(config) && i < rungs.length - 1 ? '  goes on' : '';
      lines.push(
        `  ${loss === undefined ? status.padEnd(7) : loss.toFixed(4).padEnd(7)}  ${settings.join(', ')}${mark}`,
      );
    }
    if (rung.trials.length > SHOWN) lines.push(`  and ${rung.trials.length - SHOWN} more in ${join(out, TUNE_FILE)}`);
  });
  lines.push(...costLines(rungs));
  for (const { low, high, configs, spearman } of correlations)
    lines.push(
      `Spearman correlation of fidelity ${low} with ${high}: ${Number.isNaN(spearman) ? 'not defined' : spearman.toFixed(3)} over ${configCount(configs)}`,
    );
  if (winner !== undefined)
    lines.push(
      `Best: ${Object.entries(winner.values)
        .map(([path, value]) => `--set ${path}=${value}`)
        .join(' ')} (loss ${winner.loss!.toFixed(4)})`,
    );
  lines.push(
    `${show(flops)} FLOPs in all${flopsWithoutHalving === undefined ? '' : `; all configs at the last fidelity: ${show(flopsWithoutHalving)}`}. Runs are under ${out}.`,
  );
  return lines.join('\n');
}

/** Time and memory of each fidelity against the last: by FLOPs and forecast, and as measured. */
function costLines(rungs: readonly Rung[]): string[] {
  const full = rungs.at(-1)?.cost;
  return rungs.flatMap(({ cost }, i) => {
    if (cost === undefined || full === undefined) return [];
    const flops = cost.flopsPerToken / full.flopsPerToken;
    const seconds =
      cost.secondsPerToken === undefined || full.secondsPerToken === undefined
        ? 'not measured'
        : (cost.secondsPerToken / full.secondsPerToken).toFixed(3);
    const memory =
      cost.forecastBytes === undefined || cost.countedBytes === undefined
        ? 'not measured'
        : `${(cost.forecastBytes / 1e6).toFixed(1)} MB forecast, ${(cost.countedBytes / 1e6).toFixed(1)} MB counted`;
    return [`Step of fidelity ${i + 1} against the last: FLOPs ${flops.toFixed(3)}, time ${seconds}; memory ${memory}`];
  });
}
