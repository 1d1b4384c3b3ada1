import type { Command } from 'commander';
import { Option } from 'commander';
import { trainTokenizer } from '../../data/index.js';
import { type CommonOptions, defineCommand, parsePositiveInteger, terminalFor, withCommonOptions } from '../command.js';
import { badRecordReporter, bytes, formats, rate } from './data-format.js';

interface TrainOptions extends CommonOptions {
  vocabSize: number;
  out: string;
  minFrequency: number;
  special: string[];
  field: string;
  format?: (typeof formats)[number];
  badRecords: 'fail' | 'skip';
}

/** `strata tokenizer`. */
export function create(): Command {
  const tokenizer = defineCommand('tokenizer', 'train a tokenizer', []);
  tokenizer.addCommand(createTrain());
  return tokenizer;
}

function createTrain(): Command {
  const command = defineCommand('train', 'train a byte-level BPE and write it as tokenizer.json', [
    ['strata tokenizer train corpus/ --vocab-size 4096 --out tokenizer.json', 'all text below a folder'],
    [
      "strata tokenizer train 'part-*.jsonl.zst' --vocab-size 32000 --out t.json --field content",
      'a field of JSON lines',
    ],
  ])
    .argument('<input...>', 'files, folders or globs: text, JSONL, CSV, Parquet, also .gz or .zst')
    .addOption(
      new Option('--vocab-size <n>', 'entries, special tokens and bytes included')
        .argParser(parsePositiveInteger)
        .makeOptionMandatory(),
    )
    .requiredOption('--out <file>', 'the tokenizer.json to write')
    .addOption(
      new Option('--min-frequency <n>', 'merge only pairs seen this often').argParser(parsePositiveInteger).default(2),
    )
    .option('--special <token...>', 'special tokens, which get the first ids', ['<|endoftext|>'])
    .option('--field <name>', 'field or column that holds the text', 'text')
    .addOption(new Option('--format <format>', 'format of files whose name does not tell').choices(formats))
    .addOption(
      new Option('--bad-records <policy>', 'what a record without text does').choices(['fail', 'skip']).default('fail'),
    );
  return withCommonOptions(command).action(train);
}

async function train(inputs: string[], options: TrainOptions): Promise<void> {
  const terminal = terminalFor(options);
  const progress = { count: terminal.progress('counting words'), merge: terminal.progress('merging pairs ') };
  const start = performance.now();
  const result = await trainTokenizer({
    inputs,
    out: options.out,
    vocabSize: options.vocabSize,
    minFrequency: options.minFrequency,
    specialTokens: options.special,
    field: options.field,
    badRecords: options.badRecords,
    ...(options.format === undefined ? {} : { format: options.format }),
    onBadRecord: badRecordReporter(terminal),
    onProgress(phase, done, total) {
      if (phase === 'merge') progress.count.finish();
      progress[phase].update(done, total, phase === 'count' ? bytes(done) : `${done} entries`);
    },
  });
  const seconds = (performance.now() - start) / 1000;
  progress.merge.finish();
  if (result.vocabSize < options.vocabSize)
    terminal.warn(
      `Only ${result.vocabSize} of ${options.vocabSize} entries: no further pair occurs ${options.minFrequency} times.`,
    );
  terminal.result({ ...result, seconds }, () => {
    const { file, vocabSize, documents, textBytes, words, badRecords } = result;
    const skipped = badRecords > 0 ? ` ${badRecords} bad records were skipped.` : '';
    return `${file}: ${vocabSize} entries from ${documents} documents (${bytes(textBytes)}, ${words} different words) in ${seconds.toFixed(1)} s, ${rate(textBytes, seconds)}.${skipped}`;
  });
}
