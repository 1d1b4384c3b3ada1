import type { OpRule, TensorType } from '../ops/index.js';

/** Memory that a program reads or writes: a slot is bound from outside, a temporary is placed by the planner. */
export type Root =
  | { readonly kind: 'slot'; readonly name: string; readonly type: TensorType }
  | { readonly kind: 'temporary'; readonly id: number; readonly bytes: number };

/** A contiguous range of a root with a type. */
export interface Operand {
  readonly root: Root;
  readonly offsetBytes: number;
  readonly type: TensorType;
}

/** One application of an op. */
export interface Operation {
  readonly rule: OpRule<object>;
  readonly attributes: object;
  readonly inputs: readonly Operand[];
  readonly outputs: readonly Operand[];
  /** Per output: what the result is added to. */
  readonly onto: readonly (Operand | undefined)[];
}

/** A recorded list of operations, before its temporaries have places. */
export interface Recording {
  readonly slots: Readonly<Record<string, TensorType>>;
  readonly operations: readonly Operation[];
  /** Results that stay readable until the next replay. */
  readonly outputs: Readonly<Record<string, Operand>>;
}

/** A recording whose temporaries and workspaces lie in one arena. */
export interface Program extends Recording {
  /** Byte offset of every temporary, by id. */
  readonly placement: ReadonlyMap<number, number>;
  /** Byte offset of every operation's workspace; undefined where it needs none. */
  readonly workspaces: readonly (number | undefined)[];
  /** Bytes of the arena: the peak of all memory that replaying needs beside the slots. */
  readonly peakBytes: number;
}

/** Floating-point operations of one replay, as the ledger counts them. */
export const programFlops = (recording: Recording): number =>
  recording.operations.reduce(
    (sum, { rule, attributes, inputs }) =>
      sum +
      (rule.flops?.(
        inputs.map((operand) => operand.type),
        attributes,
      ) ?? 0),
    0,
  );
