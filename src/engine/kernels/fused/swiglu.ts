import { at, size } from '../../../ops/index.js';
import type { FusedKernel } from '../types.js';
import { all, prepare } from './arguments.js';

export const swiglu: FusedKernel<object> = ({ inputs, outputs }) => {
  if (!all('f32', inputs)) return undefined;
  const { type } = at(outputs, 0);
  return prepare('swiglu', [at(inputs, 0), at(outputs, 0), size(type, 0), size(type, 1)]);
};

export const swigluBackward: FusedKernel<object> = ({ inputs, outputs }) => {
  if (!all('f32', inputs)) return undefined;
  const { type } = at(inputs, 0);
  return prepare('swigluBackward', [...inputs, at(outputs, 0), size(type, 0), size(type, 1)]);
};
