import type { Row } from './types.js';

/** A row that is not what its format says; the reader adds file and line. */
export class RowError extends Error {
  override readonly name = 'RowError';
}

const show = (value: unknown): string => (JSON.stringify(value) ?? 'nothing').slice(0, 60);

/** A field that must be text. */
export function textField(row: Row, field: string): string {
  const value = row[field];
  if (typeof value === 'string') return value;
  throw new RowError(`field "${field}" must be text, found ${show(value)}`);
}

/** A field that must be an object. */
export function objectField(row: Row, field: string): Row {
  const value = row[field];
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Row;
  throw new RowError(`field "${field}" must be an object, found ${show(value)}`);
}

/** A field that must be a list of objects. */
export function objectsField(row: Row, field: string): Row[] {
  const value = row[field];
  if (Array.isArray(value) && value.every((item) => typeof item === 'object' && item !== null)) return value as Row[];
  throw new RowError(`field "${field}" must be a list of objects, found ${show(value)}`);
}

/** A field that must be a list of texts. */
export function textsField(row: Row, field: string): string[] {
  const value = row[field];
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
  throw new RowError(`field "${field}" must be a list of texts, found ${show(value)}`);
}

/** A field that must be one of a few values; Parquet's integers arrive as numbers or bigints. Returns its index. */
export function indexField(row: Row, field: string, values: readonly string[]): number {
  const index = values.indexOf(String(row[field]));
  if (index >= 0) return index;
  throw new RowError(`field "${field}" must be one of ${values.join(', ')}, found ${show(String(row[field]))}`);
}
