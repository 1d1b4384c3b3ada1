import type { Command } from 'commander';
import { Option } from 'commander';
import { type Dataset, datasetStats, loadTokenizer, openDataset, verifyDataset } from '../../data/index.js';
import { InputError } from '../../errors.js';
import { type CommonOptions, defineCommand, parsePositiveInteger, terminalFor, withCommonOptions } from '../command.js';
import { formatTable } from '../terminal.js';
import { bytes, number } from './data-format.js';

/** `strata data verify`, `stats`, `head` and `cat`. */
export const createInspectors = (): Command[] => [createVerify(), createStats(), createHead(), createCat()];

function createVerify(): Command {
  const command = defineCommand('verify', 'check every byte of a data set', [
    ['strata data verify data/train', 'checksums, ids, document ends'],
  ]).argument('<dir>', 'folder with an index.json');
  return withCommonOptions(command).action((folder: string, options: CommonOptions) => {
    const terminal = terminalFor(options);
    const progress = terminal.progress('verifying');
    verifyDataset(folder, (done, total) => progress.update(done, total, bytes(done)));
    progress.finish();
    using dataset = openDataset(folder);
    const { tokens, documents, identity } = dataset;
    terminal.result(
      { folder, tokens, documents, identity, ok: true },
      () => `${folder}: ${number(tokens)} tokens of ${number(documents)} documents are as they were written.`,
    );
  });
}

function createStats(): Command {
  const command = defineCommand('stats', 'count tokens, documents and their lengths', [
    ['strata data stats data/train', 'as a table'],
    ['strata data stats data/train --json', 'for scripts'],
  ]).argument('<dir>', 'folder with an index.json');
  return withCommonOptions(command).action((folder: string, options: CommonOptions) => {
    const terminal = terminalFor(options);
    using dataset = openDataset(folder);
    const progress = terminal.progress('counting');
    const stats = datasetStats(dataset, (done, total) => progress.update(done, total, `${number(done)} tokens`));
    progress.finish();
    const tokenizer = loadTokenizer(dataset.tokenizerFile);
    terminal.result({ folder, identity: dataset.identity, ...stats }, () =>
      formatTable([
        ['tokens', number(stats.tokens)],
        ['documents', number(stats.documents)],
        ['bytes a token', stats.bytesPerToken.toFixed(3)],
        ['ids used', `${number(stats.usedIds)} of ${number(dataset.vocabSize)}`],
        ['entropy of an id', `${stats.entropyBits.toFixed(3)} bits`],
        ...stats.documentTokens.map(({ quantile, tokens }) => [`document tokens, ${quantile * 100} %`, number(tokens)]),
        ...stats.mostFrequent
          .slice(0, 10)
          .map(({ id, count }) => [`id ${id} ${JSON.stringify(tokenizer.decode([id]))}`, number(count)]),
        ['identity', dataset.identity],
      ]),
    );
  });
}

interface HeadOptions extends CommonOptions {
  documents: number;
  tokens: number;
}

function createHead(): Command {
  const command = defineCommand('head', 'show how the first documents begin, as text', [
    ['strata data head data/train', 'the first five'],
    ['strata data head data/train --documents 20 --tokens 40', 'more of them, less of each'],
  ])
    .argument('<dir>', 'folder with an index.json')
    .addOption(new Option('--documents <n>', 'how many').argParser(parsePositiveInteger).default(5))
    .addOption(new Option('--tokens <n>', 'tokens of each').argParser(parsePositiveInteger).default(100));
  return withCommonOptions(command).action((folder: string, options: HeadOptions) => {
    using dataset = openDataset(folder);
    show(dataset, 0, Math.min(options.documents, dataset.documents), options.tokens, options, false);
  });
}

interface CatOptions extends CommonOptions {
  from: number;
  count: number;
  ids?: boolean;
}

function createCat(): Command {
  const command = defineCommand('cat', 'print whole documents, as text or as ids', [
    ['strata data cat data/train --from 7', 'the eighth document'],
    ['strata data cat data/train --from 0 --count 3 --ids', 'token ids'],
  ])
    .argument('<dir>', 'folder with an index.json')
    .addOption(new Option('--from <n>', 'first document, counted from 0').argParser(parseIndex).default(0))
    .addOption(new Option('--count <n>', 'how many').argParser(parsePositiveInteger).default(1))
    .option('--ids', 'token ids instead of text');
  return withCommonOptions(command).action((folder: string, options: CatOptions) => {
    using dataset = openDataset(folder);
    if (options.from >= dataset.documents)
      throw new InputError(`--from: expected a document below ${dataset.documents}, found ${options.from}.`);
    const count = Math.min(options.count, dataset.documents - options.from);
    show(dataset, options.from, count, Infinity, options, options.ids === true);
  });
}

/** Parses the number of a document. */
function parseIndex(text: string): number {
  return text === '0' ? 0 : parsePositiveInteger(text);
}

function show(dataset: Dataset, from: number, count: number, most: number, options: CommonOptions, ids: boolean): void {
  const tokenizer = loadTokenizer(dataset.tokenizerFile);
  const documents = Array.from({ length: count }, (_, i) => {
    const { start, end } = dataset.documentRange(from + i);
    const tokens = new Int32Array(Math.min(most, end - start));
    dataset.read(start, tokens.length, tokens);
    const shown = ids ? { ids: [...tokens] } : { text: tokenizer.decode(tokens, { skipSpecialTokens: true }) };
    return { document: from + i, tokens: end - start, ...shown };
  });
  terminalFor(options).result(documents, () =>
    documents
      .map((shown) => {
        const content = 'ids' in shown ? shown.ids.join(' ') : shown.text;
        return `--- document ${shown.document}, ${number(shown.tokens)} tokens\n${content}`;
      })
      .join('\n'),
  );
}
