import { InputError } from '../../errors.js';
import type { Batch, ReadOptions } from './batch.js';
import { readContent } from './decompress.js';
import type { InputFile } from './inputs.js';
import { csvHeader, recordsEnd } from './csv.js';
import { parquetBatches } from './parquet.js';

/** Batches are about this long. */
const BATCH_BYTES = 2 ** 20;
/** The longest record or uncut document. */
export const MAX_RECORD_BYTES = 2 ** 28;

const LINE_FEED = 0x0a;
const BLANK = 0x20;

/** Reads a file in batches. @throws InputError for a damaged file or a record beyond 256 MiB. */
export async function* readBatches(file: InputFile, options: ReadOptions): AsyncGenerator<Batch> {
  if (file.format === 'parquet') yield* parquetBatches(file, options);
  else if (file.format === 'jsonl') yield* cutBatches(file, options, lastLineEnd, {});
  else if (file.format === 'text')
    yield* cutBatches(file, options, options.cutText ? lastWordEnd : () => 0, { ends: false });
  else yield* csvBatches(file, options);
}

/** Where a buffer may be cut: the length of its front part, or 0 if nowhere. */
type Cutter = (bytes: Uint8Array) => number;

const lastLineEnd: Cutter = (bytes) => bytes.lastIndexOf(LINE_FEED) + 1;

/** In front of the last blank that follows something else than space: there every split expression ends a piece. */
const lastWordEnd: Cutter = (bytes) => {
  for (let at = bytes.lastIndexOf(BLANK); at > 0; at = bytes.lastIndexOf(BLANK, at - 1)) {
    const before = bytes[at - 1]!;
    if (before > BLANK && before < 0x7f) return at;
  }
  return 0;
};

async function* cutBatches(
  file: InputFile,
  options: ReadOptions,
  cut: Cutter,
  extra: { column?: number; ends?: boolean },
  skipLines = 0,
): AsyncGenerator<Batch> {
  let pending: Uint8Array[] = [];
  let size = 0;
  let wanted = BATCH_BYTES;
  let line = 1;
  let skip = skipLines;
  let first = true;
  for await (const chunk of readContent(file, options.onRead)) {
    pending.push(chunk);
    size += chunk.length;
    while (size >= wanted) {
      const joined = join(pending, size);
      // Only the first `wanted` bytes are looked at, so that batches do not depend on how the stream was chopped.
      const end = cut(joined.subarray(0, wanted));
      pending = [joined.subarray(end)];
      size -= end;
      wanted = end > 0 ? BATCH_BYTES : wanted * 2;
      if (wanted > MAX_RECORD_BYTES)
        throw new InputError(
          `${file.path}:${line}: expected records of at most ${MAX_RECORD_BYTES} bytes, found a longer one.`,
        );
      if (end > 0) yield* make(joined.subarray(0, end));
    }
  }
  if (size > 0) yield* make(join(pending, size), true);

  function* make(bytes: Uint8Array, last = false): Generator<Batch> {
    let content = first && startsWithMark(bytes) ? bytes.subarray(3) : bytes;
    const firstLine = line;
    line += countLines(bytes);
    const firstBatch = first;
    first = false;
    for (; skip > 0; skip--) content = content.subarray(content.indexOf(LINE_FEED) + 1);
    if (content.length === 0 && !last) return;
    const part = extra.ends === undefined ? {} : { starts: firstBatch, ends: last };
    yield {
      file,
      ...extra,
      ...part,
      bytes: new Uint8Array(content),
      firstLine: firstLine + (firstLine === 1 ? skipLines : 0),
    };
  }
}

async function* csvBatches(file: InputFile, options: ReadOptions): AsyncGenerator<Batch> {
  const header = await csvHeader(file);
  const column = header.names.indexOf(options.field);
  if (column < 0)
    throw new InputError(
      `${file.path}: expected a column "${options.field}", found ${header.names.map((name) => `"${name}"`).join(', ')}.`,
    );
  yield* cutBatches(file, options, recordsEnd, { column }, header.lines);
}

const startsWithMark = (bytes: Uint8Array): boolean => bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;

function join(parts: readonly Uint8Array[], size: number): Uint8Array {
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts, size);
}

function countLines(bytes: Uint8Array): number {
  let lines = 0;
  for (let at = bytes.indexOf(LINE_FEED); at >= 0; at = bytes.indexOf(LINE_FEED, at + 1)) lines++;
  return lines;
}
