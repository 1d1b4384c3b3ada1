import { at, type ExcessWeightsAttributes, size } from '../../../ops/index.js';
import type { FusedKernel } from '../types.js';
import { all, prepare } from './arguments.js';

const DOUBLE_BYTES = 8;

export const excessWeights: FusedKernel<ExcessWeightsAttributes> = ({ inputs, outputs, attributes, workspace }) => {
  if (!all('f32', inputs.slice(0, 3))) return undefined;
  const { kind, group, clip, alpha } = attributes;
  const items = size(at(inputs, 0).type, 0) / group;
  const order = workspace + BigInt(items * DOUBLE_BYTES);
  return prepare(
    'excessWeights',
    [...inputs, ...outputs, workspace, order, items, group, kind === 'cvar'],
    [clip, alpha],
  );
};
