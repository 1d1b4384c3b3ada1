import { createReadStream } from 'node:fs';
import * as zlib from 'node:zlib';
import { Decompress } from 'fzstd';
import { InputError } from '../../errors.js';
import type { InputFile } from './inputs.js';

const READ_BYTES = 2 ** 18;
/** A small piece at a time: a few bytes of zstd can stand for megabytes of text. */
const ZSTD_BYTES = 2 ** 14;

/**
 * Streams a file's content, decompressed, in pieces of any size.
 *
 * @param onRead Told the bytes read from disk, for progress.
 * @throws InputError if the compressed data are damaged or cut off.
 */
export async function* readContent(
  file: InputFile,
  onRead: (bytes: number) => void = () => {},
): AsyncGenerator<Uint8Array> {
  const stream = createReadStream(file.path, { highWaterMark: READ_BYTES });
  stream.on('data', (chunk) => onRead(chunk.length));
  try {
    if (file.compression === 'none') yield* stream;
    else if (file.size === 0) throw new Error('an empty file');
    else if (file.compression === 'gzip') yield* through(stream, zlib.createGunzip({ chunkSize: READ_BYTES }));
    else yield* zstdContent(stream);
  } catch (error) {
    throw inputError(file, error);
  } finally {
    stream.destroy();
  }
}

async function* through(stream: NodeJS.ReadableStream, decoder: NodeJS.ReadWriteStream): AsyncGenerator<Uint8Array> {
  stream.on('error', (error) => decoder.emit('error', error));
  stream.pipe(decoder);
  for await (const chunk of decoder) yield chunk as unknown as Uint8Array;
}

async function* zstdContent(stream: NodeJS.ReadableStream): AsyncGenerator<Uint8Array> {
  // Node has had zstd since 22.15; it also verifies checksums, which fzstd does not.
  const native = (zlib as { createZstdDecompress?: () => NodeJS.ReadWriteStream }).createZstdDecompress;
  if (native !== undefined) {
    yield* through(stream, native());
    return;
  }
  const ready: Uint8Array[] = [];
  const decoder = new Decompress((chunk) => ready.push(chunk));
  for await (const chunk of stream as unknown as AsyncIterable<Uint8Array>) {
    for (let at = 0; at < chunk.length; at += ZSTD_BYTES) {
      decoder.push(chunk.subarray(at, at + ZSTD_BYTES));
      yield* ready.splice(0);
    }
  }
  decoder.push(new Uint8Array(0), true);
  yield* ready.splice(0);
}

function inputError(file: InputFile, error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (code === 'ENOENT' || code === 'EACCES' || code === 'EISDIR')
    return new InputError(`${file.path}: expected a file that can be read, found ${code}.`);
  if (file.compression === 'none') return error;
  return new InputError(`${file.path}: expected whole ${file.compression} data, found ${error.message}.`);
}
