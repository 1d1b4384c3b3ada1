import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { InputError } from '../../errors.js';
import { readMegatronIndex } from './megatron.js';

/** A flat token file that another program wrote. */
export interface TokenFile {
  readonly path: string;
  readonly format: 'nanogpt' | 'llm.c' | 'megatron';
  readonly bytesPerToken: 2 | 4;
  /** Bytes in front of the first token. */
  readonly offset: number;
  readonly tokens: number;
}

/** llm.c's header: 256 little-endian int32: magic, version, number of tokens. */
export const LLMC_HEADER_BYTES = 1024;
export const LLMC_GPT2 = { magic: 20240520, version: 1 } as const;
export const LLMC_LLAMA3 = { magic: 20240801, version: 7 } as const;

/**
 * Recognises a `.bin` of nanoGPT (bare uint16), llm.c (with a header; uint16 or uint32) or Megatron (with an `.idx` beside it).
 *
 * @throws InputError naming what does not fit.
 */
export function describeTokenFile(path: string): TokenFile {
  const { size } = sizeOf(path);
  const megatron = readMegatronIndex(path.replace(/\.bin$/, '.idx'));
  if (megatron !== undefined) {
    const { bytesPerToken, tokens } = megatron;
    return checked({ path, format: 'megatron', bytesPerToken, offset: 0, tokens }, size);
  }
  const header = readHeader(path);
  for (const { magic, version } of [LLMC_GPT2, LLMC_LLAMA3]) {
    if (header[0] !== magic) continue;
    if (header[1] !== version)
      throw new InputError(`${path}: header: expected version ${version}, found ${header[1]}.`);
    const bytesPerToken = magic === LLMC_GPT2.magic ? 2 : 4;
    return checked({ path, format: 'llm.c', bytesPerToken, offset: LLMC_HEADER_BYTES, tokens: header[2] ?? 0 }, size);
  }
  if (size === 0 || size % 2 !== 0)
    throw new InputError(`${path}: expected 16-bit tokens without a header, found ${size} bytes.`);
  return { path, format: 'nanogpt', bytesPerToken: 2, offset: 0, tokens: size / 2 };
}

/** Reads a token file from token `from` on, in pieces of at most `most` tokens (the array is used again for the next). */
export function* readTokenFile(
  file: TokenFile,
  { from = 0, most = 2 ** 20 }: { from?: number; most?: number } = {},
): Generator<Uint16Array | Uint32Array> {
  const bytes = new Uint8Array(most * file.bytesPerToken);
  const descriptor = openSync(file.path, 'r');
  try {
    for (let at = from; at < file.tokens; at += most) {
      const count = Math.min(most, file.tokens - at);
      for (let got = 0; got < count * file.bytesPerToken; ) {
        const position = file.offset + at * file.bytesPerToken + got;
        const read = readSync(descriptor, bytes, got, count * file.bytesPerToken - got, position);
        if (read === 0) throw new InputError(`${file.path}: expected ${file.tokens} tokens, found the file cut off.`);
        got += read;
      }
      yield file.bytesPerToken === 2
        ? new Uint16Array(bytes.buffer, 0, count)
        : new Uint32Array(bytes.buffer, 0, count);
    }
  } finally {
    closeSync(descriptor);
  }
}

function checked(file: TokenFile, size: number): TokenFile {
  const expected = file.offset + file.tokens * file.bytesPerToken;
  if (size !== expected)
    throw new InputError(
      `${file.path}: expected ${expected} bytes (${file.tokens} tokens of ${file.format}), found ${size}.`,
    );
  return file;
}

function sizeOf(path: string): { size: number } {
  try {
    return statSync(path);
  } catch {
    throw new InputError(`${path}: expected a token file, found none.`);
  }
}

function readHeader(path: string): Int32Array {
  const header = new Int32Array(3);
  const descriptor = openSync(path, 'r');
  try {
    readSync(descriptor, header, 0, header.byteLength, 0);
  } finally {
    closeSync(descriptor);
  }
  return header;
}
