import { closeSync, fsyncSync, openSync, renameSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { InputError, WorkError } from '../../errors.js';
import { syncFolder, writeFileAtomic } from '../../files/atomic.js';
import type { Dataset } from '../dataset.js';
import { megatronIndex } from './megatron.js';
import { LLMC_GPT2, LLMC_HEADER_BYTES, LLMC_LLAMA3 } from './token-file.js';

export type ExportFormat = 'nanogpt' | 'llm.c' | 'megatron';

const TOKENS_AT_ONCE = 2 ** 20;

/**
 * Writes a data set as one token file that nanoGPT, llm.c or Megatron reads (Megatron: with its `.idx` beside it).
 *
 * @param out Name of the `.bin`.
 * @throws InputError where the format cannot hold the tokens.
 */
export function exportTokens(
  dataset: Dataset,
  format: ExportFormat,
  out: string,
  onProgress: (tokens: number, total: number) => void = () => {},
): void {
  if (!out.endsWith('.bin')) throw new InputError(`--out: expected a name that ends in .bin, found ${out}.`);
  const wide = dataset.index.dtype === 'uint32';
  if (format === 'nanogpt' && wide)
    throw new InputError(
      `${dataset.folder}: expected 16-bit tokens for nanoGPT, found a vocabulary of ${dataset.vocabSize}.`,
    );
  if (format === 'llm.c' && dataset.tokens >= 2 ** 31)
    throw new InputError(`${dataset.folder}: expected at most 2^31 - 1 tokens for llm.c, found ${dataset.tokens}.`);
  const temporary = `${out}.${process.pid}.partial`;
  const descriptor = openSync(temporary, 'w');
  try {
    if (format === 'llm.c') writeSync(descriptor, llmcHeader(dataset.tokens, wide));
    const tokens = new Int32Array(TOKENS_AT_ONCE);
    for (let at = 0; at < dataset.tokens; at += TOKENS_AT_ONCE) {
      const count = Math.min(TOKENS_AT_ONCE, dataset.tokens - at);
      dataset.read(at, count, tokens);
      writeAll(descriptor, wide ? tokens.subarray(0, count) : Uint16Array.from(tokens.subarray(0, count)), out);
      onProgress(at + count, dataset.tokens);
    }
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  if (format === 'megatron')
    writeFileAtomic(out.replace(/\.bin$/, '.idx'), megatronIndex(documentLengths(dataset), wide ? 4 : 2));
  renameSync(temporary, out);
  syncFolder(dirname(join(out)));
}

function llmcHeader(tokens: number, wide: boolean): Buffer {
  const header = Buffer.alloc(LLMC_HEADER_BYTES);
  const { magic, version } = wide ? LLMC_LLAMA3 : LLMC_GPT2;
  [magic, version, tokens].forEach((value, i) => header.writeInt32LE(value, i * 4));
  return header;
}

/** Lengths of all documents, and of what stands behind the last EOS. */
function documentLengths(dataset: Dataset): number[] {
  const lengths: number[] = [];
  let firstToken = 0;
  let last = 0;
  dataset.index.shards.forEach((shard, number) => {
    for (const end of dataset.shardEnds(number)) {
      lengths.push(firstToken + end - last);
      last = firstToken + end;
    }
    firstToken += shard.tokens;
  });
  if (last < dataset.tokens) lengths.push(dataset.tokens - last);
  return lengths;
}

function writeAll(descriptor: number, data: Int32Array | Uint16Array, out: string): void {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  try {
    for (let written = 0; written < bytes.length; ) written += writeSync(descriptor, bytes, written);
  } catch (error) {
    throw new WorkError(`${out}: cannot write (${error instanceof Error ? error.message : String(error)}).`);
  }
}
