import { at, numElements, type AffineAttributes } from '../../../ops/index.js';
import type { FusedKernel } from '../types.js';
import { all, prepare } from './arguments.js';

export const affine: FusedKernel<AffineAttributes> = ({ inputs, outputs, attributes: { scale, shift } }) => {
  if (!all('f32', inputs)) return undefined;
  return prepare('affine', [...inputs, ...outputs, numElements(at(inputs, 0).type.shape)], [scale, shift]);
};
