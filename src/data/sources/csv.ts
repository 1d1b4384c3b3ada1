import { InputError } from '../../errors.js';
import { readContent } from './decompress.js';
import type { InputFile } from './inputs.js';

const QUOTE = 0x22;
const LINE_FEED = 0x0a;
const MAX_HEADER_BYTES = 2 ** 20;

/** Length of the whole records at the start of `bytes`, which starts at a record; they end at line ends outside of quotes. */
export function recordsEnd(bytes: Uint8Array, onlyFirst = false): number {
  let quoted = false;
  let end = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) quoted = !quoted;
    else if (byte === LINE_FEED && !quoted) {
      end = at + 1;
      if (onlyFirst) break;
    }
  }
  return end;
}

/** Column names of a CSV or TSV file and how many lines they take. */
export async function csvHeader(file: InputFile): Promise<{ names: string[]; lines: number }> {
  let head = Buffer.alloc(0);
  for await (const chunk of readContent(file)) {
    head = Buffer.concat([head, chunk]);
    if (head.length > MAX_HEADER_BYTES || recordsEnd(head, true) > 0) break;
  }
  const end = recordsEnd(head, true) || head.length;
  if (end > MAX_HEADER_BYTES || end === 0)
    throw new InputError(
      `${file.path}:1: expected a line of column names, found ${end === 0 ? 'an empty file' : 'none'}.`,
    );
  const text = head.toString('utf8', 0, end).replace(/^\uFEFF/, '');
  const [names = []] = parseRecords(text, delimiterOf(file)).map(({ fields }) => fields);
  return { names, lines: text.split('\n').length - (text.endsWith('\n') ? 1 : 0) };
}

export const delimiterOf = (file: InputFile): string => (file.format === 'tsv' ? '\t' : ',');

/** A record and the line it starts on, counted from 0. */
export interface CsvRecord {
  readonly fields: string[];
  readonly line: number;
}

/** Parses records (RFC 4180: quotes doubled inside quotes; LF or CR LF). Blank lines are passed over. */
export function parseRecords(text: string, delimiter: string): CsvRecord[] {
  const records: CsvRecord[] = [];
  let fields: string[] = [];
  let line = 0;
  let recordLine = 0;
  let at = 0;
  while (at < text.length) {
    const field = text[at] === '"' ? quotedField(text, at) : plainField(text, at, delimiter);
    fields.push(field.value);
    for (let k = text.indexOf('\n', at); k >= 0 && k < field.end; k = text.indexOf('\n', k + 1)) line++;
    at = field.end;
    if (text[at] === delimiter) {
      at++;
      if (at < text.length) continue;
      fields.push('');
    }
    if (text[at] === '\r' && text[at + 1] === '\n') at++;
    if (text[at] === '\n') {
      at++;
      line++;
    } else if (at < text.length) continue;
    if (fields.length > 1 || fields[0] !== '') records.push({ fields, line: recordLine });
    fields = [];
    recordLine = line;
  }
  return records;
}

function quotedField(text: string, start: number): { value: string; end: number } {
  let value = '';
  for (let from = start + 1; ; ) {
    const quote = text.indexOf('"', from);
    if (quote < 0) return { value: value + text.slice(from), end: text.length };
    value += text.slice(from, quote);
    if (text[quote + 1] !== '"') return { value, end: quote + 1 };
    value += '"';
    from = quote + 2;
  }
}

function plainField(text: string, start: number, delimiter: string): { value: string; end: number } {
  let end = start;
  while (end < text.length && text[end] !== delimiter && text[end] !== '\n') end++;
  const value = text.slice(start, end);
  const closed = value.endsWith('\r') && text[end] === '\n';
  return { value: closed ? value.slice(0, -1) : value, end: closed ? end - 1 : end };
}
