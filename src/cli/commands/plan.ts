import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Option, type Command } from 'commander';
import { parse } from 'yaml';
import { familyOf, parseModelConfig, type ModelConfig } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import { writeFileAtomic } from '../../files/atomic.js';
import {
  devices,
  makePlan,
  planToYaml,
  readTimingConstants,
  type Plan,
  type PlanRequest,
} from '../../planner/index.js';
import {
  defineCommand,
  parseNumber,
  parsePositiveInteger,
  terminalFor,
  withCommonOptions,
  type CommonOptions,
} from '../command.js';
import { formatTable } from '../terminal.js';

interface PlanOptions extends CommonOptions {
  params?: number;
  tokens?: number;
  flops?: number;
  config?: string;
  factor?: number;
  growthTokens?: number;
  sequenceLength?: number;
  vocabSize?: number;
  constants?: string;
  precision: 'f32' | 'bf16';
  gpu?: string;
  count?: number;
  mfu?: number;
  pricePerHour?: number;
  out?: string;
  train: string;
  validation: string;
}

/** `strata plan`: when to grow, by how much, what it costs. */
export function create(): Command {
  const command = defineCommand(
    'plan',
    'Plan a growth run for a budget: which base, how many tokens, what it costs and saves.',
    [
      ['strata plan --params 7e9 --tokens 300e9', 'a 7B target with the budget of 300B tokens from scratch'],
      [
        'strata plan --config model.yaml --flops 1e16 --out grown.yaml',
        'for your own architecture, with a config to run',
      ],
      ['strata plan --params 7e9 --tokens 300e9 --gpu h100 --count 64 --mfu 0.45', 'with hours on 64 GPUs'],
    ],
  )
    .option('--params <n>', 'nominal parameters of the target, embeddings included', parseNumber)
    .option('--tokens <n>', 'tokens that the target would train on from scratch', parseNumber)
    .option('--flops <n>', 'the same budget as 6 N D; alone: a compute-optimal size is chosen', parseNumber)
    .option('--config <file>', "the target's architecture: a run config, a model config or a checkpoint folder")
    .option('--factor <g>', 'depth factor (default: 4)', parseNumber)
    .option('--growth-tokens <n>', 'tokens of the base, in place of the fitted timing', parseNumber)
    .option('--sequence-length <n>', 'tokens a sequence (default: 2048)', parsePositiveInteger)
    .option('--vocab-size <n>', 'vocabulary of a planned architecture', parsePositiveInteger)
    .option('--constants <file>', "growth timing fitted by `strata fit`, in place of the paper's")
    .addOption(new Option('--precision <type>', 'of weights and gradients').choices(['f32', 'bf16']).default('f32'))
    .addOption(new Option('--gpu <name>', 'device for hours and memory').choices(Object.keys(devices)))
    .option('--count <n>', 'number of devices (default: 1)', parsePositiveInteger)
    .option('--mfu <share>', 'model FLOP utilisation (default: 0.4)', parseNumber)
    .option('--price-per-hour <price>', 'of one device, in your currency', parseNumber)
    .option('--out <file>', 'write a run config')
    .option('--train <dir>', 'train shards named in the run config', 'data/train')
    .option('--validation <dir>', 'validation shards named in the run config', 'data/validation');
  return withCommonOptions(command).action((options: PlanOptions) => run(options));
}

function run(options: PlanOptions): void {
  const terminal = terminalFor(options);
  if (options.gpu === undefined && (options.count ?? options.mfu ?? options.pricePerHour) !== undefined)
    throw new InputError('--count, --mfu and --price-per-hour need --gpu.');
  const read = options.config === undefined ? undefined : readTarget(options.config);
  const sequenceLength = options.sequenceLength ?? read?.sequenceLength;
  const plan = makePlan(requestOf(options, read?.config, sequenceLength));
  if (options.out !== undefined) {
    const name = options.out.replace(/^.*\//, '').replace(/\.[^.]*$/, '');
    const yaml = planToYaml(plan, {
      name,
      trainData: options.train,
      validationData: options.validation,
      sequenceLength: sequenceLength ?? Math.min(2048, plan.target.config.max_position_embeddings),
      precision: options.precision,
    });
    writeFileAtomic(options.out, yaml);
  }
  terminal.result(plan, () => describe(plan, options.out));
}

function requestOf(
  options: PlanOptions,
  config: ModelConfig | undefined,
  sequenceLength: number | undefined,
): PlanRequest {
  const { params, tokens, flops, factor, growthTokens, vocabSize, gpu, count = 1, mfu, pricePerHour } = options;
  return {
    precision: options.precision,
    ...(params === undefined ? {} : { params }),
    ...(tokens === undefined ? {} : { tokens }),
    ...(flops === undefined ? {} : { flops }),
    ...(factor === undefined ? {} : { growthFactor: factor }),
    ...(growthTokens === undefined ? {} : { growthTokens }),
    ...(vocabSize === undefined ? {} : { vocabSize }),
    ...(sequenceLength === undefined ? {} : { sequenceLength }),
    ...(config === undefined ? {} : { config }),
    ...(options.constants === undefined ? {} : { constants: readTimingConstants(options.constants) }),
    ...(gpu === undefined
      ? {}
      : {
          device: {
            gpu,
            count,
            ...(mfu === undefined ? {} : { mfu }),
            ...(pricePerHour === undefined ? {} : { pricePerHour }),
          },
        }),
  };
}

/** Reads the target from a run config (`model`), a model config, or a checkpoint folder. */
function readTarget(path: string): { config: ModelConfig; sequenceLength?: number } {
  const file = existsSync(path) && statSync(path).isDirectory() ? join(path, 'config.json') : path;
  let value: unknown;
  try {
    value = parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new InputError(
      `${file} cannot be read as YAML or JSON: ${error instanceof Error ? error.message : String(error)}.`,
      { cause: error },
    );
  }
  if (value === null || typeof value !== 'object')
    throw new InputError(`${file}: expected the fields of a config, found ${typeof value}.`);
  if ('model' in value) {
    const data: unknown = 'data' in value ? value.data : undefined;
    const length: unknown =
      data !== null && typeof data === 'object' && 'sequenceLength' in data ? data.sequenceLength : undefined;
    return {
      config: parseModelConfig(value.model, `${file}: model`),
      ...(typeof length === 'number' ? { sequenceLength: length } : {}),
    };
  }
  if ('architectures' in value && 'model_type' in value && typeof value.model_type === 'string')
    return { config: familyOf(value.model_type).fromHuggingFace(value, file) };
  return { config: parseModelConfig(value, file) };
}

function describe(plan: Plan, out: string | undefined): string {
  const { target, base, flops, expectedSpeedup, time, memory, nominal } = plan;
  const billions = (value: number): string =>
    value >= 1e9 ? `${(value / 1e9).toFixed(2)}B` : `${(value / 1e6).toFixed(2)}M`;
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(bytes < 1e9 ? 3 : 1)} GB`;
  const shape = ({ config }: Plan['target']): string =>
    `${config.num_hidden_layers} x ${config.hidden_size}, ${config.num_attention_heads} heads (${config.num_key_value_heads} kv), ffn ${config.intermediate_size}, vocabulary ${config.vocab_size}`;
  const stage = (name: string, { tokens, flops: exact, flops6nd }: Plan['flops']['scratch']): string[] => [
    name,
    billions(tokens),
    exact.toExponential(3),
    flops6nd.toExponential(3),
  ];
  const lines = [
    `Grow after ${billions(plan.growthTokens)} tokens, by ${plan.growthFactor} in depth (g = ${plan.parameterRatio.toFixed(2)}), for N = ${billions(nominal.params)}, D = ${billions(nominal.tokens)}`,
    `  target ${billions(target.parameters.total)} (${target.parameters.total} parameters, ${target.parameters.nonEmbedding} non-embedding): ${shape(target)}`,
    `  base   ${billions(base.parameters.total)} (${base.parameters.total} parameters, ${base.parameters.nonEmbedding} non-embedding): ${shape(base)}`,
    '',
    formatTable([
      ['stage', 'tokens', 'FLOPs (exact)', 'FLOPs (6ND)'],
      stage('scratch (the budget)', flops.scratch),
      stage('base', flops.base),
      stage('target, grown', flops.target),
    ]),
    `The base takes ${percent(flops.baseShare)} of the budget: ${billions(flops.exactBaseTokens)} target tokens (${billions(flops.paperBaseTokens)} as the paper counts, d / g).`,
    expectedSpeedup === null
      ? 'Expected speedup: no published figure for this size and budget.'
      : `Expected speedup: ${percent(expectedSpeedup.low)} to ${percent(expectedSpeedup.high)}, that is ${percent(expectedSpeedup.saved[0])} to ${percent(expectedSpeedup.saved[1])} saved (${expectedSpeedup.source}).`,
    `Memory per device: ${gigabytes(memory.total)} (weights ${gigabytes(memory.weights)}, gradients ${gigabytes(memory.gradients)}, optimizer ${gigabytes(memory.optimizer)}, activations about ${gigabytes(memory.activations)})`,
  ];
  if (time !== null) {
    const cost = time.cost === null ? '' : `, cost ${time.cost.toFixed(0)}`;
    lines.push(
      `Time on ${time.count} x ${time.device} at ${percent(time.mfu)} utilisation: ${time.hours.total.toFixed(1)} h (base ${time.hours.base.toFixed(1)} h), ${time.deviceHours.toFixed(0)} device hours${cost}`,
    );
  }
  if (out !== undefined) lines.push(`Run config: ${out}`);
  lines.push('', 'Sources:', ...Object.entries(plan.sources).map(([name, source]) => `  ${name}: ${source}`));
  if (plan.warnings.length > 0) lines.push('', ...plan.warnings.map((warning) => `Warning: ${warning}`));
  return lines.join('\n');
}
