import {
  at,
  attentionBackwardOperands,
  packedWidth,
  type AttentionAttributes,
  type DType,
} from '../../../ops/index.js';
import { arg } from '../../libtorch/dispatch.js';
import { copy } from '../../libtorch/products.js';
import type { Handle } from '../../libtorch/tensors.js';
import type { Kernel, TensorMemory } from '../types.js';
import { Aten, computeType } from './aten.js';

/** Whether attention needs more than the causal mask: scores that are bounded, or a window that is shorter than the sequence. */
export const isLimited = ({ window, softcap, length }: AttentionAttributes): boolean =>
  softcap !== undefined || (window !== undefined && window < length);

/** Views of one sequence, [kv heads, group, length, head size], and what rows of statistics lie in. */
function sequenceViews(aten: Aten, attributes: AttentionAttributes, sequence: number) {
  const { length, heads, kvHeads, headDim } = attributes;
  const [width, group] = [packedWidth(attributes), heads / kvHeads];
  const perKey = (handle: Handle, firstHead: number): Handle =>
    aten.view(
      handle,
      [kvHeads, 1, length, headDim],
      [headDim, 0, width, 1],
      sequence * length * width + firstHead * headDim,
    );
  const shape = [kvHeads, group, length, headDim];
  return {
    shape,
    query: (handle: Handle): Handle =>
      aten.view(handle, shape, [group * headDim, headDim, width, 1], sequence * length * width),
    key: (handle: Handle): Handle => perKey(handle, heads),
    value: (handle: Handle): Handle => perKey(handle, heads + kvHeads),
    output: (handle: Handle): Handle =>
      aten.view(handle, shape, [group * headDim, headDim, heads * headDim, 1], sequence * length * heads * headDim),
    statistics: (handle: Handle): Handle =>
      aten.view(handle, [kvHeads, group, length, 1], [group * length, length, 1, 1], sequence * heads * length),
  };
}

const transposed = (aten: Aten, handle: Handle): Handle =>
  aten.call('transpose', 'int', handle, arg.int(-2), arg.int(-1));
const product = (aten: Aten, a: Handle, b: Handle): Handle => aten.call('matmul', '', a, b);

/** True [length, length] where a query may look at a key. */
function visible(aten: Aten, { length, window }: AttentionAttributes, dtype: DType): Handle {
  const ones = aten.addScalar(aten.zeros(dtype, [length, length]), 1);
  const causal = aten.call('tril', '', ones, arg.int(0));
  const seen = window === undefined ? causal : aten.call('triu', '', causal, arg.int(1 - window));
  return aten.convert(seen, 'bool', [length, length]);
}

/** The keys that a sequence's queries may look at: those of `seen` from the first of their own document on, where documents have starts. */
function seenWithin(
  aten: Aten,
  seen: Handle,
  starts: TensorMemory | undefined,
  sequence: number,
  { length }: AttentionAttributes,
): Handle {
  if (starts === undefined) return seen;
  const ones = aten.addScalar(aten.zeros('i64', [length]), 1);
  const keys = aten.addScalar(aten.call('cumsum', '', ones, arg.int(0), arg.none), -1);
  const firsts = aten.view(starts.handle(), [length, 1], [1, 1], sequence * length);
  return aten.call('logical_and', '', seen, aten.call('ge', 'Tensor', keys, firsts));
}

/** Bounded scores, minus infinity where nothing may be seen. */
function scoresOf(aten: Aten, query: Handle, key: Handle, seen: Handle, attributes: AttentionAttributes, dtype: DType) {
  const raw = aten.mulScalar(product(aten, query, transposed(aten, key)), attributes.scale);
  const bounded = attributes.softcap === undefined ? raw : aten.softcap(raw, attributes.softcap);
  const nothing = aten.addScalar(aten.zeros(dtype, []), -Infinity);
  return { bounded, masked: aten.call('where', 'self', seen, bounded, nothing) };
}

/** Attention with a window, bounded scores or documents, one sequence at a time; the scores of one sequence are stored. */
export const limitedAttention: Kernel<AttentionAttributes> = ({ inputs, outputs, attributes }) => {
  const [qkv, starts, y, lse] = [at(inputs, 0), inputs[1], at(outputs, 0), at(outputs, 1)];
  const dtype = computeType(qkv.type.dtype);
  return () => {
    using whole = new Aten();
    const [rows, visibleKeys] = [whole.wide(qkv), visible(whole, attributes, dtype)];
    for (let sequence = 0; sequence < attributes.batch; sequence++) {
      using aten = new Aten();
      const views = sequenceViews(aten, attributes, sequence);
      const seen = seenWithin(aten, visibleKeys, starts, sequence, attributes);
      const { masked } = scoresOf(aten, views.query(rows), views.key(rows), seen, attributes, dtype);
      copy(views.statistics(lse.handle()), aten.call('logsumexp', '', masked, arg.intList([-1]), arg.bool(true)));
      const probabilities = aten.call('_softmax', '', masked, arg.int(-1), arg.bool(false));
      copy(views.output(y.handle()), product(aten, probabilities, views.value(rows)));
    }
  };
};

export const limitedAttentionBackward: Kernel<AttentionAttributes> = ({ inputs, outputs, attributes }) => {
  const { dy, qkv, starts, y, lse } = attentionBackwardOperands(inputs);
  const dqkv = at(outputs, 0);
  const dtype = computeType(qkv.type.dtype);
  return () => {
    using whole = new Aten();
    const [rows, visibleKeys] = [whole.wide(qkv), visible(whole, attributes, dtype)];
    const [wideDy, wideY] = [whole.wide(dy), whole.wide(y)];
    for (let sequence = 0; sequence < attributes.batch; sequence++) {
      using aten = new Aten();
      const views = sequenceViews(aten, attributes, sequence);
      const gradients = sequenceGradients(aten, attributes, dtype, {
        query: views.query(rows),
        key: views.key(rows),
        value: views.value(rows),
        seen: seenWithin(aten, visibleKeys, starts, sequence, attributes),
        dy: views.output(wideDy),
        y: views.output(wideY),
        lse: views.statistics(lse.handle()),
      });
      writeGradients(dqkv, views, gradients);
    }
  };
};

/** Attention with bounded scores and a mask that is added to them; any leading dimensions. */
export function attendBounded(
  aten: Aten,
  { query, key, value, mask }: { query: Handle; key: Handle; value: Handle; mask: Handle },
  { scale, softcap }: { scale: number; softcap: number },
): Handle {
  const raw = aten.mulScalar(product(aten, query, transposed(aten, key)), scale);
  const masked = aten.add(aten.softcap(raw, softcap), mask);
  const probabilities = aten.call('_softmax', '', masked, arg.int(-1), arg.bool(false));
  return product(aten, probabilities, value);
}

interface SequenceOperands {
  readonly query: Handle;
  readonly key: Handle;
  readonly value: Handle;
  readonly seen: Handle;
  readonly dy: Handle;
  readonly y: Handle;
  readonly lse: Handle;
}

interface SequenceGradients {
  readonly query: Handle;
  readonly key: Handle;
  readonly value: Handle;
}

function sequenceGradients(
  aten: Aten,
  attributes: AttentionAttributes,
  dtype: DType,
  { query, key, value, seen, dy, y, lse }: SequenceOperands,
): SequenceGradients {
  const { scale, softcap } = attributes;
  const { bounded, masked } = scoresOf(aten, query, key, seen, attributes, dtype);
  const p = aten.call('exp', '', aten.sub(masked, lse));
  const inner = aten.sub(product(aten, dy, transposed(aten, value)), aten.sum(aten.mul(dy, y), -1, true));
  let ds = aten.mul(p, inner);
  if (softcap !== undefined) {
    const tanh = aten.mulScalar(bounded, 1 / softcap);
    ds = aten.sub(ds, aten.mul(ds, aten.mul(tanh, tanh)));
  }
  const overGroup = (gradient: Handle): Handle => aten.sum(gradient, 1, true);
  return {
    query: aten.mulScalar(product(aten, ds, key), scale),
    key: overGroup(aten.mulScalar(product(aten, transposed(aten, ds), query), scale)),
    value: overGroup(product(aten, transposed(aten, p), dy)),
  };
}

function writeGradients(
  dqkv: TensorMemory,
  views: ReturnType<typeof sequenceViews>,
  gradients: SequenceGradients,
): void {
  copy(views.query(dqkv.handle()), gradients.query);
  copy(views.key(dqkv.handle()), gradients.key);
  copy(views.value(dqkv.handle()), gradients.value);
}
