import { at, size } from '../../../ops/index.js';
import type { FusedKernel } from '../types.js';
import { all, prepare } from './arguments.js';

export const embedding: FusedKernel<object> = ({ inputs, outputs }) => {
  if (!all('f32', outputs)) return undefined;
  const [table, ids, y] = [at(inputs, 0), at(inputs, 1), at(outputs, 0)];
  return prepare('embedding', [table, ids, y, size(ids.type, 0), size(table.type, 0), size(table.type, 1)]);
};

export const embeddingBackward: FusedKernel<{ readonly rows: number }> = (call) => {
  const { inputs, outputs, accumulate, attributes } = call;
  if (!all('f32', outputs)) return undefined;
  const [dy, ids, dTable] = [at(inputs, 0), at(inputs, 1), at(outputs, 0)];
  const sizes = [size(dy.type, 0), attributes.rows, size(dy.type, 1)];
  return prepare('embeddingBackward', [dy, ids, dTable, ...sizes, at(accumulate, 0)]);
};
