import { at } from '../../../ops/index.js';
import type { Kernel } from '../types.js';
import { Aten } from './aten.js';

export const scaleColumns: Kernel<object> = ({ inputs, outputs, accumulate }) => {
  const [x, s, y] = [at(inputs, 0), at(inputs, 1), at(outputs, 0)];
  return () => {
    using aten = new Aten();
    aten.write(y, aten.mul(aten.wide(x), aten.wide(s)), accumulate[0]);
  };
};
