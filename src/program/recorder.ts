import {
  add,
  addRule,
  dtypeBytes,
  numElements,
  ShapeError,
  tensorBytes,
  type Context,
  type Destination,
  type OpRule,
  type TensorType,
  type Value,
} from '../ops/index.js';
import type { Operand, Operation, Recording, Root } from './program.js';

/** A value that has only a type and a place in a recording. */
class RecordedValue implements Value, Operand {
  constructor(
    readonly type: TensorType,
    readonly root: Root,
    readonly offsetBytes: number,
  ) {}
}

/** A context that writes a list of operations and needs no memory and no engine. */
export class Recorder implements Context {
  readonly #slots: Record<string, TensorType> = {};
  readonly #operations: Operation[] = [];
  #nextTemporary = 0;

  /** Declares memory that is bound from outside at replay. */
  slot(name: string, type: TensorType): Value {
    if (this.#slots[name] !== undefined) throw new ShapeError(`slot "${name}" is declared twice`);
    this.#slots[name] = type;
    return new RecordedValue(type, { kind: 'slot', name, type }, 0);
  }

  apply<A extends object>(
    rule: OpRule<A>,
    inputs: readonly Value[],
    attributes: A,
    destinations: readonly (Destination | undefined)[] = [],
  ): Value[] {
    const types = rule.infer(
      inputs.map((input) => input.type),
      attributes,
    );
    const direct = destinations.map((wanted, i) => (needsSeparateAdd(rule, wanted, i) ? undefined : wanted));
    const outputs = types.map((type, i) => this.#place(rule, type, direct[i]?.into));
    this.#operations.push({
      rule: rule as unknown as OpRule<object>,
      attributes,
      inputs: inputs.map(asRecorded),
      outputs,
      onto: types.map((_, i) => (direct[i]?.onto ? asRecorded(direct[i].onto) : undefined)),
    });
    return outputs.map((output, i) => {
      const wanted = destinations[i];
      if (!needsSeparateAdd(rule, wanted, i)) return output;
      return wanted.into
        ? (this.apply(addRule, [wanted.onto, output], {}, [{ into: wanted.into }])[0] as Value)
        : add(this, wanted.onto, output);
    });
  }

  view(value: Value, offset: number, shape: readonly number[]): Value {
    const source = asRecorded(value);
    if (offset < 0 || offset + numElements(shape) > numElements(source.type.shape)) {
      throw new ShapeError(`view: [${shape.join(', ')}] at ${offset} lies outside [${source.type.shape.join(', ')}]`);
    }
    const { dtype } = source.type;
    return new RecordedValue({ dtype, shape }, source.root, source.offsetBytes + offset * dtypeBytes[dtype]);
  }

  segment<R>(body: () => R): R {
    return body();
  }

  /** Ends the recording; `outputs` stay readable after a replay. */
  finish(outputs: Readonly<Record<string, Value>> = {}): Recording {
    const named = Object.entries(outputs).map(([name, value]) => [name, asRecorded(value)]);
    return { slots: this.#slots, operations: this.#operations, outputs: Object.fromEntries(named) };
  }

  #place(rule: { name: string }, type: TensorType, into: Value | undefined): RecordedValue {
    if (into === undefined) {
      return new RecordedValue(type, { kind: 'temporary', id: this.#nextTemporary++, bytes: tensorBytes(type) }, 0);
    }
    const target = asRecorded(into);
    if (target.root.kind !== 'slot' || tensorBytes(target.type) !== tensorBytes(type)) {
      throw new ShapeError(`${rule.name}: an output can only be written into a slot's range of its own size`);
    }
    return target;
  }
}

/** An output that has to be added to something, of an op whose kernel cannot add. */
function needsSeparateAdd(
  rule: { readonly accumulates?: readonly number[] },
  destination: Destination | undefined,
  index: number,
): destination is Destination & { onto: Value } {
  return destination?.onto !== undefined && !rule.accumulates?.includes(index);
}

function asRecorded(value: Value): RecordedValue {
  if (!(value instanceof RecordedValue)) throw new TypeError('this value does not belong to a recording');
  return value;
}
