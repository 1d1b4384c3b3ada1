import { at, requireShapes } from './check.js';
import { packedWidth, type HeadLayout } from './rotary.js';
import { numElements, type Context, type OpRule, type ProductAttributes, type Value } from './types.js';

export interface AttentionAttributes extends HeadLayout, ProductAttributes {
  /** Factor on the scores, usually 1 / sqrt(headDim). */
  readonly scale: number;
  /** Keys that a query sees: itself and those before it, this many in all (`sliding_window`); all where left out. */
  readonly window?: number | undefined;
  /** Scores are bounded to cap * tanh(score / cap) before the mask (`attn_logit_softcapping`). */
  readonly softcap?: number | undefined;
}

/**
 * Causal attention over packed rows, query head a reading kv head floor(a / (heads / kvHeads)).
 *
 * y = softmax(scale * q k^T + causal mask) v per head; lse is the log of each row's softmax denominator.
 * With `softcap` scores are bounded first, with `window` a query sees that many keys only (Gemma 2, arXiv 2408.00118, section 2).
 * With `documentStarts`, for each position the first one of its own document within the sequence, keys before that are masked: packed documents
 * do not see each other. They start at 0, never fall within a sequence and never exceed their position.
 * Shapes: qkv [batch * length, (heads + 2 kvHeads) * headDim], documentStarts i32 [batch * length], y [batch * length, heads * headDim],
 * lse [batch, heads, length].
 * Source: Dao et al., arXiv 2205.14135 (the scores are never stored).
 */
export const attentionRule: OpRule<AttentionAttributes> = {
  name: 'attention',
  infer(inputs, attributes) {
    const [qkv, starts] = inputs;
    const { batch, length, heads, kvHeads, headDim } = attributes;
    const fits =
      qkv?.shape[0] === batch * length &&
      qkv.shape[1] === packedWidth(attributes) &&
      heads % kvHeads === 0 &&
      (starts === undefined || (starts.dtype === 'i32' && numElements(starts.shape) === batch * length));
    const expected = `packed rows of ${heads} query and ${kvHeads} kv heads, and starts of documents i32 [N] or nothing`;
    requireShapes(fits, 'attention', expected, inputs);
    const dtype = at(inputs, 0).dtype;
    return [
      { dtype, shape: [batch * length, heads * headDim] },
      { dtype: dtype === 'f64' ? 'f64' : 'f32', shape: [batch, heads, length] },
    ];
  },
  workspaceBytes: (_, attributes) => windowBytes(attributes),
  flops: (_, attributes) => 4 * scorePairs(attributes) * attributes.headDim,
  mixedPrecision: true,
  backward({ context, inputs, outputs, attributes, gradients, sinks }) {
    const [dy] = gradients;
    const none = inputs.slice(1).map(() => undefined);
    if (dy === undefined || sinks[0] === undefined) return { gradients: [undefined, ...none] };
    const operands = [dy, ...inputs, at(outputs, 0), at(outputs, 1)];
    return { gradients: [at(context.apply(attentionBackwardRule, operands, attributes, [sinks[0]]), 0), ...none] };
  },
};

/** The window of attention where it is shorter than the sequences. */
export const attentionWindow = ({ window, length }: AttentionAttributes): number | undefined =>
  window !== undefined && window < length ? window : undefined;

/** Room for the first key that each query sees. */
const windowBytes = (attributes: AttentionAttributes): number =>
  attentionWindow(attributes) === undefined ? 0 : attributes.batch * attributes.length * 4;

/** Query-key pairs as the ledger counts them: the full square, whatever is masked. */
const scorePairs = ({ batch, heads, length }: HeadLayout): number => batch * heads * length * length;

export const attention = (
  context: Context,
  qkv: Value,
  layout: HeadLayout,
  scale: number,
  limits: Pick<AttentionAttributes, 'window' | 'softcap'> = {},
  documentStarts?: Value,
): Value => {
  const inputs = documentStarts === undefined ? [qkv] : [qkv, documentStarts];
  return at(context.apply(attentionRule, inputs, { ...layout, scale, ...limits }), 0);
};

/**
 * Gradient of causal attention with respect to the packed rows.
 *
 * With p = exp(scale * q k^T - lse), d = rowsum(dy * y): dv = p^T dy, ds = p * (dy v^T - d), dq = scale * ds k, dk = scale * ds^T q;
 * kv heads sum over their group. Shapes: dy, y [batch * length, heads * headDim]; dqkv as qkv.
 */
export const attentionBackwardRule: OpRule<AttentionAttributes> = {
  name: 'attentionBackward',
  infer(inputs) {
    requireShapes(
      inputs.length === 4 || inputs.length === 5,
      'attentionBackward',
      'dy, qkv, starts of documents if there are any, y and lse',
      inputs,
    );
    return [at(inputs, 1)];
  },
  workspaceBytes: (_, attributes) => windowBytes(attributes),
  flops: (_, attributes) => 8 * scorePairs(attributes) * attributes.headDim,
  mixedPrecision: true,
};

/** The inputs of `attentionBackward` by name; `starts` are there where attention had them. */
export function attentionBackwardOperands<T>(inputs: readonly T[]): {
  dy: T;
  qkv: T;
  starts: T | undefined;
  y: T;
  lse: T;
} {
  const starts = inputs.length === 5 ? at(inputs, 2) : undefined;
  return {
    dy: at(inputs, 0),
    qkv: at(inputs, 1),
    starts,
    y: at(inputs, inputs.length - 2),
    lse: at(inputs, inputs.length - 1),
  };
}
