import { statSync } from 'node:fs';
import { InputError } from '../errors.js';
import { ColumnBuilder, trainFields, type TrainColumns } from './columns.js';
import { readLines, type Line } from './lines.js';
import { createLineScanner } from './scan.js';
import {
  isRecordKind,
  recordSchemas,
  type EvalRecord,
  type EventRecord,
  type GrowthRecord,
  type MeasurementRecord,
  type RunRecord,
  type TrainRecord,
  type ValidationRecord,
} from './schema.js';

/** What a reader met that a healthy file has not. Reading goes on in every case. */
export interface RecordProblems {
  /** Lines that are no JSON object or lack fields that their kind needs. */
  invalid: number;
  /** Lines of a kind that Strata does not know, or of none. */
  foreign: number;
  /** Records stamped earlier than the one before. */
  clockBackwards: number;
  /** Train and validation records whose loss is not a finite number. */
  nonFinite: number;
  /** The last line has no end: a crash, or a run that is being written. */
  truncated: boolean;
  /** Line and reason of the first invalid line. */
  first?: string;
}

/** All records of a run, the train records as columns. */
export interface RunRecords {
  readonly train: TrainColumns;
  /** Names that `train.stage` indexes. */
  readonly stages: readonly string[];
  readonly validation: readonly ValidationRecord[];
  readonly growth: readonly GrowthRecord[];
  readonly evals: readonly EvalRecord[];
  readonly measurements: readonly MeasurementRecord[];
  readonly events: readonly EventRecord[];
  readonly problems: RecordProblems;
  /** Byte behind the last complete line: where reading can go on later. */
  readonly nextByte: number;
  /** One of how many train records was kept (the last one always is). */
  readonly trainStride: number;
}

export interface ReadOptions {
  /** Keep about this many train records, evenly spaced; records of other kinds are always all read. Default: all. */
  readonly maxTrainRecords?: number;
}

/** How our writer begins a train record; such lines can be skipped without parsing. */
const TRAIN_PREFIX = Buffer.from('{"kind":"train",');
const TIME = trainFields.indexOf('time');
const LOSS = trainFields.indexOf('loss');
const REQUIRED = (['step', 'tokens', 'flops'] as const).map((field) => trainFields.indexOf(field));

/**
 * Reads all records of a run.
 *
 * Unknown kinds, damaged lines, a torn last line, NaN and a clock that runs backwards are counted in `problems`, never thrown.
 * Throws InputError only where the file cannot be read at all.
 */
export function readRecords(path: string, options: ReadOptions = {}): RunRecords {
  const stride = trainStride(path, options.maxTrainRecords);
  const collector = new Collector();
  const scanner = createLineScanner(trainFields);
  let trainLines = 0;
  let nextByte = 0;
  let skippedByte = -1;
  for (const line of linesOf(path)) {
    if (line.complete) nextByte = line.nextByte;
    collector.lineNumber++;
    const isTrain = startsWithTrain(line);
    if (isTrain && line.complete && trainLines++ % stride !== 0) {
      skippedByte = line.firstByte;
      continue;
    }
    if (isTrain) skippedByte = -1;
    if (!(isTrain && scanner.scan(line.buffer, line.start, line.end) && collector.addScanned(line, scanner)))
      collector.addLine(line);
  }
  if (skippedByte >= 0) collector.addFrom(path, skippedByte);
  return { ...collector.finish(), nextByte, trainStride: stride };
}

/** Reads records one at a time, parsed and checked, from a byte on; lines that are damaged or of an unknown kind are left out. */
export function* streamRecords(path: string, fromByte = 0): Generator<{ record: RunRecord; nextByte: number }> {
  for (const line of linesOf(path, fromByte)) {
    if (!line.complete) return;
    const parsed = parseRecord(line.buffer.toString('utf8', line.start, line.end));
    if (parsed.record !== undefined) yield { record: parsed.record, nextByte: line.nextByte };
  }
}

/** Parses one line; `problem` says why there is no record. */
export function parseRecord(text: string): { record?: RunRecord; problem?: string; foreign?: boolean } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    try {
      // Python writes NaN and Infinity as bare words.
      value = JSON.parse(
        text.replace(/("(?:[^"\\]|\\.)*")|-?\b(?:NaN|Infinity)\b/g, (all, string) => (string ? all : 'null')),
      );
    } catch {
      return { problem: 'no JSON' };
    }
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return { problem: 'no JSON object' };
  const kind: unknown = 'kind' in value ? value.kind : undefined;
  if (!isRecordKind(kind)) return { problem: 'unknown kind', foreign: true };
  const result = recordSchemas[kind].safeParse(value);
  if (result.success) return { record: result.data };
  const issue = result.error.issues[0];
  return { problem: `${kind}.${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}` };
}

class Collector {
  lineNumber = 0;
  readonly #columns = new ColumnBuilder();
  readonly #validation: ValidationRecord[] = [];
  readonly #growth: GrowthRecord[] = [];
  readonly #evals: EvalRecord[] = [];
  readonly #measurements: MeasurementRecord[] = [];
  readonly #events: EventRecord[] = [];
  readonly #problems: RecordProblems = { invalid: 0, foreign: 0, clockBackwards: 0, nonFinite: 0, truncated: false };
  #clock = -Infinity;

  /** Adds what the scanner found; false where a required field is missing, so that the full parser can say which. */
  addScanned(line: Line, scanner: ReturnType<typeof createLineScanner>): boolean {
    if (scanner.stageStart < 0) return false;
    for (const slot of REQUIRED) if (Number.isNaN(scanner.values[slot])) return false;
    this.#tick(scanner.values[TIME] ?? NaN);
    if (Number.isNaN(scanner.values[LOSS])) this.#problems.nonFinite++;
    this.#columns.push(
      scanner.values,
      this.#columns.stageIndexOfBytes(line.buffer, scanner.stageStart, scanner.stageEnd),
    );
    if (!line.complete) this.#problems.truncated = true;
    return true;
  }

  addLine(line: Line): void {
    if (line.tooLong) this.#invalid('longer than a mebibyte');
    else this.addText(line.buffer.toString('utf8', line.start, line.end), line.complete);
  }

  addText(text: string, complete: boolean): void {
    const { record, problem, foreign } = parseRecord(text);
    if (!complete) this.#problems.truncated = true;
    if (record !== undefined) this.#add(record);
    else if (foreign === true) this.#problems.foreign++;
    else if (complete) this.#invalid(problem ?? 'invalid');
  }

  /** Adds the record that begins at a byte, as the last train record. */
  addFrom(path: string, byte: number): void {
    for (const { record } of streamRecords(path, byte)) {
      if (record.kind === 'train') this.#addTrain(record);
      return;
    }
  }

  finish(): Omit<RunRecords, 'nextByte' | 'trainStride'> {
    return {
      train: this.#columns.build(),
      stages: this.#columns.stages,
      validation: this.#validation,
      growth: this.#growth,
      evals: this.#evals,
      measurements: this.#measurements,
      events: this.#events,
      problems: this.#problems,
    };
  }

  #add(record: RunRecord): void {
    this.#tick(record.time ?? NaN);
    switch (record.kind) {
      case 'train':
        return this.#addTrain(record);
      case 'validation':
        if (!Number.isFinite(record.loss)) this.#problems.nonFinite++;
        this.#validation.push(record);
        return;
      case 'growth':
        this.#growth.push(record);
        return;
      case 'eval':
        this.#evals.push(record);
        return;
      case 'event':
        this.#events.push(record);
        return;
      case 'twinDistance':
      case 'agreement':
        this.#measurements.push(record);
        return;
      default:
        record satisfies never;
    }
  }

  #addTrain(record: TrainRecord): void {
    if (!Number.isFinite(record.loss)) this.#problems.nonFinite++;
    this.#columns.push(
      trainFields.map((field) => record[field] ?? NaN),
      this.#columns.stageIndex(record.stage),
    );
  }

  #tick(time: number): void {
    if (time < this.#clock) this.#problems.clockBackwards++;
    if (!Number.isNaN(time)) this.#clock = time;
  }

  #invalid(reason: string): void {
    this.#problems.invalid++;
    this.#problems.first ??= `line ${this.lineNumber}: ${reason}`;
  }
}

function* linesOf(path: string, fromByte = 0): Generator<Line> {
  try {
    yield* readLines(path, fromByte);
  } catch (error) {
    throw new InputError(`${path} cannot be read: ${error instanceof Error ? error.message : String(error)}.`, {
      cause: error,
    });
  }
}

function startsWithTrain({ buffer, start, end }: Line): boolean {
  if (end - start <= TRAIN_PREFIX.length) return false;
  for (let i = 0; i < TRAIN_PREFIX.length; i++) if (buffer[start + i] !== TRAIN_PREFIX[i]) return false;
  return true;
}

/** One of how many train records to keep, from the file's size and the length of its first lines. */
function trainStride(path: string, wanted: number | undefined): number {
  if (wanted === undefined) return 1;
  const SAMPLE = 64;
  let lines = 0;
  let bytes = 0;
  for (const line of linesOf(path)) {
    bytes = line.nextByte;
    if (++lines === SAMPLE) break;
  }
  if (lines === 0) return 1;
  return Math.max(1, Math.ceil(statSync(path).size / (bytes / lines) / wanted));
}
