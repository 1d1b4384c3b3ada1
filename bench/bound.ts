import { at, chunkRows, type MatmulAttributes, size, tensorBytes, type TensorType } from '../src/ops/index.js';

import { type Application, workOf } from '../src/engine/work.js';
import type { Operand, Operation, Program } from '../src/program/index.js';

/** A matrix product c [rows, columns] = op(a) op(b), op(a) having `depth` columns; `accumulate` adds to what c holds. */
export interface Product extends MatmulAttributes {
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  readonly accumulate: boolean;
}

/** What a step cannot do without, summed over the operations of its programs. */
export interface StepWork {
  /** Distinct products by `productKey`, and how often a step makes them. */
  readonly products: ReadonlyMap<string, { readonly product: Product; readonly calls: number }>;
  /** FLOPs of attention that are really made: the causal half, and in backward the scores once more. */
  readonly attentionFlops: number;
  /** Bytes of all other operations, each operand read once and each result written once. */
  readonly otherBytes: number;
}

/** Seconds that a step takes at least. */
export interface StepBound {
  readonly products: number;
  readonly attention: number;
  readonly other: number;
  readonly total: number;
  /** The best rate of a product, in FLOP/s. */
  readonly bestRate: number;
  /** FLOPs of products and of attention. */
  readonly flops: number;
}

/** What tells products apart whose rates may differ. */
export const productKey = (product: Product): string => {
  const { rows, columns, depth, transposeA, transposeB, accumulate, operandType } = product;
  return [rows, columns, depth, transposeA, transposeB, accumulate, operandType].join();
};

/** FLOPs of a product: a multiplication and an addition for each of its terms. */
export const productFlops = ({ rows, columns, depth }: Product): number => 2 * rows * columns * depth;

/**
 * Sums up the recorded programs of a step.
 *
 * @param activationBytes Bytes of an element of an activation: 4 as they are held, or 2 for what would be if they were held in bf16. Weights,
 *   gradients and moments, which lie in slots, keep their types.
 */
export function stepWork(programs: readonly Program[], activationBytes: 2 | 4): StepWork {
  const products = new Map<string, { product: Product; calls: number }>();
  let [attentionFlops, otherBytes] = [0, 0];
  const typeOf = ({ root, type }: Operand): TensorType =>
    activationBytes === 2 && root.kind === 'temporary' && type.dtype === 'f32' ? { ...type, dtype: 'bf16' } : type;
  for (const operation of programs.flatMap(({ operations }) => operations)) {
    const { rule, attributes, inputs, outputs, onto } = operation;
    const application = { rule, attributes, inputs: inputs.map(typeOf), outputs: outputs.map(typeOf) };
    const { flops, bytes } = workOf(application);
    const made = productsOf(operation);
    for (const product of made) {
      const key = productKey(product);
      products.set(key, { product, calls: (products.get(key)?.calls ?? 0) + 1 });
    }
    if (rule.name === 'attention' || rule.name === 'attentionBackward') attentionFlops += flops;
    else if (made.length === 0)
      otherBytes += bytes + bytesOf(onto.filter((operand) => operand !== undefined).map(typeOf));
    else otherBytes += bytesBesideProducts(application);
  }
  return { products, attentionFlops, otherBytes };
}

/**
 * The bound of a step's time: its products each at the best measured rate of their shape, attention at half of the best of these rates, all
 * other operations at the bandwidth of copies.
 *
 * @param rates FLOP/s by `productKey`.
 * @param copy Bytes read plus written a second.
 */
export function stepBound(work: StepWork, rates: ReadonlyMap<string, number>, copy: number): StepBound {
  let [products, bestRate, flops] = [0, 0, work.attentionFlops];
  for (const [key, { product, calls }] of work.products) {
    const rate = rates.get(key);
    if (rate === undefined) throw new RangeError(`the product ${key} was not measured`);
    flops += calls * productFlops(product);
    products += (calls * productFlops(product)) / rate;
    bestRate = Math.max(bestRate, rate);
  }
  const attention = work.attentionFlops === 0 ? 0 : work.attentionFlops / (bestRate / 2);
  const other = work.otherBytes / copy;
  return { products, attention, other, total: products + attention + other, bestRate, flops };
}

/** The matrix products that an operation makes, in order; attention's are none of them. */
function productsOf({ rule, attributes, inputs, outputs, onto }: Operation): Product[] {
  const types = inputs.map(({ type }) => type);
  const options = attributes as MatmulAttributes & { readonly weightGradient?: boolean };
  const accumulates = (output: number): boolean => onto[output] !== undefined;
  const { operandType } = options;
  switch (rule.name) {
    case 'matmul': {
      const { transposeA, transposeB } = options;
      const [rows, columns] = at(outputs, 0).type.shape as [number, number];
      const depth = size(at(types, 0), transposeA ? 0 : 1);
      return [{ rows, columns, depth, transposeA, transposeB, accumulate: accumulates(0), operandType }];
    }
    case 'linearCrossEntropy':
      return chunksOf(types).map((rows) => logits(rows, types, operandType));
    case 'linearCrossEntropyBackward':
      return chunksOf(types).flatMap((rows, chunk) => {
        const [vocabulary, columns] = at(types, 1).shape as [number, number];
        const straight = { columns, transposeB: false, operandType };
        const made = [
          logits(rows, types, operandType),
          { ...straight, rows, depth: vocabulary, transposeA: false, accumulate: false },
        ];
        const accumulate = chunk > 0 || accumulates(3);
        return options.weightGradient === true
          ? [...made, { ...straight, rows: vocabulary, depth: rows, transposeA: true, accumulate }]
          : made;
      });
    case 'attention':
    case 'attentionBackward':
      return [];
    default:
      if (rule.flops !== undefined) throw new RangeError(`the products of ${rule.name} are not known`);
      return [];
  }
}

/** Rows of each chunk whose logits exist at one time. */
function chunksOf([x, w]: readonly TensorType[]): number[] {
  const [rows, vocabulary] = [size(x as TensorType, 0), size(w as TensorType, 0)];
  const step = chunkRows(rows, vocabulary);
  return Array.from({ length: Math.ceil(rows / step) }, (_, chunk) => Math.min(step, rows - chunk * step));
}

/** The product x w^T of a chunk. */
const logits = (rows: number, types: readonly TensorType[], operandType: Product['operandType']): Product => {
  const [columns, depth] = at(types, 1).shape as [number, number];
  return { rows, columns, depth, transposeA: false, transposeB: true, accumulate: false, operandType };
};

/**
 * What the loss reads and writes beside its matrices, whose traffic is part of the products' measured time: targets, weights, losses and their
 * sum. Its logits never leave it. Products alone have nothing beside them.
 */
function bytesBesideProducts({ rule, inputs, outputs }: Application): number {
  return rule.name === 'matmul' ? 0 : bytesOf([...inputs.slice(2, 4), ...outputs.slice(0, 2)]);
}

const bytesOf = (types: readonly TensorType[]): number => types.reduce((bytes, type) => bytes + tensorBytes(type), 0);
