import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Loader } from '../../data/index.js';
import type { TokenFile } from './contract.js';

/** Sequences that are read and written at a time. */
const CHUNK = 256;

/**
 * Writes sequences as rows of `sequenceLength + 1` token ids, little-endian.
 *
 * @param at Index of the i-th row's sequence.
 * @returns What stage.json says of the file, and the sum of all input ids (without the last id of each row).
 */
export function writeTokenFile(
  folder: string,
  file: string,
  loader: Loader,
  vocabSize: number,
  rows: number,
  at: (row: number) => number,
): TokenFile {
  const length = loader.sequenceLength;
  const wide = vocabSize > 1 << 16;
  const inputs = new Int32Array(length);
  const targets = new Int32Array(length);
  const chunk = wide ? new Uint32Array(CHUNK * (length + 1)) : new Uint16Array(CHUNK * (length + 1));
  const descriptor = openSync(join(folder, file), 'w');
  try {
    for (let first = 0; first < rows; first += CHUNK) {
      const count = Math.min(CHUNK, rows - first);
      for (let i = 0; i < count; i++) {
        loader.read(at(first + i), 1, inputs, targets);
        chunk.set(inputs, i * (length + 1));
        chunk[(i + 1) * (length + 1) - 1] = targets[length - 1]!;
      }
      const bytes = new Uint8Array(chunk.buffer, 0, count * (length + 1) * chunk.BYTES_PER_ELEMENT);
      for (let written = 0; written < bytes.length; ) written += writeSync(descriptor, bytes, written);
    }
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  return { file, dtype: wide ? 'uint32' : 'uint16', rows };
}

/** Sum of the ids of all input tokens of sequences; below 2^53 for 2^36 tokens of a vocabulary of 2^17. */
export function sumOfTokens(loader: Loader, firstSequence: number, numSequences: number): number {
  const inputs = new Int32Array(loader.sequenceLength);
  const targets = new Int32Array(loader.sequenceLength);
  let sum = 0;
  for (let sequence = firstSequence; sequence < firstSequence + numSequences; sequence++) {
    loader.read(sequence, 1, inputs, targets);
    for (const id of inputs) sum += id;
  }
  return sum;
}
