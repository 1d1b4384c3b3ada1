import { at, type AffineAttributes } from '../../../ops/index.js';
import type { Kernel } from '../types.js';
import { Aten } from './aten.js';

export const affine: Kernel<AffineAttributes> = ({ inputs, outputs, attributes: { scale, shift } }) => {
  const [x, y] = [at(inputs, 0), at(outputs, 0)];
  return () => {
    using aten = new Aten();
    aten.write(y, aten.addScalar(aten.mulScalar(aten.wide(x), scale), shift));
  };
};

export const softcap: Kernel<{ readonly cap: number }> = ({ inputs, outputs, attributes: { cap } }) => {
  const [x, y] = [at(inputs, 0), at(outputs, 0)];
  return () => {
    using aten = new Aten();
    aten.write(y, aten.softcap(aten.wide(x), cap));
  };
};
