import { at, tensorBytes, type DType, type OpRule, type ProductAttributes, type TensorType } from '../ops/index.js';

/** What one application of an op makes the machine do at least. */
export interface Work {
  /** Multiplications and additions of matrix products and attention that are really made. */
  readonly flops: number;
  /** Every input read and every output written once. */
  readonly bytes: number;
  /** Element type of the products' operands. */
  readonly dtype: DType;
}

/** An op, its attributes and the types that it reads and writes. */
export interface Application {
  readonly rule: OpRule<object>;
  readonly attributes: object;
  readonly inputs: readonly TensorType[];
  readonly outputs: readonly TensorType[];
}

/** Share of the ledger's T x T pairs that causal attention computes, and what its backward computes again: 10 products for the ledger's 8. */
const ATTENTION: Readonly<Record<string, number>> = { attention: 1, attentionBackward: 10 / 8 };

/** The work of an application, from its types alone. Attention is causal: half of what the ledger books, plus the diagonal. */
export function workOf({ rule, attributes, inputs, outputs }: Application): Work {
  const booked = rule.flops?.(inputs, attributes) ?? 0;
  const recomputed = ATTENTION[rule.name];
  const length = (attributes as { length?: number }).length ?? 1;
  const flops = recomputed === undefined ? booked : (booked * recomputed * (1 + 1 / length)) / 2;
  const { operandType } = attributes as ProductAttributes;
  return { flops, bytes: bytesOf(rule.name, inputs, outputs), dtype: operandType ?? inputs[0]?.dtype ?? 'f32' };
}

function bytesOf(name: string, inputs: readonly TensorType[], outputs: readonly TensorType[]): number {
  const sum = (types: readonly TensorType[]): number => types.reduce((bytes, type) => bytes + tensorBytes(type), 0);
  // Of the table only the rows that are looked up.
  if (name === 'embedding') return 2 * sum(outputs);
  if (name === 'cachedAttention') return sum(inputs.filter((_, i) => i !== 1)) + tensorBytes(at(outputs, 0));
  return sum(inputs) + sum(outputs);
}

/** Types as people write them: `2048x256, 768x256`. */
export const showTypes = (types: readonly TensorType[]): string =>
  types
    .map(({ dtype, shape }) => `${dtype === 'f32' ? '' : `${dtype} `}${shape.length === 0 ? '1' : shape.join('x')}`)
    .join(', ');
