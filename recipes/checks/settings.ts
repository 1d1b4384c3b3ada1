import { parseArgs } from 'node:util';
import { InputError } from '../../src/index.js';

/** What every small check takes from the command line. */
export interface CheckSettings {
  /** Folder of all runs and data. */
  readonly out: string;
  readonly seeds: readonly number[];
  readonly steps: number;
  readonly threads: number;
}

/** Reads `--out DIR --seeds 1,2,3 --steps N --threads N`. */
export function checkSettings(defaults: { readonly out: string; readonly steps: number }): CheckSettings {
  const { values } = parseArgs({
    options: {
      out: { type: 'string', default: defaults.out },
      seeds: { type: 'string', default: '1,2,3' },
      steps: { type: 'string', default: String(defaults.steps) },
      threads: { type: 'string', default: '1' },
    },
  });
  const whole = (text: string, name: string): number => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < 1)
      throw new InputError(`--${name}: expected whole numbers of at least 1, found "${text}".`);
    return value;
  };
  return {
    out: values.out,
    seeds: values.seeds.split(',').map((seed) => whole(seed, 'seeds')),
    steps: whole(values.steps, 'steps'),
    threads: whole(values.threads, 'threads'),
  };
}

/** A model small enough for minutes on a laptop. */
export const smallModel = {
  hidden_size: 64,
  num_hidden_layers: 8,
  num_attention_heads: 4,
  intermediate_size: 176,
  tie_word_embeddings: true,
} as const;

/** Entries of the checks' tokenizer. */
export const VOCABULARY = 1024;

/** Mean and sample standard deviation, for a table. */
export function spread(values: readonly number[]): string {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, values.length - 1);
  return `${mean.toFixed(4)} ± ${Math.sqrt(variance).toFixed(4)}`;
}
