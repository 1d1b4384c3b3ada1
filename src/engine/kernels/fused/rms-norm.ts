import { at, RMS_NORM_CHUNK_ROWS, size, type RmsNormAttributes } from '../../../ops/index.js';
import type { FusedKernel } from '../types.js';
import { all, prepare } from './arguments.js';

export const rmsNorm: FusedKernel<RmsNormAttributes> = ({ inputs, outputs, attributes }) => {
  if (!all('f32', inputs)) return undefined;
  const { type } = at(inputs, 0);
  return prepare('rmsNorm', [...inputs, ...outputs, size(type, 0), size(type, 1)], [attributes.eps]);
};

export const rmsNormBackward: FusedKernel<RmsNormAttributes & { readonly weightGradient: boolean }> = (call) => {
  const { inputs, outputs, accumulate, attributes, workspace } = call;
  if (!all('f32', inputs)) return undefined;
  const { type } = at(inputs, 1);
  const dWeight = attributes.weightGradient ? at(outputs, 1) : undefined;
  const sizes = [size(type, 0), size(type, 1), RMS_NORM_CHUNK_ROWS];
  return prepare('rmsNormBackward', [
    ...inputs,
    at(outputs, 0),
    dWeight,
    workspace,
    ...sizes,
    accumulate[0] ?? false,
    accumulate[1] ?? false,
  ]);
};
