import { at, type MatmulAttributes } from '../../../ops/index.js';
import { addmmOut, mmOut } from '../../libtorch/products.js';
import type { Kernel } from '../types.js';

export const matmul: Kernel<MatmulAttributes> = ({ inputs, outputs, accumulate, attributes }) => {
  const [a, b, y] = [at(inputs, 0), at(inputs, 1), at(outputs, 0).handle()];
  const left = attributes.transposeA ? a.transposedHandle() : a.handle();
  const right = attributes.transposeB ? b.transposedHandle() : b.handle();
  return accumulate[0] ? () => addmmOut(y, y, left, right) : () => mmOut(y, left, right);
};
