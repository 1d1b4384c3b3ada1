import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { InputError, WorkError } from '../errors.js';
import { syncFolder } from '../files/atomic.js';
import { CHAIN_START, chainHash } from './chain.js';
import type {
  EvalRecord,
  EventRecord,
  GrowthRecord,
  MeasurementRecord,
  TrainRecord,
  ValidationRecord,
} from './schema.js';

/** A record to be written: `time` is stamped and `hash` computed by the writer. */
export type RecordInput = TrainRecord | ValidationRecord | GrowthRecord | EvalRecord | MeasurementRecord | EventRecord;

export interface WriterOptions {
  /** Chain the records by hash; a file that was begun without hashes goes on without. */
  readonly chain?: boolean;
  /** Fields that every record gets. */
  readonly stamp?: Readonly<Record<string, string>>;
  /** Clock in seconds since the Unix epoch. */
  readonly now?: () => number;
}

const FLUSH_BYTES = 64 * 1024;
const FLUSH_SECONDS = 1;
const NEWLINE = 0x0a;

/**
 * Appends records to a JSONL file.
 *
 * Lines are buffered and reach the file within a second of the next append, so that a live page can follow; `sync` makes them durable and
 * belongs before every checkpoint. JSON has no NaN or infinity: such a number is written as null, and an `event` record
 * `nonFinite` behind it names the field and the value.
 */
export class RecordWriter {
  #descriptor: number;
  #pending: string[] = [];
  #pendingBytes = 0;
  #onDisk: number;
  #flushed: number;
  /** Hash of the last record, once it is needed. */
  #head: string | undefined;
  #chained: boolean;
  readonly #stamp: Readonly<Record<string, string>>;
  readonly #now: () => number;

  private constructor(
    readonly path: string,
    descriptor: number,
    options: WriterOptions,
  ) {
    this.#descriptor = descriptor;
    this.#now = options.now ?? (() => Date.now() / 1000);
    this.#onDisk = cutTornLine(descriptor);
    this.#flushed = this.#now();
    this.#chained = options.chain === true;
    this.#stamp = options.stamp ?? {};
  }

  /** Opens a file for appending, or makes it. A line that a crash left unfinished is cut off. */
  static open(path: string, options: WriterOptions = {}): RecordWriter {
    mkdirSync(dirname(path), { recursive: true });
    const isNew = !existsSync(path);
    const descriptor = openSync(path, isNew ? 'w+' : 'r+');
    if (isNew) syncFolder(dirname(path));
    return new RecordWriter(path, descriptor, options);
  }

  /** Length of the file in bytes, lines not yet written included: what a checkpoint stores. */
  get lengthBytes(): number {
    return this.#onDisk + this.#pendingBytes;
  }

  /** Hash of the last record; undefined where records are not chained. */
  get chainHead(): string | undefined {
    if (!this.#chained) return undefined;
    this.#head ??= this.#readHead();
    this.#chained = this.#head !== undefined;
    return this.#head;
  }

  append(input: RecordInput): void {
    const nonFinite: Record<string, string> = {};
    const { kind, time, ...fields } = input;
    const record: Record<string, unknown> = { kind, time: time ?? this.#now(), ...this.#stamp };
    for (const [field, value] of Object.entries(fields)) {
      if (typeof value === 'number' && !Number.isFinite(value)) {
        nonFinite[field] = String(value);
        record[field] = null;
      } else record[field] = value;
    }
    this.#push(record);
    if (Object.keys(nonFinite).length > 0)
      this.append({ kind: 'event', name: 'nonFinite', of: kind, step: input['step'], values: nonFinite });
    if (this.#pendingBytes > FLUSH_BYTES || this.#now() - this.#flushed > FLUSH_SECONDS) this.flush();
  }

  /** Hands buffered lines to the operating system. */
  flush(): void {
    const bytes = Buffer.from(this.#pending.join(''));
    for (let written = 0; written < bytes.length; )
      written += writeSync(this.#descriptor, bytes, written, bytes.length - written, this.#onDisk + written);
    this.#onDisk += bytes.length;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#flushed = this.#now();
  }

  /** Makes everything appended so far survive a crash of the machine. */
  sync(): void {
    this.flush();
    fsyncSync(this.#descriptor);
  }

  /** Cuts the file back to a length that `lengthBytes` gave earlier: the state at a checkpoint. */
  truncateTo(bytes: number): void {
    this.flush();
    if (bytes > this.#onDisk)
      throw new WorkError(`${this.path} has ${this.#onDisk} bytes, but the checkpoint expects at least ${bytes}.`);
    if (bytes > 0 && readByte(this.#descriptor, bytes - 1) !== NEWLINE)
      throw new InputError(`${this.path} has no end of a line at byte ${bytes}, where the checkpoint expects one.`);
    ftruncateSync(this.#descriptor, bytes);
    fsyncSync(this.#descriptor);
    this.#onDisk = bytes;
    this.#head = undefined;
  }

  close(): void {
    this.sync();
    closeSync(this.#descriptor);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #push(record: Record<string, unknown>): void {
    const head = this.chainHead;
    if (head !== undefined) record['hash'] = this.#head = chainHash(head, record);
    const line = `${JSON.stringify(record)}\n`;
    this.#pending.push(line);
    this.#pendingBytes += Buffer.byteLength(line);
  }

  /** The hash of the last line on disk; undefined where it has none. */
  #readHead(): string | undefined {
    if (this.#onDisk === 0) return CHAIN_START;
    const start = startOfLastLine(this.#descriptor, this.#onDisk);
    const bytes = Buffer.alloc(this.#onDisk - start);
    readSync(this.#descriptor, bytes, 0, bytes.length, start);
    try {
      const { hash } = JSON.parse(bytes.toString()) as { hash?: unknown };
      return typeof hash === 'string' ? hash : undefined;
    } catch {
      return undefined;
    }
  }
}

function readByte(descriptor: number, at: number): number | undefined {
  const byte = Buffer.alloc(1);
  return readSync(descriptor, byte, 0, 1, at) === 1 ? byte[0] : undefined;
}

/** Cuts what stands behind the last newline; returns the length that is left. */
function cutTornLine(descriptor: number): number {
  const { size } = fstatSync(descriptor);
  if (size === 0 || readByte(descriptor, size - 1) === NEWLINE) return size;
  const length = startOfLastLine(descriptor, size + 1);
  ftruncateSync(descriptor, length);
  return length;
}

/** Where the line starts whose newline is the byte before `end`. */
function startOfLastLine(descriptor: number, end: number): number {
  const chunk = Buffer.alloc(FLUSH_BYTES);
  for (let stop = end - 1; stop > 0; ) {
    const start = Math.max(0, stop - chunk.length);
    readSync(descriptor, chunk, 0, stop - start, start);
    const newline = chunk.subarray(0, stop - start).lastIndexOf(NEWLINE);
    if (newline >= 0) return start + newline + 1;
    stop = start;
  }
  return 0;
}
