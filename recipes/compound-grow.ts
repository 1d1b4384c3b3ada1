import type { RunInput } from '../src/index.js';
import { commonFields, exampleRun, type GrowingRun } from './stackbert.js';

/**
 * Compound growth (Gu et al., NAACL 2021): depth and width grow together rather than one after the other.
 *
 * Their third dimension, the length of the inputs, stays: a run reads sequences of one length. The operators are stacking and function-preserving
 * duplication; theirs were not checked.
 *
 * @param share Share of the steps that the half-sized model is trained.
 */
export function compoundGrow(
  run: GrowingRun & {
    readonly model: {
      readonly hidden_size: number;
      readonly num_attention_heads: number;
      readonly intermediate_size: number;
    };
    readonly share?: number;
  },
): RunInput {
  const { steps, model, share = 0.25, lr = 4e-3 } = run;
  const train = { kind: 'train', optimizer: { lr } } as const;
  const small = {
    num_hidden_layers: model.num_hidden_layers / 2,
    hidden_size: model.hidden_size / 2,
    num_attention_heads: model.num_attention_heads / 2,
    intermediate_size: model.intermediate_size / 2,
  };
  const first = Math.round(steps * share);
  return {
    ...commonFields(run, 'compound-grow'),
    stages: [
      { ...train, name: 'small', model: small, until: { steps: first } },
      { name: 'grow', kind: 'grow', operator: 'stack+direct-width', factor: [2, 2] },
      { ...train, name: 'large', until: { steps: steps - first } },
    ],
  };
}

export default (): RunInput =>
  compoundGrow({
    ...exampleRun,
    model: {
      hidden_size: 128,
      num_hidden_layers: 12,
      num_attention_heads: 4,
      intermediate_size: 320,
      vocab_size: 2048,
    },
  });
