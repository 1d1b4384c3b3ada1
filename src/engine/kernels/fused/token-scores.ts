import { at, chunkRows, size, type LogitAttributes } from '../../../ops/index.js';
import type { FusedKernel } from '../types.js';
import { prepare } from './arguments.js';
import { prepareProduct } from './matmul.js';
import { prepareSoftcap } from './softcap.js';

const BYTES = 4;

export const tokenScores: FusedKernel<LogitAttributes> = ({ inputs, outputs, workspace, attributes }) => {
  const [x, w, targets] = [at(inputs, 0), at(inputs, 1), at(inputs, 2)];
  if (x.type.dtype !== 'f32' || w.type.dtype !== 'f32') return undefined;
  const [rows, depth, vocabulary] = [size(x.type, 0), size(x.type, 1), size(w.type, 0)];
  const step = chunkRows(rows, vocabulary);
  const calls: (() => void)[] = [];
  for (let start = 0; start < rows; start += step) {
    const count = Math.min(step, rows - start);
    const a = x.address + BigInt(start * depth * BYTES);
    const product = { a, b: w, c: workspace, rows: count, columns: vocabulary, depth };
    calls.push(prepareProduct({ ...product, transposeA: false, transposeB: true, accumulate: false }));
    if (attributes.softcap !== undefined)
      calls.push(prepareSoftcap(workspace, workspace, count * vocabulary, attributes.softcap));
    const [target, ...results] = [targets, ...outputs].map(({ address }) => address + BigInt(start * BYTES));
    calls.push(prepare('tokenScores', [workspace, target, ...results, count, vocabulary]));
  }
  return () => {
    for (const call of calls) call();
  };
};
