import type { Terminal } from '../terminal.js';

/** Formats that `--format` takes. */
export const formats = ['text', 'jsonl', 'parquet', 'csv', 'tsv'] as const;

const MAX_REPORTED = 10;
const grouped = new Intl.NumberFormat('en-US');

/** A number of bytes for people. */
export function bytes(count: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(value < 100 ? 1 : 0)} ${units[unit]}`;
}

/** Bytes a second for people. */
export const rate = (count: number, seconds: number): string =>
  `${bytes(Math.round(count / Math.max(seconds, 1e-9)))}/s`;

/** A count for people: 1,234,567. */
export const number = (count: number): string => grouped.format(count);

/** Says the first few bad records as they come; the total is the command's to say. */
export function badRecordReporter(
  terminal: Terminal,
): (record: { path: string; line: number; reason: string }) => void {
  let reported = 0;
  return ({ path, line, reason }) => {
    if (reported++ < MAX_REPORTED) terminal.warn(`skipped ${path}:${line}: ${reason}.`);
    else if (reported === MAX_REPORTED + 1) terminal.warn('More bad records follow; they are only counted.');
  };
}
