import { at, NORM_CHUNK, numElements, type AdamWAttributes } from '../../../ops/index.js';
import type { FusedKernel } from '../types.js';
import { all, prepare } from './arguments.js';

export const adamw: FusedKernel<AdamWAttributes> = ({ inputs, outputs, attributes }) => {
  if (!all('f32', outputs)) return undefined;
  const { beta1, beta2, eps, weightDecay } = attributes;
  const [p, g, m, v, scalars, mask] = inputs;
  return prepare(
    'adamw',
    [p, g, m, v, scalars, mask, ...outputs, numElements(at(inputs, 0).type.shape)],
    [beta1, beta2, eps, weightDecay],
  );
};

export const squaredNorm: FusedKernel<object> = ({ inputs, outputs, accumulate, workspace }) => {
  if (!all('f32', inputs)) return undefined;
  const count = numElements(at(inputs, 0).type.shape);
  return prepare('squaredNorm', [at(inputs, 0), at(outputs, 0), workspace, count, NORM_CHUNK, at(accumulate, 0)]);
};
