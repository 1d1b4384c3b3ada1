import { countParameters, parseModelConfig } from '../src/architecture/index.js';
import { InputError } from '../src/errors.js';
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

/** Peak rate of a member: from a table by name, or from its parameters (without embeddings) and those of the smallest. */
export type PeakLr = Readonly<Record<string, number>> | ((parameters: number, smallest: number) => number);

/** Falls with the root of the size. The paper has rates by size, too; this rule and its exponent are ours. */
export const rootLr =
  (lr: number): PeakLr =>
  (parameters, smallest) =>
    lr * Math.sqrt(smallest / parameters);

/** A family to be trained. */
export type FamilyRun = Omit<GrowingRun, 'steps' | 'model'> & {
  readonly model: Record<string, unknown>;
  readonly members: readonly Member[];
  readonly tokensPerParameter?: number;
  /** Default: `rootLr` of `lr`. */
  readonly peakLr?: PeakLr;
  /** Held-out tokens on which neighbours are compared. */
  readonly agreement?: number;
};

const BATCH_TOKENS = 8192;

/**
 * A progressive family (Yano et al. 2025, arXiv 2504.00623): models of growing sizes as one chain, each released when its own schedule has ended.
 *
 * Members grow by stacking in depth and by AKI (bert2BERT) in width; each is compared with the one before on held-out text.
 */
export function family(run: FamilyRun): RunInput {
  const { members, model, tokensPerParameter = 20, agreement = 2000, batchTokens = BATCH_TOKENS } = run;
  const rates = ratesOf(run);
  const tokens = familyTokens(sizesOf(run), tokensPerParameter);
  const steps = tokens.reduce((sum, count) => sum + Math.round(count / batchTokens), 0);
  const stages = members.flatMap(({ name, ...fields }, i): RunInput['stages'] => {
    const train = { ...trainStage(name, tokens[i]!, rates[i]!), release: true } as const;
    if (i === 0) return [{ ...train, model: fields }];
    const before = members[i - 1]!;
    const wider = before.hidden_size !== fields.hidden_size || before.intermediate_size !== fields.intermediate_size;
    const deeper = before.num_hidden_layers !== fields.num_hidden_layers;
    const operator = wider && deeper ? 'stack+aki' : wider ? 'aki' : 'stack';
    return [{ name: `to-${name}`, kind: 'grow', operator, model: fields }, train];
  });
  const { name: _, ...largest } = members.at(-1)!;
  return { ...commonFields({ ...run, model: { ...model, ...largest }, steps }, 'family'), agreement, stages };
}

/** The same members from scratch, each with the tokens per parameter that the rule gives a model of its own. */
export function apart(run: FamilyRun): RunInput[] {
  const { members, model, tokensPerParameter = 20, batchTokens = BATCH_TOKENS } = run;
  const [rates, sizes] = [ratesOf(run), sizesOf(run)];
  return members.map(({ name, ...fields }, i) => {
    const tokens = tokensPerParameter * sizes[i]!;
    const steps = Math.round(tokens / batchTokens);
    const common = commonFields({ ...run, model: { ...model, ...fields }, steps }, `apart-${name}`);
    return { ...common, stages: [trainStage(name, tokens, rates[i]!)] };
  });
}

const trainStage = (name: string, tokens: number, lr: number) =>
  ({ name, kind: 'train', until: { tokens: Math.round(tokens) }, optimizer: { lr } }) as const;

/** Parameters of each member without embeddings. */
const sizesOf = ({ members, model }: FamilyRun): number[] =>
  members.map(
    ({ name: _, ...fields }) => countParameters(parseModelConfig({ ...model, ...fields }, 'family')).nonEmbedding,
  );

/** Peak rates to three digits: people read and repeat them. */
function ratesOf(run: FamilyRun): number[] {
  const { members, lr = 4e-3, peakLr = rootLr(lr) } = run;
  const sizes = sizesOf(run);
  return members.map(({ name }, i) => {
    const rate = typeof peakLr === 'function' ? peakLr(sizes[i]!, sizes[0]!) : peakLr[name];
    if (rate === undefined) throw new InputError(`peakLr names no rate for the member "${name}".`);
    return Number(rate.toPrecision(3));
  });
}

const exampleMembers: readonly Member[] = [
  { name: 'small', num_hidden_layers: 4, hidden_size: 64, num_attention_heads: 4, intermediate_size: 160 },
  { name: 'middle', num_hidden_layers: 8, hidden_size: 64, num_attention_heads: 4, intermediate_size: 160 },
  { name: 'large', num_hidden_layers: 8, hidden_size: 128, num_attention_heads: 8, intermediate_size: 320 },
];

export default (): RunInput =>
  family({ ...exampleRun, model: { vocab_size: 2048, head_dim: 16 }, members: exampleMembers });
