import {
  at,
  tensorBytes,
  type AttentionAttributes,
  type DType,
  type OpRule,
  type ProductAttributes,
  type TensorType,
} from '../ops/index.js';

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

/** The work of an application, from its types alone. Attention is causal: half of what the ledger books, plus the diagonal; less with a window. */
export function workOf({ rule, attributes, inputs, outputs }: Application): Work {
  const booked = rule.flops?.(inputs, attributes) ?? 0;
  const recomputed = ATTENTION[rule.name];
  const flops =
    recomputed === undefined ? booked : booked * recomputed * shareOfPairs(attributes as AttentionAttributes);
  const { operandType } = attributes as ProductAttributes;
  return { flops, bytes: bytesOf(rule.name, inputs, outputs), dtype: operandType ?? inputs[0]?.dtype ?? 'f32' };
}

/** Query-key pairs that causal attention sees, as a share of all: query i sees the last i + 1 keys, with a window at most that many. */
function shareOfPairs({ length, window = length }: AttentionAttributes): number {
  const keys = Math.min(window, length);
  return (keys * length - (keys * (keys - 1)) / 2) / length ** 2;
}

function bytesOf(name: string, inputs: readonly TensorType[], outputs: readonly TensorType[]): number {
  const sum = (types: readonly TensorType[]): number => types.reduce((bytes, type) => bytes + tensorBytes(type), 0);
  // Of the table only the rows that are looked up.
  if (name === 'embedding') return sum(outputs) + sum([{ ...at(outputs, 0), dtype: at(inputs, 0).dtype }]);
  if (name === 'cachedAttention') return sum(inputs.filter((_, i) => i !== 1)) + tensorBytes(at(outputs, 0));
  return sum(inputs) + sum(outputs);
}

/** Types as people write them: `2048x256, 768x256`. */
export const showTypes = (types: readonly TensorType[]): string =>
  types
    .map(({ dtype, shape }) => `${dtype === 'f32' ? '' : `${dtype} `}${shape.length === 0 ? '1' : shape.join('x')}`)
    .join(', ');
