import { at, numElements } from '../../../ops/index.js';
import type { FusedKernel } from '../types.js';
import { all, prepare, type Cell } from './arguments.js';

/** Bounds `count` numbers in their place; where `slopes` is given, it receives the derivatives. */
export const prepareSoftcap = (x: Cell, y: Cell, count: number, cap: number, slopes?: Cell): (() => void) =>
  prepare('softcap', [x, y, slopes, count], [cap]);

export const softcap: FusedKernel<{ readonly cap: number }> = ({ inputs, outputs, attributes: { cap } }) => {
  if (!all('f32', inputs)) return undefined;
  return prepareSoftcap(at(inputs, 0), at(outputs, 0), numElements(at(inputs, 0).type.shape), cap);
};
