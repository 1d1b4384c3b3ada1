import { ShapeError, type TensorType } from './types.js';

const show = (type: TensorType): string => `${type.dtype}[${type.shape.join(', ')}]`;

/** Throws a `ShapeError` that names the op and shows all its inputs. */
export function requireShapes(
  condition: boolean,
  op: string,
  expected: string,
  inputs: readonly TensorType[],
): asserts condition {
  if (!condition) throw new ShapeError(`${op}: expected ${expected}, found ${inputs.map(show).join(', ')}`);
}

/** The inputs as a list without holes; throws where an op got another number of them. */
export function takeInputs<const N extends number>(
  op: string,
  inputs: readonly TensorType[],
  count: N,
): readonly TensorType[] {
  requireShapes(inputs.length === count, op, `${count} inputs`, inputs);
  return inputs;
}

/** Element `index` of a list that is known to be long enough. */
export function at<T>(list: readonly T[], index: number): T {
  const item = list[index];
  if (item === undefined) throw new RangeError(`index ${index} lies outside a list of ${list.length}`);
  return item;
}

/** Size of axis `axis` of a type. */
export const size = (type: TensorType, axis: number): number => at(type.shape, axis);

export const sameShape = (a: TensorType, b: TensorType): boolean =>
  a.dtype === b.dtype && a.shape.length === b.shape.length && a.shape.every((n, i) => n === b.shape[i]);
