import {
  at,
  QUERY_KEY_NORM_CHUNK_ROWS,
  queryKeyColumns,
  size,
  type QueryKeyNormAttributes,
} from '../../../ops/index.js';
import type { FusedKernel, TensorMemory } from '../types.js';
import { all, prepare } from './arguments.js';

/** Rows, their width, columns of queries and of keys, columns of one norm of each. */
const sizesOf = (
  qkv: TensorMemory,
  wq: TensorMemory,
  wk: TensorMemory,
  attributes: QueryKeyNormAttributes,
): number[] => [
  size(qkv.type, 0),
  size(qkv.type, 1),
  ...queryKeyColumns(attributes),
  size(wq.type, 0),
  size(wk.type, 0),
];

export const queryKeyNorm: FusedKernel<QueryKeyNormAttributes> = ({ inputs, outputs, attributes }) => {
  if (!all('f32', inputs)) return undefined;
  const sizes = sizesOf(at(inputs, 0), at(inputs, 1), at(inputs, 2), attributes);
  return prepare('queryKeyNorm', [...inputs, ...outputs, ...sizes], [attributes.eps]);
};

export const queryKeyNormBackward: FusedKernel<QueryKeyNormAttributes & { readonly weightGradient: boolean }> = (
  call,
) => {
  const { inputs, outputs, accumulate, attributes, workspace } = call;
  if (!all('f32', inputs)) return undefined;
  return prepare('queryKeyNormBackward', [
    ...inputs,
    ...[0, 1, 2].map((i) => outputs[i]),
    workspace,
    ...sizesOf(at(inputs, 1), at(inputs, 2), at(inputs, 3), attributes),
    QUERY_KEY_NORM_CHUNK_ROWS,
    ...[1, 2].map((i) => accumulate[i] ?? false),
  ]);
};
