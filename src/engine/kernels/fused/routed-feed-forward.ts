import { at, routedWorkspace, size, type RoutedFeedForwardAttributes } from '../../../ops/index.js';
import type { FusedKernel } from '../types.js';
import { all, pack, prepare } from './arguments.js';
import { kernelFunction } from './library.js';
import { prepareProduct } from './matmul.js';

/** Where `routePack` says how many rows it has packed. */
const COUNT = 10;

export const routedFeedForward: FusedKernel<RoutedFeedForwardAttributes> = (call) => {
  const { inputs, outputs, attributes, workspace } = call;
  if (!all('f32', inputs)) return undefined;
  const [x, z, gain, gateUp, down] = [at(inputs, 0), at(inputs, 1), at(inputs, 2), at(inputs, 3), at(inputs, 4)];
  const y = at(outputs, 0);
  const [rows, columns, ffn] = [size(x.type, 0), size(x.type, 1), size(down.type, 1)];
  const offsets = routedWorkspace(inputs.map(({ type }) => type));
  const place = (offset: number): bigint => workspace + BigInt(offset);
  const [packed, places, factors] = [workspace, place(offsets.places), place(offsets.factors)];
  const [both, inner] = [place(offsets.gateUp), place(offsets.inner)];
  const { eps, scale, gap } = attributes;
  const packRows = kernelFunction('routePack');
  const cells = pack([x, z, gain, y, at(outputs, 1), packed, places, factors, rows, columns, 0], [eps, scale, gap]);
  const product = { transposeA: false, transposeB: true, accumulate: false };
  /** The branch for a number of rows: prepared when that number is first met. */
  const branches = new Map<number, readonly (() => void)[]>();
  const branchFor = (count: number): readonly (() => void)[] => [
    prepareProduct({ ...product, a: packed, b: gateUp, c: both, rows: count, columns: 2 * ffn, depth: columns }),
    prepare('swiglu', [both, inner, count, ffn]),
    prepareProduct({ ...product, a: inner, b: down, c: packed, rows: count, columns, depth: ffn }),
    prepare('routeUnpack', [packed, places, factors, y, count, columns]),
  ];
  return () => {
    packRows(cells);
    const count = Number(cells[COUNT]);
    if (count === 0) return;
    let branch = branches.get(count);
    if (branch === undefined) branches.set(count, (branch = branchFor(count)));
    for (const step of branch) step();
  };
};
