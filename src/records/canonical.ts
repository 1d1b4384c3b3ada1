import { createHash } from 'node:crypto';

/**
 * Canonical JSON: keys sorted by UTF-16 code unit at every depth, no spaces, so that equal values have equal text.
 *
 * Fields whose value is undefined are left out and numbers that are not finite become null, as in `JSON.stringify`.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item)).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  // Written out by hand because objects order integer-like keys by value, whatever order they were added in.
  const fields = Object.entries(value)
    .filter(([, inner]) => inner !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([key, inner]) => `${JSON.stringify(key)}:${canonicalJson(inner)}`);
  return `{${fields.join(',')}}`;
}

/** SHA-256 of a text (as UTF-8) or of bytes, in lower-case hex. */
export const sha256 = (content: string | Uint8Array): string => createHash('sha256').update(content).digest('hex');
