import { canonicalJson, sha256 } from './canonical.js';

/** The hash before the first record: 64 zeros. */
export const CHAIN_START = '0'.repeat(64);

/**
 * The hash that chains a record to the one before it.
 *
 * h_k is the SHA-256 of the text h_(k-1) followed by the canonical JSON of record k without its own `hash`. Editing, removing or
 * reordering records breaks the chain; cutting its end is seen only by who knows the last hash.
 */
export function chainHash(previous: string, record: Readonly<Record<string, unknown>>): string {
  const { hash: _, ...content } = record;
  return sha256(previous + canonicalJson(content));
}
