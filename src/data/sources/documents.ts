import { isUtf8 } from 'node:buffer';
import { InputError } from '../../errors.js';
import type { Batch } from './batch.js';
import { delimiterOf, parseRecords } from './csv.js';
import { parquetTexts } from './parquet.js';
import { encodeUtf8 } from '../tokenizer/utf8.js';

/** A document, or a part of one. */
export interface Document {
  /** Valid UTF-8. */
  readonly utf8: Uint8Array;
  /** Line (or row) that it starts on, from 1. */
  readonly line: number;
  /** Whether the document starts here; false only for later parts of a long text file. */
  readonly starts: boolean;
  /** Whether the document ends here; false only for parts of a long text file. */
  readonly ends: boolean;
}

/** A record that is no document. */
export interface BadRecord {
  readonly path: string;
  readonly line: number;
  /** What was expected and what was found. */
  readonly reason: string;
}

const LINE_FEED = 0x0a;
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The documents of a batch, in order. Empty ones are passed over.
 *
 * @param onBad Told of each record that is none; it throws where that is to be fatal.
 */
export async function readDocuments(batch: Batch, field: string, onBad: (bad: BadRecord) => void): Promise<Document[]> {
  const bad = (line: number, reason: string): undefined => onBad({ path: batch.file.path, line, reason }) as undefined;
  switch (batch.file.format) {
    case 'text':
      return textDocuments(batch, bad);
    case 'jsonl':
      return jsonDocuments(batch, field, bad);
    case 'parquet':
      return toDocuments(
        (await parquetTexts(batch, field)).map((value, row) => ({ value, line: batch.firstLine + row })),
        `column "${field}"`,
        bad,
      );
    case 'csv':
    case 'tsv':
      return csvDocuments(batch, field, bad);
    default:
      return batch.file.format satisfies never;
  }
}

/** A bad record as the error that ends the work. */
export const badRecordError = ({ path, line, reason }: BadRecord): InputError =>
  new InputError(`${path}:${line}: ${reason}.`);

type OnBad = (line: number, reason: string) => undefined;

function textDocuments(batch: Batch, bad: OnBad): Document[] {
  const { starts = true, ends = true } = batch;
  if (!isUtf8(batch.bytes)) bad(batch.firstLine, 'expected UTF-8, found bytes that are not');
  else return batch.bytes.length > 0 || ends ? [{ utf8: batch.bytes, line: batch.firstLine, starts, ends }] : [];
  return ends ? [{ utf8: new Uint8Array(0), line: batch.firstLine, starts, ends }] : [];
}

function jsonDocuments(batch: Batch, field: string, bad: OnBad): Document[] {
  const documents: Document[] = [];
  const { bytes } = batch;
  let line = batch.firstLine;
  for (let start = 0; start < bytes.length; line++) {
    const found = bytes.indexOf(LINE_FEED, start);
    const end = found < 0 ? bytes.length : found;
    const text = jsonText(bytes.subarray(start, end), field);
    if (typeof text === 'object') bad(line, text.reason);
    else if (text.length > 0) documents.push({ utf8: encodeUtf8(text), line, starts: true, ends: true });
    start = end + 1;
  }
  return documents;
}

function jsonText(bytes: Uint8Array, field: string): string | { reason: string } {
  let value: unknown;
  try {
    const source = strict.decode(bytes);
    if (source.trim() === '') return '';
    value = JSON.parse(source);
  } catch (error) {
    return { reason: `expected a JSON object, found ${error instanceof SyntaxError ? 'bad JSON' : 'invalid UTF-8'}` };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return { reason: 'expected a JSON object, found another value' };
  const text: unknown = (value as Record<string, unknown>)[field];
  return typeof text === 'string' ? text : { reason: `field "${field}": expected text, found ${kindOf(text)}` };
}

function csvDocuments(batch: Batch, field: string, bad: OnBad): Document[] {
  if (!isUtf8(batch.bytes)) {
    bad(batch.firstLine, 'expected UTF-8, found bytes that are not');
    return [];
  }
  const records = parseRecords(strict.decode(batch.bytes), delimiterOf(batch.file));
  const values = records.map(({ fields, line }) => ({
    value: fields[batch.column ?? 0],
    line: batch.firstLine + line,
  }));
  return toDocuments(values, `column "${field}"`, bad);
}

function toDocuments(values: readonly { value: unknown; line: number }[], what: string, bad: OnBad): Document[] {
  const documents: Document[] = [];
  for (const { value, line } of values) {
    if (typeof value !== 'string') bad(line, `${what}: expected text, found ${kindOf(value)}`);
    else if (value.length > 0) documents.push({ utf8: encodeUtf8(value), line, starts: true, ends: true });
  }
  return documents;
}

const kindOf = (value: unknown): string =>
  value === undefined ? 'nothing' : value === null ? 'null' : Array.isArray(value) ? 'a list' : `a ${typeof value}`;
