import { at, queryKeyColumns, size, type QueryKeyNormAttributes } from '../../../ops/index.js';
import { copy } from '../../libtorch/products.js';
import type { Kernel, TensorMemory } from '../types.js';
import { Aten } from './aten.js';

/** Where the norms of queries (of keys) lie: in packed rows [N, norms, columns], and in the statistics [N, norms, 1]. */
function partsOf(qkv: TensorMemory, wq: TensorMemory, wk: TensorMemory, attributes: QueryKeyNormAttributes) {
  const [rows, width] = [size(qkv.type, 0), size(qkv.type, 1)];
  const [query, key] = queryKeyColumns(attributes);
  const [queryNorm, keyNorm] = [size(wq.type, 0), size(wk.type, 0)];
  const all = query / queryNorm + key / keyNorm;
  const part = (first: number, columns: number, norms: number, firstNorm: number) => ({
    rows: { shape: [rows, norms, columns], strides: [width, columns, 1], offset: first },
    statistics: { shape: [rows, norms, 1], strides: [all, 1, 1], offset: firstNorm },
  });
  return [part(0, queryNorm, query / queryNorm, 0), part(query, keyNorm, key / keyNorm, query / queryNorm)];
}

export const queryKeyNorm: Kernel<QueryKeyNormAttributes> = ({ inputs, outputs, attributes }) => {
  const [qkv, wq, wk, y, rstd] = [at(inputs, 0), at(inputs, 1), at(inputs, 2), at(outputs, 0), at(outputs, 1)];
  const parts = partsOf(qkv, wq, wk, attributes);
  return () => {
    using aten = new Aten();
    if (qkv.address !== y.address) copy(y.handle(), qkv.handle());
    const wide = aten.wide(qkv);
    parts.forEach(({ rows, statistics }, i) => {
      const x = aten.view(wide, rows.shape, rows.strides, rows.offset);
      const factor = aten.call('rsqrt', '', aten.addScalar(aten.mean(aten.mul(x, x), 2, true), attributes.eps));
      const normed = aten.mul(aten.mul(x, factor), aten.wide(i === 0 ? wq : wk));
      copy(rstd.stridedHandle(statistics.shape, statistics.strides, statistics.offset), factor);
      copy(y.stridedHandle(rows.shape, rows.strides, rows.offset), normed);
    });
  };
};

export const queryKeyNormBackward: Kernel<QueryKeyNormAttributes & { readonly weightGradient: boolean }> = (call) => {
  const { inputs, outputs, accumulate, attributes } = call;
  const [dy, qkv, wq, wk, rstd] = [at(inputs, 0), at(inputs, 1), at(inputs, 2), at(inputs, 3), at(inputs, 4)];
  const dqkv = at(outputs, 0);
  const parts = partsOf(qkv, wq, wk, attributes);
  return () => {
    using aten = new Aten();
    const [wideDy, wide] = [aten.wide(dy), aten.wide(qkv)];
    if (dqkv.address !== dy.address) copy(dqkv.handle(), dy.handle());
    parts.forEach(({ rows, statistics }, i) => {
      const factor = rstd.stridedHandle(statistics.shape, statistics.strides, statistics.offset);
      const gradient = aten.view(wideDy, rows.shape, rows.strides, rows.offset);
      const normed = aten.mul(aten.view(wide, rows.shape, rows.strides, rows.offset), factor);
      const h = aten.mul(gradient, aten.wide(i === 0 ? wq : wk));
      const along = aten.mul(normed, aten.mean(aten.mul(h, normed), 2, true));
      const dx = aten.mul(aten.sub(h, along), factor);
      if (attributes.weightGradient) {
        const sums = aten.sum(aten.sum(aten.mul(gradient, normed), 0), 0);
        aten.write(at(outputs, i + 1), sums, accumulate[i + 1]);
      }
      copy(dqkv.stridedHandle(rows.shape, rows.strides, rows.offset), dx);
    });
  };
};
