/** Bad input or usage: one sentence for the user, exit code 2, no stack trace. */
export class InputError extends Error {
  override readonly name = 'InputError';
}

/** Work that failed (disk full, download failed, engine missing): one sentence for the user, exit code 1. */
export class WorkError extends Error {
  override readonly name = 'WorkError';
}
