import { existsSync, statSync } from 'node:fs';
import type { Command } from 'commander';
import { cite, InputError } from '../../errors.js';
import { type Inspection, inspectPath, resolveCheckpoint } from '../../interop/index.js';
import { type CommonOptions, defineCommand, parsePositiveInteger, terminalFor, withCommonOptions } from '../command.js';
import { formatTable } from '../terminal.js';
import { type AgreementCommandOptions, inspectAgreement } from './inspect-agreement.js';
import { type AttentionCommandOptions, inspectAttention } from './inspect-attention.js';
import { inspectMeanField } from './inspect-meanfield.js';

interface InspectCommandOptions extends CommonOptions, AttentionCommandOptions, AgreementCommandOptions {
  agreement?: boolean;
  weights?: boolean;
  attention?: boolean;
  meanfield?: boolean;
}

/** `strata inspect`: what a checkpoint holds, and what is wrong with it. */
export function create(): Command {
  const command = defineCommand(
    'inspect',
    'Look into a checkpoint: architecture, parameters, files, and what is wrong with it.',
    [
      ['strata inspect ./llama', 'a Hugging Face folder'],
      ['strata inspect runs/grown@500', 'a checkpoint of a run'],
      ['strata inspect model.safetensors --json', 'a single weight file; .gguf and llama2.c files, too'],
      ['strata inspect --attention runs/grown --data data --out attention.svg', 'rank and column mass of every head'],
      ['strata inspect --agreement runs/small runs/large --data data', 'KL and equal predictions on held-out text'],
      ['strata inspect --meanfield runs/small runs/wide', 'whether rows and columns are alike at two widths'],
    ],
  )
    .argument(
      '<checkpoint>',
      'a Hugging Face folder, a run folder, RUN@step, or a file: .safetensors, .gguf, llama2.c .bin',
    )
    .argument('[other]', 'the second model of --meanfield and --agreement')
    .option('--no-weights', 'read only headers: no search for non-finite numbers and equal layers')
    .option('--attention', 'run the model on text: which attention heads have collapsed (needs --data)')
    .option('--data <dir>', 'token shards for --attention and --agreement; of a data set with splits the held-out one')
    .option('--sequences <n>', 'sequences for --attention', parsePositiveInteger, 100)
    .option('--length <n>', 'tokens of each sequence for --attention', parsePositiveInteger, 100)
    .option('--agreement', 'compare what two models predict on held-out text (needs --data)')
    .option('--tokens <n>', 'tokens for --agreement', parsePositiveInteger, 2000)
    .option('--out <file>', 'figure of --attention: .svg, .png or .html')
    .option('--meanfield', 'compare the statistics of rows and columns of two models of different width');
  return withCommonOptions(command).action(
    async (reference: string, other: string | undefined, options: InspectCommandOptions) => {
      if (options.meanfield === true) return inspectMeanField(reference, other, options);
      if (options.agreement === true) return inspectAgreement(reference, other, options);
      if (other !== undefined) throw new InputError('A second model goes with --meanfield or --agreement.');
      if (options.attention === true) return inspectAttention(reference, options);
      for (const name of ['data', 'out'] as const)
        if (options[name] !== undefined)
          throw new InputError(`--${name} goes with --attention${name === 'data' ? ' or --agreement' : ''}.`);
      const terminal = terminalFor(options);
      const isFile = existsSync(reference) && statSync(reference).isFile();
      const progress = terminal.progress('read');
      const found = inspectPath(isFile ? reference : resolveCheckpoint(reference), {
        readWeights: options.weights ?? true,
        onProgress: (done, total) => progress.update(done, total),
      });
      progress.finish();
      terminal.result(found, () => describe(found));
    },
  );
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

/** Names out of files must not move a terminal's cursor. */
const printable = (name: string): string => (/\p{Cc}/u.test(name) ? cite(name) : name);

/** What a single file without a config.json says of itself. */
const describeFile = ({ architecture, files }: Inspection): string[] => [
  ...(architecture === undefined ? [] : [architecture]),
  ...files.flatMap(({ metadata }) =>
    Object.entries(metadata).map(([key, value]) => `  ${printable(key)}: ${cite(value).slice(1, -1)}`),
  ),
];

function describe(found: Inspection): string {
  const { parameters, config, checks } = found;
  const numbers = (value: number): string => value.toLocaleString('en-US');
  const model =
    config === undefined || parameters === undefined
      ? describeFile(found)
      : [
          `${found.architecture}, ${config.num_hidden_layers} layers, hidden ${config.hidden_size}, heads ${config.num_attention_heads}/${config.num_key_value_heads} of ${config.head_dim}, ffn ${config.intermediate_size}, vocabulary ${config.vocab_size}${config.tie_word_embeddings ? ', tied' : ''}`,
          `${numbers(parameters.total)} parameters, ${numbers(parameters.nonEmbedding)} without embeddings`,
          formatTable(Object.entries(parameters.byRole).map(([role, count]) => [`  ${role}`, numbers(count)])),
        ];
  const dtypes = Object.entries(found.dtypes).map(
    ([dtype, { tensors, bytes }]) => `${dtype}: ${tensors} tensors, ${megabytes(bytes)}`,
  );
  return [
    found.path,
    ...model,
    ...dtypes,
    ...found.files.map(({ file, tensors, bytes }) => `${file}: ${tensors} tensors, ${megabytes(bytes)}`),
    ...(found.otherFiles.length === 0 ? [] : [`other files: ${found.otherFiles.join(', ')}`]),
    ...(found.growth === undefined ? [] : [`grown by ${(found.growth as { operator: string }).operator}`]),
    ...checks.missing.map((name) => `missing: ${printable(name)}`),
    ...checks.misshapen.map(
      ({ name, expected, found: shape }) =>
        `misshapen: ${printable(name)} is [${shape}], config.json says [${expected}]`,
    ),
    ...checks.extra.map((name) => `extra: ${printable(name)}`),
    ...(checks.nonFinite ?? []).map(({ name, count }) => `not finite: ${count} numbers of ${printable(name)}`),
    ...(checks.equalLayers ?? []).map((group) => `equal layers: ${group.join(' = ')}`),
    found.sound ? 'sound' : 'not sound',
  ].join('\n');
}
