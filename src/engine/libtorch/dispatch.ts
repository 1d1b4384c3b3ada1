import type { DType } from '../../ops/types.js';
import { libtorch } from './load.js';
import { check, consumed, owned, share, release, type Handle } from './tensors.js';

/**
 * ATen operators by name, through libtorch's dispatcher.
 *
 * Each argument is one 64-bit cell of a stack, in the order of the operator's schema, every one of them given (the
 * dispatcher knows no defaults). What stands in a cell:
 *
 * - `Tensor`: a handle of its own, which the call consumes;
 * - `int`, `SymInt`: the integer in two's complement; `float`: the bits of the double; `bool`: 0 or 1;
 * - `ScalarType`: libtorch's number for it;
 * - `int[]`, `Tensor[]`, `Tensor?[]`: a list object, which the call consumes;
 * - `T?`: 0 for none, else the address of a cell on the C++ heap that holds T's cell, and which the call frees;
 * - `Scalar`: not possible; use an operator that takes a 0-dim tensor (`mul.Tensor`), or a function of its own.
 *
 * The cells carry no types: an argument of a kind that the schema does not have ends the process.
 * `Scalar` rules out every operator that has one, also with a default: `add.Tensor`, `sub.Tensor` (alpha).
 * Results are left at the start of the stack and belong to the caller.
 */
export type Argument = { readonly cell: () => bigint; readonly tensors?: readonly Handle[] };

const bits = new BigUint64Array(1);
const doubleBits = new Float64Array(bits.buffer);
const result = new BigUint64Array(1);

function list(cells: readonly bigint[]): bigint {
  const { calls } = libtorch();
  check(calls.torch_new_list_reserve_size(cells.length, result), 'a new list');
  const address = result[0] ?? 0n;
  for (const cell of cells) check(calls.torch_list_push_back(address, cell), 'a list element');
  return address;
}

const intCell = (value: number): bigint => {
  if (!Number.isSafeInteger(value)) throw new RangeError(`expected an integer, found ${value}`);
  return BigInt.asUintN(64, BigInt(value));
};

const none: Argument = { cell: () => 0n };

/** Makes arguments for `dispatch`. Tensors stay the caller's: the call gets handles of its own. */
export const arg = {
  tensor: (handle: Handle): Argument => ({ cell: () => share(handle), tensors: [handle] }),
  int: (value: number): Argument => ({ cell: () => intCell(value) }),
  double: (value: number): Argument => ({
    cell: () => {
      doubleBits[0] = value;
      return bits[0] ?? 0n;
    },
  }),
  bool: (value: boolean): Argument => ({ cell: () => (value ? 1n : 0n) }),
  dtype: (dtype: DType): Argument => ({ cell: () => BigInt(libtorch().dtypeCodes[dtype]) }),
  intList: (values: readonly number[]): Argument => ({ cell: () => list(values.map(intCell)) }),
  tensorList: (handles: readonly Handle[]): Argument => ({ cell: () => list(handles.map(share)), tensors: handles }),
  /** For `Tensor?[]`, as indexing has it: one entry per dimension. */
  optionalTensorList: (handles: readonly (Handle | undefined)[]): Argument => ({
    cell: () => list(handles.map((handle) => (handle === undefined ? 0n : libtorch().newOptionalCell(share(handle))))),
    tensors: handles.filter((handle) => handle !== undefined),
  }),
  /** For a parameter that may be none (`T?` in the schema): the value, or none where undefined. */
  optional: (value: Argument | undefined): Argument =>
    value === undefined ? none : { ...value, cell: () => libtorch().newOptionalCell(value.cell()) },
  none,
} as const;

const MOST_CELLS = 32;
const stack = new BigUint64Array(MOST_CELLS);

/**
 * Runs an ATen operator on arguments made by `arg`, all of its schema's in order.
 *
 * @param op Such as `aten::mul`.
 * @param overload Such as `Tensor`, or the empty string.
 * @param numResults How many tensors it returns.
 * @returns Handles of the results, which are the caller's to release.
 * @throws WorkError naming the op, shapes and element types, where libtorch refuses.
 */
export function dispatch(op: string, overload: string, args: readonly Argument[], numResults = 1): Handle[] {
  const { calls, callVersion } = libtorch();
  const tensors = args.flatMap((argument) => argument.tensors ?? []);
  args.forEach((argument, i) => (stack[i] = argument.cell()));
  const status = calls.torch_call_dispatcher(op, overload, stack, callVersion);
  consumed(tensors.length);
  if (status !== 0) check(status, overload === '' ? op : `${op}.${overload}`, tensors);
  return Array.from({ length: numResults }, (_, i) => owned(stack[i]));
}

/** Runs an operator that writes into its arguments (`out=`, or in place) and returns them: nothing is left to release. */
export function dispatchInto(op: string, overload: string, args: readonly Argument[], numResults = 1): void {
  for (const handle of dispatch(op, overload, args, numResults)) release(handle);
}
