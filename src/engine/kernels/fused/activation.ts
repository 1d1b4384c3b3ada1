import { ACTIVATIONS, at, numElements, size, type ActivationAttributes } from '../../../ops/index.js';
import type { FusedKernel } from '../types.js';
import { all, prepare } from './arguments.js';

const kindOf = ({ kind }: ActivationAttributes): number => ACTIVATIONS.indexOf(kind);

export const activation: FusedKernel<ActivationAttributes> = ({ inputs, outputs, attributes }) => {
  if (!all('f32', inputs)) return undefined;
  return prepare('activation', [...inputs, ...outputs, numElements(at(inputs, 0).type.shape), kindOf(attributes)]);
};

export const activationBackward: FusedKernel<ActivationAttributes> = ({ inputs, outputs, attributes }) => {
  if (!all('f32', inputs)) return undefined;
  const count = numElements(at(inputs, 0).type.shape);
  return prepare('activationBackward', [...inputs, ...outputs, count, kindOf(attributes)]);
};

export const gatedActivation: FusedKernel<ActivationAttributes> = ({ inputs, outputs, attributes }) => {
  if (!all('f32', inputs)) return undefined;
  const { type } = at(outputs, 0);
  return prepare('gatedActivation', [...inputs, ...outputs, size(type, 0), size(type, 1), kindOf(attributes)]);
};

export const gatedActivationBackward: FusedKernel<ActivationAttributes> = ({ inputs, outputs, attributes }) => {
  if (!all('f32', inputs)) return undefined;
  const { type } = at(inputs, 0);
  return prepare('gatedActivationBackward', [...inputs, ...outputs, size(type, 0), size(type, 1), kindOf(attributes)]);
};
