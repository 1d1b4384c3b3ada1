import type { DType } from '../../../ops/index.js';
import type { TensorMemory } from '../types.js';
import { kernelFunction } from './library.js';

/** What a 64-bit cell of a kernel's argument struct can be made from: a tensor's address, an address, an integer or a flag; undefined is null. */
export type Cell = TensorMemory | bigint | number | boolean | undefined;

const cellOf = (cell: Cell): bigint => {
  if (typeof cell === 'object') return cell.address;
  return BigInt.asUintN(64, BigInt(cell ?? 0));
};

/** Lays out the argument struct of a C kernel: addresses and integers first, then doubles. */
export function pack(cells: readonly Cell[], doubles: readonly number[] = []): BigUint64Array {
  const packed = new BigUint64Array(cells.length + doubles.length);
  cells.forEach((cell, i) => (packed[i] = cellOf(cell)));
  new Float64Array(packed.buffer).set(doubles, cells.length);
  return packed;
}

/** A call of the C kernel `name` with arguments laid out once. */
export function prepare(name: string, cells: readonly Cell[], doubles: readonly number[] = []): () => void {
  const kernel = kernelFunction(name);
  const packed = pack(cells, doubles);
  return () => kernel(packed);
}

/** Whether all tensors have the element type that the C kernels are written for. */
export const all = (dtype: DType, tensors: readonly TensorMemory[]): boolean =>
  tensors.every(({ type }) => type.dtype === dtype);
