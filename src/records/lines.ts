import { closeSync, openSync, readSync } from 'node:fs';

const CHUNK_BYTES = 1 << 20;
const MAX_LINE_BYTES = 1 << 20;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** One line of a file; `buffer[start, end)` is valid until the next line is asked for. */
export interface Line {
  buffer: Buffer;
  start: number;
  end: number;
  /** Byte in the file where the line starts. */
  firstByte: number;
  /** Byte in the file behind the line and its newline. */
  nextByte: number;
  /** The line ends with a newline; without one it may still be being written. */
  complete: boolean;
  /** The line is longer than a mebibyte and was left out (start equals end). */
  tooLong: boolean;
}

/**
 * Reads a file line by line in bounded memory, from a byte on.
 *
 * The same `Line` object is handed out again and again. Empty lines are left out.
 */
export function* readLines(path: string, fromByte = 0): Generator<Line> {
  const descriptor = openSync(path, 'r');
  try {
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES + MAX_LINE_BYTES);
    let filled = 0;
    let position = fromByte;
    let skipping = false;
    const line: Line = {
      buffer,
      start: 0,
      end: 0,
      firstByte: fromByte,
      nextByte: fromByte,
      complete: true,
      tooLong: false,
    };
    for (;;) {
      const numRead = readSync(descriptor, buffer, filled, CHUNK_BYTES, position);
      position += numRead;
      filled += numRead;
      const firstByte = position - filled;
      let start = 0;
      for (;;) {
        // Without a view of the filled part: making one for every line would take longer than the search.
        const newline = buffer.indexOf(NEWLINE, start);
        if (newline < 0 || newline >= filled) break;
        line.start = start;
        line.end = newline > start && buffer[newline - 1] === CARRIAGE_RETURN ? newline - 1 : newline;
        line.firstByte = firstByte + start;
        line.nextByte = firstByte + newline + 1;
        line.complete = true;
        line.tooLong = skipping;
        if (skipping) line.end = line.start;
        if (skipping || line.end > line.start) yield line;
        skipping = false;
        start = newline + 1;
      }
      buffer.copyWithin(0, start, filled);
      filled -= start;
      if (numRead === 0) {
        if (filled === 0 && !skipping) return;
        Object.assign(line, {
          start: 0,
          firstByte,
          end: skipping ? 0 : filled,
          nextByte: position,
          complete: false,
          tooLong: skipping,
        });
        yield line;
        return;
      }
      if (filled > MAX_LINE_BYTES) {
        skipping = true;
        filled = 0;
      }
    }
  } finally {
    closeSync(descriptor);
  }
}
