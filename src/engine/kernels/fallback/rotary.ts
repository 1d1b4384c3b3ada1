import { at, packedWidth, size, type RotaryAttributes } from '../../../ops/index.js';
import { copy } from '../../libtorch/products.js';
import type { Kernel } from '../types.js';
import { Aten } from './aten.js';

export const rotary: Kernel<RotaryAttributes> = ({ inputs, outputs, attributes }) => {
  const [x, cos, sin, y] = [at(inputs, 0), at(inputs, 1), at(inputs, 2), at(outputs, 0)];
  const { batch, length, heads, kvHeads, headDim, inverse } = attributes;
  const half = size(cos.type, 1);
  const width = packedWidth(attributes);
  const shape = [batch, length, heads + kvHeads, half];
  const strides = [length * width, width, headDim, 1];
  return () => {
    using aten = new Aten();
    if (x.address !== y.address) copy(y.handle(), x.handle());
    if (half === 0) return;
    const perPosition = (handle: bigint) => aten.view(handle, [length, 1, half], [half, half, 1]);
    const [cosine, sine] = [perPosition(aten.wide(cos)), perPosition(aten.wide(sin))];
    const rows = aten.wide(x);
    const [a, b] = [aten.view(rows, shape, strides), aten.view(rows, shape, strides, half)];
    const sign = inverse ? -1 : 1;
    const first = aten.add(aten.mul(a, cosine), aten.mul(b, sine), -sign);
    const second = aten.add(aten.mul(b, cosine), aten.mul(a, sine), sign);
    copy(y.stridedHandle(shape, strides), first);
    copy(y.stridedHandle(shape, strides, half), second);
  };
};
