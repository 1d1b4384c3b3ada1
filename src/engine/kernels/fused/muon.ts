import { at, numElements, type MuonMomentumAttributes, type MuonUpdateAttributes } from '../../../ops/index.js';
import type { FusedKernel } from '../types.js';
import { all, prepare } from './arguments.js';

export const muonMomentum: FusedKernel<MuonMomentumAttributes> = ({ inputs, outputs, attributes: { momentum } }) => {
  if (!all('f32', outputs)) return undefined;
  return prepare('muonMomentum', [...inputs, ...outputs, numElements(at(inputs, 0).type.shape)], [momentum]);
};

export const unitNorm: FusedKernel<{ readonly eps: number }> = ({ inputs, outputs, attributes: { eps } }) => {
  if (!all('f32', outputs)) return undefined;
  return prepare('unitNorm', [...inputs, ...outputs, numElements(at(inputs, 0).type.shape)], [eps]);
};

export const muonUpdate: FusedKernel<MuonUpdateAttributes> = ({ inputs, outputs, attributes }) => {
  if (!all('f32', outputs)) return undefined;
  const { scale, weightDecay } = attributes;
  return prepare('muonUpdate', [...inputs, ...outputs, numElements(at(inputs, 0).type.shape)], [scale, weightDecay]);
};
