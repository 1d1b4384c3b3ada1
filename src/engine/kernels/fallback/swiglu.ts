import { at, size, type TensorType } from '../../../ops/index.js';
import { copy } from '../../libtorch/products.js';
import type { Kernel } from '../types.js';
import { Aten } from './aten.js';

/** Shape and strides of one half of rows [gate | up], and where the second begins. */
export const gateAndUp = (type: TensorType) => {
  const [rows, columns] = [size(type, 0), size(type, 1) / 2];
  return { shape: [rows, columns], strides: [2 * columns, 1], columns };
};

export const swiglu: Kernel<object> = ({ inputs, outputs }) => {
  const [gateUp, y] = [at(inputs, 0), at(outputs, 0)];
  const { shape, strides, columns } = gateAndUp(gateUp.type);
  return () => {
    using aten = new Aten();
    const wide = aten.wide(gateUp);
    const gate = aten.call('silu', '', aten.view(wide, shape, strides));
    aten.write(y, aten.mul(gate, aten.view(wide, shape, strides, columns)));
  };
};

export const swigluBackward: Kernel<object> = ({ inputs, outputs }) => {
  const [dy, gateUp, dGateUp] = [at(inputs, 0), at(inputs, 1), at(outputs, 0)];
  const { shape, strides, columns } = gateAndUp(gateUp.type);
  return () => {
    using aten = new Aten();
    const [gradient, wide] = [aten.wide(dy), aten.wide(gateUp)];
    const [gate, up] = [aten.view(wide, shape, strides), aten.view(wide, shape, strides, columns)];
    const dGate = aten.call('silu_backward', '', aten.mul(gradient, up), gate);
    const dUp = aten.mul(gradient, aten.call('silu', '', gate));
    copy(dGateUp.stridedHandle(shape, strides), dGate);
    copy(dGateUp.stridedHandle(shape, strides, columns), dUp);
  };
};
