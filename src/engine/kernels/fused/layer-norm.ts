import { at, LAYER_NORM_CHUNK_ROWS, size, type LayerNormAttributes } from '../../../ops/index.js';
import type { FusedKernel } from '../types.js';
import { all, prepare } from './arguments.js';

export const layerNorm: FusedKernel<LayerNormAttributes> = ({ inputs, outputs, attributes }) => {
  if (!all('f32', inputs)) return undefined;
  const { type } = at(inputs, 0);
  return prepare('layerNorm', [...inputs, ...outputs, size(type, 0), size(type, 1)], [attributes.eps]);
};

export const layerNormBackward: FusedKernel<LayerNormAttributes & { readonly weightGradient: boolean }> = (call) => {
  const { inputs, outputs, accumulate, workspace } = call;
  if (!all('f32', inputs)) return undefined;
  const { type } = at(inputs, 1);
  return prepare('layerNormBackward', [
    ...inputs,
    ...[0, 1, 2].map((i) => outputs[i]),
    workspace,
    ...[size(type, 0), size(type, 1), LAYER_NORM_CHUNK_ROWS],
    ...[0, 1, 2].map((i) => accumulate[i] ?? false),
  ]);
};
