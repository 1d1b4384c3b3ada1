import { InputError } from '../../errors.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { readBatches } from '../sources/batches.js';
import { type BadRecord, badRecordError, readDocuments } from '../sources/documents.js';
import { type SourceFormat, expandInputs } from '../sources/inputs.js';
import { type TrainBpeOptions, trainBpe } from './train.js';
import { WordCounter } from './word-counter.js';
import { tokenizerJson } from './write.js';

export interface TrainTokenizerOptions extends Omit<TrainBpeOptions, 'onProgress'> {
  /** Files, folders and globs. */
  readonly inputs: readonly string[];
  /** The tokenizer.json to write. */
  readonly out: string;
  readonly field?: string;
  readonly format?: SourceFormat;
  readonly badRecords?: 'fail' | 'skip';
  readonly onBadRecord?: (record: BadRecord) => void;
  /** Told bytes on disk while words are counted, then vocabulary entries while pairs are merged. */
  readonly onProgress?: (phase: 'count' | 'merge', done: number, total: number) => void;
}

export interface TrainTokenizerResult {
  readonly file: string;
  readonly vocabSize: number;
  readonly merges: number;
  readonly documents: number;
  readonly textBytes: number;
  readonly words: number;
  readonly badRecords: number;
}

/**
 * Trains a byte-level BPE on files and writes it as `tokenizer.json`.
 *
 * @throws InputError for inputs that cannot be read, or too small a vocabulary.
 */
export async function trainTokenizer(options: TrainTokenizerOptions): Promise<TrainTokenizerResult> {
  const field = options.field ?? 'text';
  const files = expandInputs(options.inputs, options.format);
  const total = files.reduce((sum, file) => sum + file.size, 0);
  const words = new WordCounter();
  let read = 0;
  let documents = 0;
  let textBytes = 0;
  let badRecords = 0;
  const onBad = (record: BadRecord): void => {
    if ((options.badRecords ?? 'fail') === 'fail') throw badRecordError(record);
    badRecords++;
    options.onBadRecord?.(record);
  };
  for (const file of files) {
    for await (const batch of readBatches(file, { field, cutText: true, onRead: (bytes) => (read += bytes) })) {
      for (const { utf8, ends } of await readDocuments(batch, field, onBad)) {
        words.add(utf8, 0, utf8.length);
        textBytes += utf8.length;
        if (ends) documents++;
      }
      options.onProgress?.('count', read, total);
    }
  }
  if (words.size === 0) throw new InputError(`${options.inputs.join(', ')}: expected text to train on, found none.`);
  const { onProgress } = options;
  const trained = trainBpe(words, {
    ...options,
    onProgress: (entries, vocabSize) => onProgress?.('merge', entries, vocabSize),
  });
  writeFileAtomic(options.out, tokenizerJson(trained));
  return {
    file: options.out,
    vocabSize: trained.vocab.length,
    merges: trained.merges.length,
    documents,
    textBytes,
    words: words.size,
    badRecords,
  };
}
