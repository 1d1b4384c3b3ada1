/** Bad input or usage: one sentence for the user, exit code 2, no stack trace. */
export class InputError extends Error {
  override readonly name = 'InputError';

  constructor(sentence: string, options?: ErrorOptions) {
    super(printable(sentence), options);
  }
}

/** Work that failed (disk full, download failed, engine missing): one sentence for the user, exit code 1. */
export class WorkError extends Error {
  override readonly name = 'WorkError';

  constructor(sentence: string, options?: ErrorOptions) {
    super(printable(sentence), options);
  }
}

/** Sentences cite what stands in files, which must not move a terminal's cursor or change its colours. */
const printable = (sentence: string): string =>
  sentence.replace(/\p{Cc}/gu, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);

const MOST_CITED = 60;

/** A name or value out of a file as JSON, for a sentence; shortened where it is long. */
export function cite(value: unknown): string {
  const short = typeof value === 'string' && value.length > MOST_CITED ? `${value.slice(0, MOST_CITED - 3)}...` : value;
  const text = JSON.stringify(short) ?? 'nothing';
  return text.length > MOST_CITED && typeof value !== 'string' ? `${text.slice(0, MOST_CITED - 3)}...` : text;
}
