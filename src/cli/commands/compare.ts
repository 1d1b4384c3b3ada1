import { type Command, Option } from 'commander';
import {
  type ArmComparison,
  type ArmRank,
  compareExponents,
  compareRuns,
  type Comparison,
  type ExponentComparison,
  totalFlops,
} from '../../experiments/compare/index.js';
import { InputError } from '../../errors.js';
import { comparePaired, type PairedComparison, readPair } from '../../eval/index.js';
import { readRun, type Run } from '../../records/index.js';
import { defineCommand, parseNumber, terminalFor, withCommonOptions, type CommonOptions } from '../command.js';
import { expandRunPattern } from '../run-patterns.js';
import { formatTable } from '../terminal.js';

interface CompareOptions extends CommonOptions {
  baseline?: string[];
  grown?: string[];
  paper?: boolean;
  eval?: boolean;
  exponents?: boolean;
  irreducible: number;
}

/** `strata compare`: speedup at equal loss. */
export function create(): Command {
  const command = defineCommand(
    'compare',
    'Compare runs with a baseline: speedup and saved FLOPs at equal validation loss.',
    [
      ['strata compare runs/scratch runs/grown', 'the first run is the baseline'],
      ["strata compare --baseline 'runs/scratch-*' --grown 'runs/grown-*'", 'paired by seed, with a 95 % interval'],
      ['strata compare runs/scratch runs/grown --paper', "smoothed training loss, as the paper's figures have it"],
      [
        "strata compare --baseline 'runs/plain-*' --grown 'runs/kl-*' --exponents",
        'how losses scale, four budgets each',
      ],
      ['strata compare --eval scratch/results.json grown/results.json', 'benchmarks, document by document'],
    ],
  )
    .argument('[runs...]', 'run folders; the first is the baseline unless --baseline is given')
    .option('--baseline <glob...>', 'baseline runs')
    .option('--grown <glob...>', 'runs to compare with them')
    .option('--paper', 'paper mode: training loss along the whole run')
    .option('--exponents', 'fit a power law to the last losses of each side and compare the exponents')
    .addOption(
      new Option('--irreducible <loss>', 'with --exponents: loss that no compute removes')
        .argParser(parseNumber)
        .default(0),
    )
    .option(
      '--eval',
      'compare two evaluations: results of "strata eval --samples", or folders with samples_TASK.jsonl',
    );
  return withCommonOptions(command).action((runs: string[], options: CompareOptions) => {
    if (options.eval === true) return compareEvaluations(runs, options);
    const { baselines, others, grouped } = chooseRuns(runs, options);
    if (options.exponents === true) {
      const exponents = compareExponents(baselines, others, options.irreducible);
      terminalFor(options).result(exponents, () => describeExponents(exponents));
      return;
    }
    const comparison = compareRuns(baselines, others, {
      mode: options.paper === true ? 'paper' : 'validation',
      grouped,
    });
    terminalFor(options).result(comparison, () => describe(comparison, baselines));
  });
}

/** How two ways of training scale, for people. */
function describeExponents({ baseline, other, difference, irreducible, leftOut }: ExponentComparison): string {
  const show = ({ mean, low, high }: ExponentComparison['difference']): string =>
    `${mean.toFixed(4)} [${low.toFixed(4)}, ${high.toFixed(4)}]`;
  const decided =
    difference.low > 0
      ? 'the other loses loss faster with compute'
      : difference.high < 0
        ? 'the baseline loses loss faster with compute'
        : 'undecided: the interval holds 0';
  return [
    `Last losses over exact FLOPs, L - ${irreducible} = a C^-b; 95 % intervals`,
    formatTable([
      ['', 'exponent b', 'runs', 'budgets'],
      ['baseline', show(baseline.exponent), String(baseline.runs), String(baseline.budgets)],
      ['other', show(other.exponent), String(other.runs), String(other.budgets)],
      ['difference', show(difference), decided],
    ]),
    ...leftOut.map(({ run, reason }) => `  left out: ${run}: ${reason}`),
  ].join('\n');
}

/** Two evaluations, with intervals from a paired bootstrap over documents. */
function compareEvaluations(names: readonly string[], options: CompareOptions): void {
  const [a, b, ...more] = names;
  if (a === undefined || b === undefined || more.length > 0)
    throw new InputError(`compare --eval needs two evaluations, found ${names.length}.`);
  const comparisons = comparePaired(...readPair(a, b));
  terminalFor(options).result({ a, b, comparisons }, () => {
    const rows = comparisons.map((one) => [
      one.task,
      one.metric,
      String(one.documents),
      ...[one.a, one.b, one.difference].map((value) => value.toFixed(4)),
      `[${one.low.toFixed(4)}, ${one.high.toFixed(4)}]`,
      verdict(one),
    ]);
    const header = ['task', 'metric', 'documents', 'A', 'B', 'B - A', '95 % interval', ''];
    return [`A: ${a}`, `B: ${b}`, formatTable([header, ...rows])].join('\n');
  });
}

/** What may be said of a difference; an accuracy at chance ranks nothing. */
function verdict({ nearChance, differs }: PairedComparison): string {
  if (nearChance) return 'both at chance';
  return differs ? '' : 'no difference beyond noise';
}

function chooseRuns(
  names: readonly string[],
  options: CompareOptions,
): { baselines: Run[]; others: Run[]; grouped: boolean } {
  const read = (patterns: readonly string[]): Run[] =>
    patterns.flatMap(expandRunPattern).map((folder) => readRun(folder));
  const { baseline, grown } = options;
  if (baseline === undefined && grown === undefined) {
    const runs = read(names);
    if (runs.length < 2) throw new InputError(`compare needs at least two runs, found ${runs.length}.`);
    return { baselines: runs.slice(0, 1), others: runs.slice(1), grouped: false };
  }
  const baselines = baseline === undefined ? read(names.slice(0, 1)) : read(baseline);
  const others = [
    ...(grown === undefined ? [] : read(grown)),
    ...(baseline === undefined ? read(names.slice(1)) : read(names)),
  ];
  if (baselines.length === 0) throw new InputError('compare needs a baseline: --baseline or a first run.');
  if (others.length === 0)
    throw new InputError('compare needs runs to compare with the baseline: --grown or more runs.');
  return { baselines, others, grouped: baselines.length > 1 || others.length > 1 };
}

const percent = (value: number): string => (Number.isFinite(value) ? `${(100 * value).toFixed(1)} %` : '-');
const signed = (value: number): string => `${value > 0 ? '+' : ''}${percent(value)}`;

function describe(comparison: Comparison, baselines: readonly Run[]): string {
  const { mode, groups, arms, ranking, conventions, notes } = comparison;
  const results = comparison.runs.map(({ run, finalLoss, flops, atEqualLoss: at, reason = '' }) => [
    run,
    finalLoss?.toFixed(4) ?? '-',
    flops.toExponential(3),
    ...(at === null ? ['-', '-', reason] : [signed(at.speedup), signed(at.saved), at.loss.toFixed(4)]),
  ]);
  const measured = mode === 'paper' ? 'smoothed training loss' : 'validation loss';
  const lines = [
    `Speedup and saved FLOPs at equal ${measured}; FLOPs are exact, the training of base models is counted.`,
    formatTable([
      ['run', 'final loss', 'FLOPs', 'speedup', 'saved', 'at loss'],
      ...baselines.map(baselineRow),
      ...results,
    ]),
  ];
  for (const { run, exact, sixND, sixNDNonEmbedding, verdict } of conventions) {
    const show = (value: number | null): string => (value === null ? 'not recorded' : signed(value));
    lines.push(
      `${run}: ${verdict} (exact ${show(exact)}, 6 N D ${show(sixND)}, 6 N_non-embedding D ${show(sixNDNonEmbedding)})`,
    );
  }
  if (groups !== undefined) lines.push(...describeGroups(groups));
  if (arms !== undefined) lines.push(...describeArms(arms, ranking ?? []));
  return [...lines, ...notes.map((note) => `Note: ${note}`)].join('\n');
}

/** Arms by their mean speedup, and which of them are better than others beyond noise. */
function describeArms(arms: readonly ArmComparison[], ranking: readonly ArmRank[]): string[] {
  const rows = arms.map(({ arm, runs, mean, speedup, pairs, leftOut }) => [
    arm,
    String(runs),
    mean === null ? '-' : signed(mean),
    speedup === null ? (pairs.length === 1 ? 'one seed' : '-') : `${signed(speedup.low)} to ${signed(speedup.high)}`,
    mean === null ? '-' : signed(1 - 1 / (1 + mean)),
    leftOut.length === 0 ? '' : `${leftOut.length} left out: ${leftOut[0]?.reason}`,
  ]);
  const better = ranking.filter(({ tie }) => !tie);
  const order =
    ranking.length === 0
      ? []
      : [
          `Ranked pairwise by paired tests over seeds, Holm-corrected: ${better.length} of ${ranking.length} pairs differ, the others tie.`,
          ...better.map(({ better: one, worse, p }) => `  ${one} before ${worse} (p = ${p.toPrecision(2)})`),
        ];
  return [
    'Arms, by mean speedup over seeds:',
    formatTable([['arm', 'runs', 'speedup', '95 % interval', 'saved', ''], ...rows]),
    ...order,
  ];
}

const baselineRow = (run: Run): string[] => [
  run.name,
  run.records.validation.at(-1)?.loss.toFixed(4) ?? '-',
  totalFlops(run).toExponential(3),
  'baseline',
];

function describeGroups({ speedup, seeds, leftOut }: NonNullable<Comparison['groups']>): string[] {
  const undecided = speedup !== null && speedup.low <= 0 && speedup.high >= 0;
  const mean =
    speedup === null
      ? 'too few pairs for an interval'
      : `speedup ${signed(speedup.mean)}, 95 % interval ${signed(speedup.low)} to ${signed(speedup.high)}` +
        (undecided ? ': undecided, the interval holds 0; more seeds narrow it' : '');
  return [
    `Paired by seed (${seeds.join(', ')}): ${mean}`,
    ...leftOut.map(({ run, reason }) => `  left out: ${run}: ${reason}`),
  ];
}
