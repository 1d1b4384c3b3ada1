import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import {
  type ExportFormat,
  type ShardIndex,
  exportTokens,
  importTokens,
  mixDatasets,
  openDataset,
} from '../../data/index.js';
import { type CommonOptions, defineCommand, parseNumber, terminalFor, withCommonOptions } from '../command.js';
import type { Terminal } from '../terminal.js';
import { number } from './data-format.js';

/** `strata data mix`, `import` and `export`. */
export const createConverters = (): Command[] => [createMix(), createImport(), createExport()];

interface MixCommandOptions extends CommonOptions {
  out: string;
  tokens?: number;
  maxEpochs: number;
  seed: number;
}

function createMix(): Command {
  const command = defineCommand('mix', 'mix data sets by weight, or shuffle the documents of one', [
    ['strata data mix web/train=0.7 books/train=0.3 --out mixed', 'until a source is used up'],
    ['strata data mix web/train=1 books/train=1 --tokens 1e9 --max-epochs 4 --out mixed', 'books up to four times'],
    ['strata data mix web/train=1 --out shuffled --seed 7', 'its documents in another order'],
  ])
    .argument('<dir=weight...>', 'data sets of one tokenizer, each with its share of the tokens', collectSource)
    .requiredOption('--out <dir>', 'folder for the mixed data set')
    .addOption(
      new Option('--tokens <n>', 'tokens to write (default: until a source is used up)').argParser(parseNumber),
    )
    .addOption(new Option('--max-epochs <n>', 'how often a source may be used').argParser(parseNumber).default(1))
    .addOption(new Option('--seed <n>', 'seed of the shuffled orders').argParser(parseNumber).default(0));
  return withCommonOptions(command).action(
    (sources: { folder: string; weight: number }[], { out, tokens, maxEpochs, seed, ...common }: MixCommandOptions) => {
      const terminal = terminalFor(common);
      const progress = terminal.progress('mixing');
      const index = mixDatasets({
        sources,
        out,
        maxEpochs,
        seed,
        ...(tokens === undefined ? {} : { tokens }),
        onProgress: (done, total) => progress.update(done, total, `${number(done)} tokens`),
      });
      progress.finish();
      report(terminal, out, index);
    },
  );
}

/** Collects `DIR=WEIGHT` arguments. */
function collectSource(
  text: string,
  before: { folder: string; weight: number }[] | undefined,
): { folder: string; weight: number }[] {
  const at = text.lastIndexOf('=');
  const weight = Number(text.slice(at + 1));
  if (at < 1 || !(weight > 0))
    throw new InvalidArgumentError(`expected DIR=WEIGHT with a weight above 0, found "${text}".`);
  return [...(before ?? []), { folder: text.slice(0, at), weight }];
}

interface ImportCommandOptions extends CommonOptions {
  tokenizer: string;
  out: string;
  split: 'train' | 'validation';
  eos?: string;
}

function createImport(): Command {
  const command = defineCommand('import', 'make a data set out of token files of nanoGPT, llm.c or Megatron', [
    ['strata data import train.bin --tokenizer gpt2/ --out data/train', "nanoGPT's or llm.c's"],
    [
      'strata data import corpus_text_document.bin --tokenizer t.json --out data/train',
      "Megatron's, with its .idx beside",
    ],
  ])
    .argument('<bin...>', 'token files, in order')
    .requiredOption('--tokenizer <file>', 'the tokenizer that made them')
    .requiredOption('--out <dir>', 'folder for the data set')
    .addOption(new Option('--split <split>', 'what it is').choices(['train', 'validation']).default('train'))
    .option('--eos <token>', 'token that ends a document, where the tokenizer does not tell');
  return withCommonOptions(command).action((inputs: string[], options: ImportCommandOptions) => {
    const terminal = terminalFor(options);
    const progress = terminal.progress('importing');
    const { tokenizer, out, split, eos } = options;
    const index = importTokens({
      inputs,
      tokenizer,
      out,
      split,
      ...(eos === undefined ? {} : { eos }),
      onProgress: (done, total) => progress.update(done, total, `${number(done)} tokens`),
    });
    progress.finish();
    report(terminal, out, index);
  });
}

interface ExportCommandOptions extends CommonOptions {
  to: ExportFormat;
  out: string;
}

function createExport(): Command {
  const command = defineCommand('export', 'write a data set as a token file for nanoGPT, llm.c or Megatron', [
    ['strata data export data/train --to nanogpt --out train.bin', 'bare 16-bit tokens'],
    ['strata data export data/train --to megatron --out corpus.bin', 'with corpus.idx beside'],
  ])
    .argument('<dir>', 'folder with an index.json')
    .addOption(
      new Option('--to <format>', 'whose format').choices(['nanogpt', 'llm.c', 'megatron']).makeOptionMandatory(),
    )
    .requiredOption('--out <file>', 'the .bin to write');
  return withCommonOptions(command).action((folder: string, { to, out, ...common }: ExportCommandOptions) => {
    const terminal = terminalFor(common);
    const progress = terminal.progress('exporting');
    using dataset = openDataset(folder);
    exportTokens(dataset, to, out, (done, total) => progress.update(done, total, `${number(done)} tokens`));
    progress.finish();
    terminal.result(
      { file: out, format: to, tokens: dataset.tokens, documents: dataset.documents },
      () => `${out}: ${number(dataset.tokens)} tokens of ${number(dataset.documents)} documents.`,
    );
  });
}

function report(terminal: Terminal, out: string, { tokens, documents, steps }: ShardIndex): void {
  terminal.result(
    { out, tokens, documents, steps },
    () => `${out}: ${number(tokens)} tokens of ${number(documents)} documents.`,
  );
}
