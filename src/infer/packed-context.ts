import {
  attentionRule,
  cachedAttention,
  packedAttention,
  routedFeedForwardRule,
  type AttentionAttributes,
  type Context,
  type Destination,
  type OpRule,
  type Value,
} from '../ops/index.js';

/** What attention reads beside the packed rows: which rows see which, and per layer a cache where there is one. */
export interface Packing {
  readonly tiles: Value;
  readonly cache?: { readonly rows: Value; readonly layers: readonly Value[] };
}

/**
 * A context in which a family's forward runs on packed rows of several sequences: its attention becomes the packed or cached one.
 *
 * The forward itself stays as it is and believes to see one sequence; positions come from the tables that it is given.
 */
export class PackedContext implements Context {
  readonly #inner: Context;
  readonly #packing: Packing;
  /** Per routed layer, which rows were computed: i32 [rows]. */
  readonly computed: Value[] = [];
  #layer = 0;

  constructor(inner: Context, packing: Packing) {
    this.#inner = inner;
    this.#packing = packing;
  }

  apply<A extends object>(
    rule: OpRule<A>,
    inputs: readonly Value[],
    attributes: A,
    destinations?: readonly (Destination | undefined)[],
  ): Value[] {
    const [qkv] = inputs;
    if ((rule as unknown) === attentionRule && qkv !== undefined)
      return [this.#attend(qkv, attributes as unknown as AttentionAttributes)];
    const outputs = this.#inner.apply(rule, inputs, attributes, destinations);
    const [, computed] = outputs;
    if ((rule as unknown) === routedFeedForwardRule && computed !== undefined) this.computed.push(computed);
    return outputs;
  }

  view(value: Value, offset: number, shape: readonly number[]): Value {
    return this.#inner.view(value, offset, shape);
  }

  segment<R>(body: () => R): R {
    return body();
  }

  #attend(qkv: Value, attributes: AttentionAttributes): Value {
    const { tiles, cache } = this.#packing;
    if (cache === undefined) return packedAttention(this.#inner, qkv, tiles, attributes);
    const memory = cache.layers[this.#layer++];
    if (memory === undefined) throw new RangeError('the model attends more often than there are caches');
    return cachedAttention(this.#inner, qkv, { memory, rows: cache.rows, tiles }, attributes);
  }
}
