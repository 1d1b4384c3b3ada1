import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type Dataset, Loader, loadTokenizer, openDataset } from '../data/index.js';
import { InputError } from '../errors.js';
import type { RunConfig } from './config/index.js';

/** The data of a run. */
export interface RunData {
  readonly train: Dataset;
  readonly validation: Dataset;
  readonly loader: Loader;
  close(): void;
}

/** Where token shards are: the folder itself, or its part of that name. */
export function splitFolder(folder: string, split: 'train' | 'validation'): string {
  const part = join(folder, split);
  return !existsSync(join(folder, 'index.json')) && existsSync(join(part, 'index.json')) ? part : folder;
}

/** Folders of a run's training and validation shards; validation is the training data's other split where it is not given. */
export function dataFolders({ data }: RunConfig): { train: string; validation: string } {
  const train = splitFolder(data.train, 'train');
  const beside = basename(train) === 'train' ? join(dirname(train), 'validation') : join(data.train, 'validation');
  return { train, validation: data.validation === undefined ? beside : splitFolder(data.validation, 'validation') };
}

/**
 * Opens a run's data.
 *
 * @throws InputError where a folder holds no sound shards, or the two were made by different tokenizers.
 */
export function openData(config: RunConfig): RunData {
  const folders = dataFolders(config);
  const train = openDataset(folders.train);
  let validation: Dataset | undefined;
  try {
    if (config.data.validation === undefined && !existsSync(folders.validation))
      throw new InputError(
        `data.validation is missing, and ${config.data.train} has no validation split ("strata data build" makes one with --val or --val-fraction).`,
      );
    validation = openDataset(folders.validation);
    if (validation.index.tokenizer.sha256 !== train.index.tokenizer.sha256)
      throw new InputError(
        `${folders.validation}: expected the tokenizer of ${folders.train}, found another; build both with the same one.`,
      );
    const loader = new Loader(train, { sequenceLength: config.data.sequenceLength, seed: config.seed });
    const held = validation;
    return { train, validation, loader, close: () => [train, held].forEach((dataset) => dataset.close()) };
  } catch (error) {
    train.close();
    validation?.close();
    throw error;
  }
}

/**
 * Checks that a model to start from was trained on the same tokens.
 *
 * @throws InputError where its folder has another tokenizer than the data; a folder without one is taken on trust.
 */
export function checkTokenizer(modelFolder: string, { train }: Pick<RunData, 'train'>): void {
  const file = join(modelFolder, 'tokenizer.json');
  if (!existsSync(file) || loadTokenizer(file).hash === train.index.tokenizer.sha256) return;
  throw new InputError(
    `${file}: expected the tokenizer of ${train.folder}, found another: the model's tokens would mean something else.`,
  );
}

/** What transformers needs to know beside tokenizer.json. */
const TOKENIZER_CONFIG = 'tokenizer_config.json';

/**
 * Tokenizer files that travel with every checkpoint, by name. Where the data came with none, a tokenizer_config.json is made: without one,
 * transformers guesses a class by the model's type, whose special tokens need not be this tokenizer's.
 */
export function tokenizerFiles({ train }: RunData): Record<string, Uint8Array | string> {
  const files: Record<string, Uint8Array | string> = { 'tokenizer.json': readFileSync(train.tokenizerFile) };
  for (const name of [TOKENIZER_CONFIG, 'special_tokens_map.json'])
    if (existsSync(join(train.folder, name))) files[name] = readFileSync(join(train.folder, name));
  const end = loadTokenizer(train.tokenizerFile).idToToken(train.index.tokenizer.eosId);
  files[TOKENIZER_CONFIG] ??= `${JSON.stringify(
    { tokenizer_class: 'PreTrainedTokenizerFast', bos_token: end, eos_token: end, clean_up_tokenization_spaces: false },
    null,
    2,
  )}\n`;
  return files;
}
