import { at, size, type RotaryAttributes } from '../../../ops/index.js';
import type { FusedKernel } from '../types.js';
import { all, prepare } from './arguments.js';

export const rotary: FusedKernel<RotaryAttributes> = ({ inputs, outputs, attributes }) => {
  if (!all('f32', inputs)) return undefined;
  const { batch, length, heads, kvHeads, headDim, inverse } = attributes;
  const half = size(at(inputs, 1).type, 1);
  const sizes = [batch * length, length, heads, kvHeads, headDim, half];
  return prepare('rotary', [...inputs, at(outputs, 0), ...sizes], [inverse ? -1 : 1]);
};
