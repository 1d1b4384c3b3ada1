import { rmSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { countParameters, parseModelConfig } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import {
  type ComparablePlan,
  diffPlans,
  executeOnFolder,
  type FolderResult,
  formatExpression,
  formatLayers,
  initialParameter,
  type GrowthRequest,
  optimizerStateTreatments,
  type OptimizerStateTreatment,
  type Plan,
  planDocument,
  planGrowth,
} from '../../growth/index.js';
import {
  type Checkpoint,
  openCheckpoint,
  parseFloatDType,
  readJsonObject,
  readModelConfig,
  resolveCheckpoint,
} from '../../interop/index.js';
import { type FolderLearned, prepareOnFolder } from '../../train/index.js';
import { type CommonOptions, defineCommand, parsePositiveInteger, terminalFor, withCommonOptions } from '../command.js';
import { onInterrupt } from '../interrupt.js';
import type { Terminal } from '../terminal.js';

const EXIT_INTERRUPTED = 130;

interface GrowOptions extends CommonOptions {
  operator?: string;
  factor?: string;
  target?: string;
  layers?: number;
  hidden?: number;
  heads?: number;
  kvHeads?: number;
  ffn?: number;
  opt?: string[];
  optimizerState?: OptimizerStateTreatment;
  dtype?: string;
  maxShardSize?: number;
  out?: string;
  plan?: boolean;
  diff?: string[];
  data?: string;
  verify?: boolean;
}

/** `strata grow`: a larger checkpoint out of a checkpoint. */
export function create(): Command {
  const command = defineCommand('grow', 'Make a larger checkpoint out of a checkpoint, by a growth operator.', [
    ['strata grow runs/base --operator stack --factor 4 --out grown', 'four times the layers, by G_stack'],
    ['strata grow ./llama --operator stack --layers 48 --plan', 'what would be made out of what; writes nothing'],
    ['strata grow ./llama --operator stack --factor 2 --plan --json > a.json', 'the plan as a document'],
    ['strata grow --diff a.json b.json', 'how two plans differ'],
    ['strata operators', 'the operators there are'],
  ])
    .argument('[checkpoint]', 'a Hugging Face folder, a run folder (its last checkpoint) or RUN@step')
    .option('--operator <id>', 'growth operator, or a depth and a width operator as a+b')
    .option('--factor <n>', 'multiplies what the operator grows; DEPTH,WIDTH for both directions')
    .option('--target <config>', 'config.json (or its folder) with the sizes of the target')
    .addOption(integerOption('--layers <n>', 'layers of the target'))
    .addOption(integerOption('--hidden <n>', 'hidden size of the target'))
    .addOption(integerOption('--heads <n>', 'attention heads of the target'))
    .addOption(integerOption('--kv-heads <n>', 'key-value heads of the target'))
    .addOption(integerOption('--ffn <n>', 'intermediate (FFN) size of the target'))
    .option('--opt <name=value...>', 'option of the operator')
    .addOption(
      new Option('--optimizer-state <treatment>', 'what a trainer should do with the optimizer').choices([
        ...optimizerStateTreatments,
      ]),
    )
    .option('--dtype <type>', 'store weights as f32, bf16, f16 ... (default: as in the source)')
    .addOption(integerOption('--max-shard-size <bytes>', 'largest weight file (default: 5 GB)'))
    .option('--data <folder>', 'token shards, for operators that learn')
    .option('--out <folder>', 'folder to write')
    .option('--plan', 'print what would be made out of what, and write nothing')
    .option('--diff <plan...>', 'say how two plans (from --plan --json) differ')
    .option('--verify', 'read the result again and compare it with the plan');
  return withCommonOptions(command).action(async (reference: string | undefined, options: GrowOptions) => {
    const terminal = terminalFor(options);
    if (options.diff !== undefined) return printDifference(options.diff, terminal);
    if (reference === undefined) throw new InputError('grow needs a checkpoint (see strata grow --help).');
    const folder = resolveCheckpoint(reference);
    const plan = planGrowth(requestOf(folder, options));
    if (options.plan === true) terminal.result(planDocument(plan), () => describePlan(plan));
    else await execute(plan, folder, options, terminal);
  });
}

const integerOption = (flags: string, description: string): Option =>
  new Option(flags, description).argParser(parsePositiveInteger);

function requestOf(folder: string, options: GrowOptions): GrowthRequest {
  if (options.operator === undefined) throw new InputError('grow needs --operator ID; "strata operators" lists them.');
  const { layers, hidden, heads, kvHeads, ffn } = options;
  const named = {
    num_hidden_layers: layers,
    hidden_size: hidden,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    intermediate_size: ffn,
  };
  const given = Object.fromEntries(Object.entries(named).filter(([, size]) => size !== undefined));
  const target = { ...(options.target === undefined ? {} : readTarget(options.target)), ...given };
  return {
    operator: options.operator,
    source: readModelConfig(folder),
    target,
    options: parseOptions(options.opt ?? []),
    ...(options.factor === undefined ? {} : { factor: parseFactor(options.factor) }),
    ...(options.optimizerState === undefined ? {} : { optimizerState: options.optimizerState }),
  };
}

/** Fields of a target config that is given as a file or folder; a part of a config will do. */
function readTarget(path: string): Record<string, unknown> {
  const fields = path.endsWith('.json') ? readJsonObject(path) : readJsonObject(`${path}/config.json`);
  return 'vocab_size' in fields ? { ...parseTarget(fields, path) } : fields;
}

const parseTarget = (fields: Record<string, unknown>, path: string): Record<string, unknown> =>
  'architectures' in fields
    ? readModelConfig(path.replace(/\/?config\.json$/, '') || '.')
    : parseModelConfig(fields, path);

function parseFactor(text: string): number | [number, number] {
  const parts = text.split(',').map(Number);
  if (parts.length > 2 || parts.some((part) => !(part > 0) || !Number.isFinite(part)))
    throw new InputError(`Option --factor: expected a number above 0 or DEPTH,WIDTH, found "${text}".`);
  return parts.length === 1 ? parts[0]! : [parts[0]!, parts[1]!];
}

function parseOptions(pairs: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw new InputError(`Option --opt: expected name=value, found "${pair}".`);
      return [pair.slice(0, at), parseValue(pair.slice(at + 1))];
    }),
  );
}

/** A number, truth value or list as JSON has it; anything else is a text. */
function parseValue(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

async function execute(plan: Plan, folder: string, options: GrowOptions, terminal: Terminal): Promise<void> {
  if (options.out === undefined) throw new InputError('grow needs --out FOLDER (or --plan to only print).');
  const learns = plan.prepare !== undefined && plan.prepare.steps > 0;
  if (learns && plan.prepare.kind === 'ligo' && options.data === undefined)
    throw new InputError(
      `Operator ${plan.operator} learns on text: name token shards with --data DIR; --opt steps=0 grows with the expansion as it begins.`,
    );
  for (const warning of plan.warnings) terminal.warn(`strata: ${warning}`);
  using checkpoint = openCheckpoint(folder);
  const interrupt = onInterrupt();
  const keep = `${options.out.replace(/\/+$/, '')}.learned`;
  let learned: FolderLearned | undefined;
  let progress = terminal.progress(`grow by ${plan.operator}`);
  let start = performance.now();
  let result: FolderResult;
  try {
    if (learns) {
      learned = await learn(plan, checkpoint, { ...options, keep, signal: interrupt.signal }, terminal);
      progress = terminal.progress(`grow by ${plan.operator}`);
      start = performance.now();
    }
    result = await executeOnFolder(plan, checkpoint, options.out, {
      ...(options.dtype === undefined ? {} : { dtype: parseFloatDType(options.dtype) }),
      ...(options.maxShardSize === undefined ? {} : { maxShardBytes: options.maxShardSize }),
      verify: options.verify ?? false,
      signal: interrupt.signal,
      ...(plan.prepare === undefined ? {} : { learned: learned?.tensor ?? initialParameters(plan) }),
      ...(learned === undefined ? {} : { manifest: learned.manifest }),
      onProgress: (done, total) =>
        progress.update(done, total, `${(done / 1e6).toFixed(0)} of ${(total / 1e6).toFixed(0)} MB`),
    });
    rmSync(keep, { recursive: true, force: true });
  } catch (error) {
    progress.finish();
    if (!interrupt.signal.aborted) throw error;
    terminal.warn('strata: interrupted; the same command goes on from here.');
    process.exitCode = EXIT_INTERRUPTED;
    return;
  } finally {
    interrupt.dispose();
  }
  progress.finish();
  const seconds = (performance.now() - start) / 1000;
  const document = {
    operator: plan.operator,
    planHash: plan.planHash,
    folder: result.folder,
    bytes: result.bytes,
    resumedBytes: result.resumedBytes,
    seconds,
    verified: options.verify ?? false,
    preservesFunction: plan.preservesFunction,
    growthFactor: plan.growthFactor,
    ...(learned === undefined ? {} : { learned: { losses: learned.losses, moved: learned.moved } }),
    sourceParameters: countParameters(plan.source).total,
    targetParameters: countParameters(plan.target).total,
  };
  terminal.result(document, () =>
    [
      summary(plan),
      `Written to ${result.folder}: ${(result.bytes / 1e6).toFixed(1)} MB in ${seconds.toFixed(1)} s${options.verify ? ', verified' : ''}.`,
    ].join('\n'),
  );
}

/** The learned matrices of a plan as they begin. */
function initialParameters(plan: Plan): (name: string) => Float64Array {
  const seed = plan.options['seed'] as number;
  const values = new Map(
    plan.prepare!.parameters.map((parameter) => [parameter.name, initialParameter(parameter, seed)]),
  );
  return (name) => values.get(name)!;
}

/** Runs the phase in which an operator learns, and says what it came to. */
async function learn(
  plan: Plan,
  checkpoint: Checkpoint,
  { data, threads, keep, signal }: GrowOptions & { keep: string; signal: AbortSignal },
  terminal: Terminal,
): Promise<FolderLearned> {
  const progress = terminal.progress(`${plan.operator} learns`);
  try {
    const learned = await prepareOnFolder(plan, checkpoint, {
      ...{ reporter: terminal, keep, signal },
      ...(data === undefined ? {} : { data }),
      ...(threads === undefined ? {} : { threads }),
      onProgress: (done, total, loss) => progress.update(done, total, `loss ${loss.toPrecision(4)}`),
    });
    progress.finish();
    const [first, last] = [learned.losses[0], learned.losses.at(-1)];
    if (learned.lossShare !== undefined)
      terminal.say(
        `learned for ${plan.prepare!.steps} epochs; the predictors' losses fell to ${Object.entries(learned.lossShare)
          .map(([role, share]) => `${(100 * share).toFixed(0)} % (${role})`)
          .join(', ')}`,
      );
    else if (first !== undefined && last !== undefined)
      terminal.say(`learned for ${learned.losses.length} steps: loss ${first.toFixed(4)} to ${last.toFixed(4)}`);
    return learned;
  } finally {
    progress.finish();
  }
}

function summary(plan: Plan): string {
  const [source, target] = [countParameters(plan.source), countParameters(plan.target)];
  const count = (value: number): string => value.toLocaleString('en-US');
  return [
    `${plan.operator}: ${count(source.total)} -> ${count(target.total)} parameters, growth factor g = ${plan.growthFactor.toFixed(3)} (without embeddings)`,
    `function: ${plan.preservesFunction.claimed ? 'preserved' : 'changed'} (${plan.preservesFunction.condition})`,
    ...(plan.layers === undefined ? [] : [`layers: ${formatLayers(plan.layers)}`]),
    ...(plan.connectionRate === undefined ? [] : [`connection rate: ${plan.connectionRate.toFixed(3)}`]),
  ].join('\n');
}

function describePlan(plan: Plan): string {
  const width = Math.max(...Object.keys(plan.tensors).map((name) => name.length));
  const changed = Object.keys(plan.target).filter(
    (field) => JSON.stringify(plan.target[field]) !== JSON.stringify(plan.source[field]),
  );
  return [
    summary(plan),
    ...changed.map(
      (field) => `${field}: ${JSON.stringify(plan.source[field])} -> ${JSON.stringify(plan.target[field])}`,
    ),
    `peak memory: ${(plan.peakBytes / 1e6).toFixed(0)} MB`,
    `plan hash: ${plan.planHash}`,
    ...plan.warnings.map((warning) => `warning: ${warning}`),
    '',
    ...Object.entries(plan.tensors).map(
      ([name, expression]) => `${name.padEnd(width)}  ${formatExpression(expression)}`,
    ),
  ].join('\n');
}

function printDifference(files: readonly string[], terminal: Terminal): void {
  if (files.length !== 2) throw new InputError(`Option --diff: expected two plans, found ${files.length}.`);
  const [first, second] = files.map(readPlan) as [ComparablePlan, ComparablePlan];
  const difference = diffPlans(first, second);
  terminal.result(difference, () => {
    if (difference.equal) return 'The plans are equal.';
    return [
      ...Object.entries(difference.target).map(
        ([field, [a, b]]) => `${field}: ${JSON.stringify(a)} | ${JSON.stringify(b)}`,
      ),
      ...difference.onlyFirst.map((name) => `only in ${files[0]}: ${name}`),
      ...difference.onlySecond.map((name) => `only in ${files[1]}: ${name}`),
      ...Object.entries(difference.changed).map(
        ([name, [a, b]]) => `${name}\n  ${formatExpression(a)}\n  ${formatExpression(b)}`,
      ),
    ].join('\n');
  });
}

function readPlan(path: string): ComparablePlan {
  const json = readJsonObject(path);
  for (const field of ['target', 'tensors'])
    if (typeof json[field] !== 'object' || json[field] === null)
      throw new InputError(`${path}: field "${field}" is missing; a plan comes from strata grow --plan --json.`);
  return json as unknown as ComparablePlan;
}
