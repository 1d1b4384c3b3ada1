import { WorkError } from '../../../errors.js';
import { at, numElements, size, type MatmulAttributes } from '../../../ops/index.js';
import type { FusedKernel } from '../types.js';
import { all, pack, prepare, type Cell } from './arguments.js';
import { kernelFunction } from './library.js';

/** Operands of a product by address; sizes are those of op(a) [rows, depth] and op(b) [depth, columns]. */
export interface Product extends MatmulAttributes {
  readonly a: Cell;
  readonly b: Cell;
  readonly c: Cell;
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  readonly accumulate: boolean;
}

const FAILED = 9;
const FAILURES = [
  'matmul: no memory for its panels.',
  'matmul: the system does not let this process use the tiles of AMX.',
];

/** With so few rows a product is bound by reading b once; packing it would read and write it again. */
const FEW_ROWS = 4;

/** A prepared product c (+)= op(a) op(b) of f32 matrices, whose elements are rounded first where `operandType` says so. */
export function prepareProduct(product: Product): () => void {
  const { a, b, c, rows, columns, depth, transposeA, transposeB, accumulate, operandType } = product;
  if (rows <= FEW_ROWS && transposeB && !transposeA && operandType === undefined)
    return prepare('matmulFewRows', [a, b, c, rows, columns, depth, accumulate]);
  const kernel = kernelFunction(operandType === 'bf16' ? 'matmulBf16' : 'matmul');
  const cells = pack([a, b, c, rows, columns, depth, transposeA, transposeB, accumulate, 0]);
  return () => {
    kernel(cells);
    if (cells[FAILED] !== 0n) throw new WorkError(FAILURES[Number(cells[FAILED]) - 1] ?? 'matmul: failed.');
  };
}

export const matmul: FusedKernel<MatmulAttributes> = ({ inputs, outputs, accumulate, attributes }) => {
  if (!all('f32', inputs) || numElements(at(inputs, 0).type.shape) === 0) return undefined;
  const [a, b, c] = [at(inputs, 0), at(inputs, 1), at(outputs, 0)];
  const [rows, columns] = [size(c.type, 0), size(c.type, 1)];
  const depth = size(a.type, attributes.transposeA ? 0 : 1);
  return prepareProduct({ a, b, c, rows, columns, depth, accumulate: at(accumulate, 0), ...attributes });
};
