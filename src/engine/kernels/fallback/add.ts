import { at } from '../../../ops/index.js';
import { copy as copyTensor } from '../../libtorch/products.js';
import type { Kernel } from '../types.js';
import { Aten } from './aten.js';

export const add: Kernel<object> = ({ inputs, outputs }) => {
  const [a, b, y] = [at(inputs, 0), at(inputs, 1), at(outputs, 0)];
  return () => {
    using aten = new Aten();
    aten.write(y, aten.add(a.handle(), b.handle()));
  };
};

export const copy: Kernel<object> = ({ inputs, outputs }) => {
  const [x, y] = [at(inputs, 0), at(outputs, 0)];
  return () => {
    if (x.address !== y.address) copyTensor(y.handle(), x.handle());
  };
};

export const addBias: Kernel<object> = ({ inputs, outputs }) => {
  const [x, bias, y] = [at(inputs, 0), at(inputs, 1), at(outputs, 0)];
  return () => {
    using aten = new Aten();
    aten.write(y, aten.add(x.handle(), bias.handle()));
  };
};

export const columnSum: Kernel<object> = ({ inputs, outputs, accumulate }) => {
  const [x, y] = [at(inputs, 0), at(outputs, 0)];
  return () => {
    using aten = new Aten();
    aten.write(y, aten.sum(aten.wide(x), 0), accumulate[0]);
  };
};
