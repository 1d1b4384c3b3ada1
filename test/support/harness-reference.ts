import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** A reference request: hash, tokens of context and continuation, log-likelihood, greedy; of a page: hash, tokens, log-likelihood. */
export type ReferenceRequest = readonly [string, number, number, number, boolean];
export type ReferencePage = readonly [string, number, number];

/** What lm-evaluation-harness gave for one task; see test/fixtures/eval/README.md. */
export interface ReferenceTask {
  readonly maxLength?: number;
  readonly summary: Readonly<Record<string, number | string>> & { readonly n: number };
  readonly docs: readonly {
    readonly metrics: Readonly<Record<string, number | readonly [number, number]>>;
    readonly requests: readonly (ReferenceRequest | ReferencePage)[];
  }[];
}

export interface Reference {
  readonly model: string;
  readonly addBos: 'auto' | false;
  readonly maxLength: number;
  readonly tasks: Readonly<Record<string, ReferenceTask>>;
}

export const fixtures = new URL('../fixtures/', import.meta.url).pathname;

export const readReference = (name: 'bos' | 'no-bos' | 'gpt2-random'): Reference =>
  JSON.parse(readFileSync(`${fixtures}eval/${name}.json`, 'utf8')) as Reference;

/** The hash by which the reference names a request. */
export const referenceHash = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16);
