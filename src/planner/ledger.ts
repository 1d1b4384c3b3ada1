import { familyOf, weightSize, type ModelConfig, type WeightRole, type WeightSpec } from '../architecture/index.js';

/** FLOPs that one token costs, under the three conventions that Strata keeps apart. */
export interface FlopsPerToken {
  /** Matrix products and attention (full T x T), exactly. */
  readonly flops: bigint;
  /** 6 N for training with N = all parameters (a tied matrix once): the paper's convention. */
  readonly flops6nd: bigint;
  /** 6 N with N = non-embedding parameters. */
  readonly flopsNonEmbedding: bigint;
}

/** Costs of running a model without a gradient: a third of training it in full. */
export const forwardFlopsPerToken = (config: ModelConfig, sequenceLength: number): FlopsPerToken =>
  flopsPerToken(config, sequenceLength, () => false);

/**
 * Costs of training a model on one token.
 *
 * Per parameter in a matrix product: 2 forward, 2 more where a gradient must pass through to something trained below, 2 more where
 * it is trained itself; attention likewise 4 h T forward and 8 h T backward a layer, h = heads x head_dim. Trained in full this is
 * 6 P_mat + 12 L h T. The two conventions weigh each parameter 2, 4 or 6 in the same way and know no attention.
 *
 * @param sequenceLength Tokens that attend to each other (T).
 * @param isTrained Which weights are trained; default all. A tied head is asked for by the weight that it is tied to.
 */
export function trainingFlopsPerToken(
  config: ModelConfig,
  sequenceLength: number,
  isTrained: (spec: WeightSpec) => boolean = () => true,
): FlopsPerToken {
  return flopsPerToken(config, sequenceLength, isTrained);
}

function flopsPerToken(
  config: ModelConfig,
  sequenceLength: number,
  isTrained: (spec: WeightSpec) => boolean,
): FlopsPerToken {
  const specs = familyOf(config).weights(config);
  const byName = new Map(specs.map((spec) => [spec.name, spec]));
  const owner = (spec: WeightSpec): WeightSpec =>
    spec.tiedTo === undefined ? spec : (byName.get(spec.tiedTo) ?? spec);
  const lowest = specs.reduce((low, spec) => (isTrained(owner(spec)) ? Math.min(low, depth(spec)) : low), Infinity);

  const sums = { flops: 0n, flops6nd: 0n, flopsNonEmbedding: 0n };
  for (const spec of specs) {
    const size = BigInt(weightSize(spec));
    const trained = isTrained(owner(spec));
    const passed = depth(spec) > lowest;
    if (spec.axes.length > 1 && !isLookup(spec)) sums.flops += size * (2n + (passed ? 2n : 0n) + (trained ? 2n : 0n));
    if (spec.tiedTo !== undefined) continue;
    const cost = size * (trained ? 6n : passed ? 4n : 2n);
    sums.flops6nd += cost;
    if (!isLookup(spec) && spec.role !== 'head') sums.flopsNonEmbedding += cost;
  }
  const perLayer = BigInt(config.num_attention_heads * config.head_dim) * BigInt(sequenceLength);
  for (let layer = 0; layer < config.num_hidden_layers; layer++)
    sums.flops += perLayer * (layer * LEVELS + ATTENTION_LEVEL > lowest ? 12n : 4n);
  return sums;
}

const isLookup = (spec: WeightSpec): boolean => spec.role === 'embedding' || spec.role === 'positionEmbedding';

/** Levels of one layer in the order of the forward pass; weights of one level do not feed each other. */
const levels: Record<WeightRole, number> = {
  embedding: -1,
  positionEmbedding: -1,
  attentionNorm: 0,
  query: 1,
  key: 1,
  value: 1,
  queryNorm: 2,
  keyNorm: 2,
  attentionOutput: 4,
  postAttentionNorm: 5,
  router: 6,
  ffnNorm: 6,
  gate: 7,
  up: 7,
  down: 8,
  postFfnNorm: 9,
  // Of unknown use: as the last of its layer, so that what gradients pass is never counted too low.
  other: 9,
  finalNorm: 0,
  head: 1,
};
const ATTENTION_LEVEL = 3;
const LEVELS = 10;
const ABOVE_ALL_LAYERS = 1e9;

/** Where a weight stands in the forward pass; a gradient passes every weight above the lowest trained one. */
function depth(spec: WeightSpec): number {
  const level = levels[spec.role];
  if (level < 0) return level;
  return spec.layer === undefined ? ABOVE_ALL_LAYERS + level : spec.layer * LEVELS + level;
}

/** What a ledger holds, as records, checkpoints and manifests store it. */
export interface LedgerTotals {
  readonly tokens: number;
  /** Rounded once from `flopsExact`. */
  readonly flops: number;
  readonly flopsExact: string;
  readonly flops6nd: number;
  readonly flops6ndExact: string;
  readonly flopsNonEmbedding: number;
  readonly flopsNonEmbeddingExact: string;
}

/**
 * Sums what a run has paid, exactly.
 *
 * A run of 7B parameters passes 2^53 within its first million tokens, so sums are BigInt and become numbers only when read.
 */
export class FlopLedger {
  #tokens = 0;
  #flops = 0n;
  #flops6nd = 0n;
  #flopsNonEmbedding = 0n;

  /** A ledger that goes on from stored totals: a checkpoint's, or a parent's. */
  static from(
    totals: Pick<LedgerTotals, 'tokens' | 'flopsExact' | 'flops6ndExact' | 'flopsNonEmbeddingExact'>,
  ): FlopLedger {
    const ledger = new FlopLedger();
    ledger.#tokens = totals.tokens;
    ledger.#flops = BigInt(totals.flopsExact);
    ledger.#flops6nd = BigInt(totals.flops6ndExact);
    ledger.#flopsNonEmbedding = BigInt(totals.flopsNonEmbeddingExact);
    return ledger;
  }

  /** Books tokens at a cost each. */
  add(perToken: FlopsPerToken, tokens: number): void {
    this.#tokens += tokens;
    this.addWork(perToken, tokens);
  }

  /** Books work on tokens that do not count as consumed: reference passes, the `prepare` phase of a learned growth. */
  addWork(perToken: FlopsPerToken, tokens: number): void {
    const count = BigInt(tokens);
    this.#flops += perToken.flops * count;
    this.#flops6nd += perToken.flops6nd * count;
    this.#flopsNonEmbedding += perToken.flopsNonEmbedding * count;
  }

  get tokens(): number {
    return this.#tokens;
  }

  /** Exact FLOPs so far. */
  get exact(): bigint {
    return this.#flops;
  }

  totals(): LedgerTotals {
    return {
      tokens: this.#tokens,
      flops: Number(this.#flops),
      flopsExact: String(this.#flops),
      flops6nd: Number(this.#flops6nd),
      flops6ndExact: String(this.#flops6nd),
      flopsNonEmbedding: Number(this.#flopsNonEmbedding),
      flopsNonEmbeddingExact: String(this.#flopsNonEmbedding),
    };
  }
}
