import { countParameters, parseModelConfig } from '../src/architecture/index.js';
import type { RunInput } from '../src/index.js';
import { commonFields, exampleRun, type GrowingRun } from './stackbert.js';

/** Members of a family from the smallest on, as fields of their models. */
export type Member = Readonly<{
  name: string;
  num_hidden_layers: number;
  hidden_size: number;
  num_attention_heads: number;
  intermediate_size: number;
}>;

/**
 * Tokens of each stage, so that the whole chain costs what the largest model alone would: 20 N_i (1 - (N_{i-1} / N_i)^2), N without embeddings.
 *
 * @param perParameter Tokens per parameter of a model trained alone.
 */
export const familyTokens = (sizes: readonly number[], perParameter = 20): number[] =>
  sizes.map((size, i) => perParameter * size * (1 - ((sizes[i - 1] ?? 0) / size) ** 2));

/**
 * A progressive family (Yano et al. 2025, arXiv 2504.00623): models of growing sizes as one chain, each released when its own schedule has ended.
 *
 * Members grow by stacking in depth and by AKI (bert2BERT) in width.
 */
export function family(
  run: Omit<GrowingRun, 'steps' | 'model'> & {
    readonly model: Record<string, unknown>;
    readonly members: readonly Member[];
    readonly tokensPerParameter?: number;
  },
): RunInput {
  const { members, model, tokensPerParameter = 20, lr = 4e-3 } = run;
  const fields = members.map(({ name: _, ...sizes }) => ({ ...model, ...sizes }));
  const sizes = fields.map((sizesOf) => countParameters(parseModelConfig(sizesOf, 'family')).nonEmbedding);
  const tokens = familyTokens(sizes, tokensPerParameter);
  const batchTokens = run.batchTokens ?? 8192;
  const steps = tokens.reduce((sum, count) => sum + Math.round(count / batchTokens), 0);
  const stages = members.flatMap(({ name, ...sizesOf }, i): RunInput['stages'] => {
    const train = {
      name,
      kind: 'train',
      until: { tokens: Math.round(tokens[i]!) },
      optimizer: { lr },
      release: true,
    } as const;
    if (i === 0) return [{ ...train, model: sizesOf }];
    const before = members[i - 1]!;
    const wider = before.hidden_size !== sizesOf.hidden_size || before.intermediate_size !== sizesOf.intermediate_size;
    const deeper = before.num_hidden_layers !== sizesOf.num_hidden_layers;
    const operator = wider && deeper ? 'stack+aki' : wider ? 'aki' : 'stack';
    return [{ name: `to-${name}`, kind: 'grow', operator, model: sizesOf }, train];
  });
  return { ...commonFields({ ...run, model: fields.at(-1)!, steps }, 'family'), stages };
}

const exampleMembers: readonly Member[] = [
  { name: 'small', num_hidden_layers: 4, hidden_size: 64, num_attention_heads: 4, intermediate_size: 160 },
  { name: 'middle', num_hidden_layers: 8, hidden_size: 64, num_attention_heads: 4, intermediate_size: 160 },
  { name: 'large', num_hidden_layers: 8, hidden_size: 128, num_attention_heads: 8, intermediate_size: 320 },
];

export default (): RunInput =>
  family({ ...exampleRun, model: { vocab_size: 2048, head_dim: 16 }, members: exampleMembers });
