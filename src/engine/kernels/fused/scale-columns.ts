import { at, size } from '../../../ops/index.js';
import type { FusedKernel } from '../types.js';
import { all, prepare } from './arguments.js';

export const scaleColumns: FusedKernel<object> = ({ inputs, outputs, accumulate }) => {
  if (!all('f32', inputs)) return undefined;
  const { type } = at(inputs, 0);
  return prepare('scaleColumns', [...inputs, ...outputs, size(type, 0), size(type, 1), at(accumulate, 0)]);
};
