import { at, numElements, size } from '../../../ops/index.js';
import type { FusedKernel } from '../types.js';
import { all, prepare } from './arguments.js';

export const add: FusedKernel<object> = ({ inputs, outputs }) => {
  if (!all('f32', inputs)) return undefined;
  return prepare('add', [...inputs, at(outputs, 0), numElements(at(inputs, 0).type.shape)]);
};

export const copy: FusedKernel<object> = ({ inputs, outputs }) => {
  if (!all('f32', inputs)) return undefined;
  return prepare('copy', [at(inputs, 0), at(outputs, 0), numElements(at(inputs, 0).type.shape)]);
};

export const addBias: FusedKernel<object> = ({ inputs, outputs }) => {
  if (!all('f32', inputs)) return undefined;
  const { type } = at(inputs, 0);
  return prepare('addBias', [...inputs, at(outputs, 0), size(type, 0), size(type, 1)]);
};

export const columnSum: FusedKernel<object> = ({ inputs, outputs, accumulate }) => {
  if (!all('f32', inputs)) return undefined;
  const { type } = at(inputs, 0);
  return prepare('columnSum', [at(inputs, 0), at(outputs, 0), size(type, 0), size(type, 1), at(accumulate, 0)]);
};
