import { availableParallelism } from 'node:os';
import type { Command } from 'commander';
import { Option } from 'commander';
import { type BuildProgress, type HeuristicLimits, buildDataset } from '../../data/index.js';
import { InputError } from '../../errors.js';
import {
  type CommonOptions,
  defineCommand,
  parseNumber,
  parsePositiveInteger,
  terminalFor,
  withCommonOptions,
} from '../command.js';
import { createChat } from './data-chat.js';
import { createConverters } from './data-convert.js';
import { createInspectors } from './data-inspect.js';
import { createScore } from './data-score.js';
import { badRecordReporter, bytes, formats, number, rate } from './data-format.js';

interface BuildCommandOptions extends CommonOptions {
  tokenizer: string;
  out: string;
  val?: string[];
  valFraction?: number;
  workers?: number;
  field: string;
  format?: (typeof formats)[number];
  badRecords: 'fail' | 'skip';
  eos?: string;
  shardTokens?: number;
  minBytes?: number;
  maxBytes?: number;
  filter?: 'repetition';
  dedup?: 'exact' | 'near';
}

const EXIT_INTERRUPTED = 130;

/** `strata data`. */
export function create(): Command {
  const data = defineCommand('data', 'turn text into token shards and look into them', []);
  for (const part of [createBuild(), createChat(), ...createConverters(), ...createInspectors(), createScore()])
    data.addCommand(part);
  return data;
}

function createBuild(): Command {
  const command = defineCommand('build', 'turn text into token shards', [
    ['strata data build train.jsonl.gz --val valid.jsonl.gz --tokenizer tokenizer.json --out data', 'held-out files'],
    ['strata data build corpus/ --val-fraction 0.01 --tokenizer tokenizer.json --out data', 'held-out documents'],
    ["strata data build 'web/*.parquet' --field content --tokenizer llama3/ --out data --workers 16", 'many threads'],
  ])
    .argument('<input...>', 'files, folders or globs: text, JSONL, CSV, Parquet, also .gz or .zst')
    .requiredOption('--tokenizer <file>', 'tokenizer.json or a folder with one')
    .requiredOption('--out <dir>', 'folder for train/ and validation/')
    .option('--val <input...>', 'files held out for validation')
    .addOption(
      new Option('--val-fraction <f>', 'share of documents held out, by hash').argParser(parseNumber).conflicts('val'),
    )
    .addOption(
      new Option('--workers <n>', 'threads (default: all cores); the shards are the same').argParser(
        parsePositiveInteger,
      ),
    )
    .option('--field <name>', 'field or column that holds the text', 'text')
    .addOption(new Option('--format <format>', 'format of files whose name does not tell').choices(formats))
    .addOption(
      new Option('--bad-records <policy>', 'what a record without text does').choices(['fail', 'skip']).default('fail'),
    )
    .option('--eos <token>', 'token that ends a document, where the tokenizer does not tell')
    .addOption(
      new Option('--shard-tokens <n>', 'tokens in a shard (default: 134217728)').argParser(parsePositiveInteger),
    );
  command
    .addOption(
      new Option('--dedup <kind>', 'drop documents that equal (or nearly equal) an earlier one').choices([
        'exact',
        'near',
      ]),
    )
    .addOption(new Option('--min-bytes <n>', 'drop shorter documents').argParser(parsePositiveInteger))
    .addOption(new Option('--max-bytes <n>', 'drop longer documents').argParser(parsePositiveInteger))
    .addOption(
      new Option('--filter <kind>', 'drop documents that repeat themselves or are lists and symbols').choices([
        'repetition',
      ]),
    );
  return withCommonOptions(command).action(build);
}

async function build(inputs: string[], options: BuildCommandOptions): Promise<void> {
  const terminal = terminalFor(options);
  const progress = terminal.progress('tokenizing');
  const start = performance.now();
  const interrupted = new AbortController();
  const stop = (): void => interrupted.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  let textAtStart: number | undefined;
  const onProgress = ({ readBytes, totalBytes, documents, tokens, textBytes }: BuildProgress): void => {
    textAtStart ??= textBytes;
    const speed = rate(textBytes - textAtStart, (performance.now() - start) / 1000);
    progress.update(readBytes, totalBytes, `${speed}  ${number(documents)} documents  ${number(tokens)} tokens`);
  };
  const result = await buildDataset({
    inputs,
    tokenizer: options.tokenizer,
    out: options.out,
    ...validationOf(options),
    workers: options.workers ?? options.threads ?? availableParallelism(),
    field: options.field,
    badRecords: options.badRecords,
    ...(options.format === undefined ? {} : { format: options.format }),
    ...(options.eos === undefined ? {} : { eos: options.eos }),
    ...(options.shardTokens === undefined ? {} : { tokensPerShard: options.shardTokens }),
    ...limitsOf(options),
    ...(options.dedup === undefined ? {} : { deduplicate: options.dedup }),
    onBadRecord: badRecordReporter(terminal),
    onNote: (note) => terminal.say(note),
    onProgress,
    signal: interrupted.signal,
  });
  process.off('SIGINT', stop).off('SIGTERM', stop);
  progress.finish();
  if (!result.finished) {
    terminal.warn('Interrupted. The same command goes on from here.');
    process.exitCode = EXIT_INTERRUPTED;
    return;
  }
  const seconds = (performance.now() - start) / 1000;
  const splits = Object.entries(result.splits).map(([split, { folder, index }]) => {
    const { tokens, documents, textBytes, dtype, vocabSize, shards } = index;
    return { split, folder, tokens, documents, textBytes, dtype, vocabSize, shards: shards.length };
  });
  const { dropped, duplicates } = result;
  terminal.result({ out: options.out, splits, badRecords: result.badRecords, dropped, duplicates, seconds }, () =>
    [
      ...splits.map(
        ({ folder, tokens, documents, textBytes }) =>
          `${folder}: ${number(tokens)} tokens of ${number(documents)} documents (${bytes(textBytes)}, ${(textBytes / tokens).toFixed(2)} bytes a token)`,
      ),
      ...Object.entries(dropped).map(([reason, count]) => `${number(count)} documents were dropped: ${reason}.`),
      ...(duplicates > 0 ? [`${number(duplicates)} documents were dropped as duplicates.`] : []),
      ...(result.badRecords > 0 ? [`${number(result.badRecords)} bad records were skipped.`] : []),
    ].join('\n'),
  );
}

function validationOf({ val, valFraction }: BuildCommandOptions): {
  validation?: { inputs: string[] } | { fraction: number };
} {
  if (val !== undefined) return { validation: { inputs: val } };
  if (valFraction === undefined) return {};
  if (!(valFraction > 0 && valFraction < 1))
    throw new InputError(`--val-fraction: expected a number between 0 and 1, found ${valFraction}.`);
  return { validation: { fraction: valFraction } };
}

function limitsOf({ minBytes, maxBytes, filter }: BuildCommandOptions): { limits?: HeuristicLimits } {
  if (minBytes === undefined && maxBytes === undefined && filter === undefined) return {};
  return {
    limits: {
      ...(minBytes === undefined ? {} : { minBytes }),
      ...(maxBytes === undefined ? {} : { maxBytes }),
      ...(filter === undefined ? {} : { repetition: true }),
    },
  };
}
