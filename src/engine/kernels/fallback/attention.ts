import { at, attentionBackwardOperands, packedWidth, type AttentionAttributes } from '../../../ops/index.js';
import { attentionBackward as flashBackward, attentionForward as flashForward, copy } from '../../libtorch/products.js';
import { release, type Handle } from '../../libtorch/tensors.js';
import type { Kernel, TensorMemory } from '../types.js';
import { Aten } from './aten.js';
import { isLimited, limitedAttention, limitedAttentionBackward } from './limited-attention.js';

/** Views of what belongs to the `member`-th query head of every group, all [batch, kv heads, length, head size]. */
function headViews(attributes: AttentionAttributes, member: number) {
  const { batch, length, heads, kvHeads, headDim } = attributes;
  const group = heads / kvHeads;
  const shape = [batch, kvHeads, length, headDim];
  const packed = (tensor: TensorMemory, firstHead: number, step: number): Handle => {
    const width = packedWidth(attributes);
    return tensor.stridedHandle(shape, [length * width, step * headDim, width, 1], firstHead * headDim);
  };
  return {
    query: (tensor: TensorMemory) => packed(tensor, member, group),
    key: (tensor: TensorMemory) => packed(tensor, heads, 1),
    value: (tensor: TensorMemory) => packed(tensor, heads + kvHeads, 1),
    output: (tensor: TensorMemory) =>
      tensor.stridedHandle(shape, [length * heads * headDim, group * headDim, heads * headDim, 1], member * headDim),
    statistics: (tensor: TensorMemory) =>
      tensor.stridedHandle([batch, kvHeads, length], [heads * length, group * length, 1], member * length),
  };
}

/** One call of libtorch for each member of the groups, as it knows only equal numbers of heads. */
export const attention: Kernel<AttentionAttributes> = (call) => {
  const { inputs, outputs, attributes } = call;
  if (isLimited(attributes) || inputs.length === 2) return limitedAttention(call);
  const [qkv, y, lse] = [at(inputs, 0), at(outputs, 0), at(outputs, 1)];
  const group = attributes.heads / attributes.kvHeads;
  const options = { causal: true, scale: attributes.scale };
  return () => {
    for (let member = 0; member < group; member++) {
      const views = headViews(attributes, member);
      const result = flashForward(views.query(qkv), views.key(qkv), views.value(qkv), options);
      copy(views.output(y), result.output);
      copy(views.statistics(lse), result.logSumExp);
      release(result.output);
      release(result.logSumExp);
    }
  };
};

export const attentionBackward: Kernel<AttentionAttributes> = (call) => {
  const { inputs, outputs, attributes } = call;
  const { dy, qkv, starts, y, lse } = attentionBackwardOperands(inputs);
  if (isLimited(attributes) || starts !== undefined) return limitedAttentionBackward(call);
  const dqkv = at(outputs, 0);
  const group = attributes.heads / attributes.kvHeads;
  const options = { causal: true, scale: attributes.scale };
  const wide = qkv.type.dtype === 'f64' ? 'f64' : 'f32';
  const { batch, kvHeads, length, headDim } = attributes;
  return () => {
    using aten = new Aten();
    let sums: { key: Handle; value: Handle } | undefined;
    for (let member = 0; member < group; member++) {
      const views = headViews(attributes, member);
      const saved = {
        gradOutput: views.output(dy),
        query: views.query(qkv),
        key: views.key(qkv),
        value: views.value(qkv),
        output: views.output(y),
        logSumExp: views.statistics(lse),
      };
      const gradients = flashBackward(saved, options);
      for (const handle of Object.values(gradients)) aten.own(handle);
      copy(views.query(dqkv), gradients.query);
      const [key, value] = [gradients.key, gradients.value].map((handle) =>
        group > 1 ? aten.convert(handle, wide, [batch, kvHeads, length, headDim]) : handle,
      ) as [Handle, Handle];
      sums = sums ? { key: aten.add(sums.key, key), value: aten.add(sums.value, value) } : { key, value };
    }
    if (sums === undefined) return;
    const views = headViews(attributes, 0);
    copy(views.key(dqkv), sums.key);
    copy(views.value(dqkv), sums.value);
  };
};
