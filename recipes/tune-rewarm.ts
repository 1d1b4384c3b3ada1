import type { Tune } from '../src/experiments/tune/index.js';
import type { RunInput } from '../src/index.js';

/** The search for the rate at which a grown model's training begins again. */
export interface Rewarm {
  readonly data: string;
  readonly model: Record<string, unknown> & { readonly num_hidden_layers: number };
  readonly baseLayers: number;
  readonly baseTokens: number;
  /** Tokens of the cheap trials, and of the run itself. */
  readonly trialTokens: number;
  readonly tokens: number;
  readonly operator?: string;
  readonly seed?: number;
}

/**
 * Tunes the peak rate of a grown model: first on the layers that growth added, for a part of the tokens, then as it will be trained
 * (trained layers as a fidelity: Frozen Layers, arXiv 2504.10735).
 */
export function tuneRewarm(setup: Rewarm): Tune {
  const { data, model, baseLayers, baseTokens, trialTokens, tokens, operator = 'block-expansion', seed = 1 } = setup;
  const common: Omit<RunInput, 'name' | 'stages'> = {
    seed,
    data: { train: data, sequenceLength: 256, batchTokens: 8192 },
    checkpoints: { every: 1000, keepLast: 1 },
  };
  return {
    name: 'tune-rewarm',
    base: {
      ...common,
      name: 'base',
      model: { ...model, num_hidden_layers: baseLayers },
      stages: [{ name: 'base', kind: 'train', until: { tokens: baseTokens }, optimizer: { lr: 4e-3 } }],
    },
    run: {
      ...common,
      name: 'target',
      stages: [
        { name: 'grow', kind: 'grow', operator, model: { num_hidden_layers: model.num_hidden_layers } },
        { name: 'target', kind: 'train', until: { tokens }, optimizer: { lr: 4e-3 } },
      ],
    },
    space: { 'stages.target.optimizer.lr': { log: [2e-4, 2e-2], points: 9 } },
    fidelities: [{ trainable: 'added', tokens: trialTokens }, { tokens: trialTokens }, {}],
  };
}

export default (): Tune =>
  tuneRewarm({
    data: 'runs/quickstart/data',
    model: {
      hidden_size: 128,
      num_hidden_layers: 12,
      num_attention_heads: 4,
      intermediate_size: 320,
      vocab_size: 2048,
    },
    baseLayers: 6,
    baseTokens: 1e6,
    trialTokens: 5e5,
    tokens: 4e6,
  });
