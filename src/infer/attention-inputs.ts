import { Memory, type Tensor } from '../engine/buffers.js';
import { bindProgram, type Replay } from '../engine/replay.js';
import { arenaParameters, forwardOf } from '../model/index.js';
import {
  attentionRule,
  type AttentionAttributes,
  type Context,
  type Destination,
  type OpRule,
  tensorBytes,
  type Value,
} from '../ops/index.js';
import { compileProgram, Recorder, type Program } from '../program/index.js';
import type { Model } from './model.js';

/** What one layer's attention reads: packed rows behind norms and rotation, and how their scores become weights. */
export interface AttentionInputs {
  /** [length, (heads + 2 kvHeads) * headDim]: queries, keys, values. */
  readonly qkv: Float32Array;
  readonly attributes: AttentionAttributes;
}

/** A context that passes everything on and keeps what attention is given. */
class AttentionTap implements Context {
  readonly taken: { qkv: Value; attributes: AttentionAttributes }[] = [];
  readonly #inner: Context;

  constructor(inner: Context) {
    this.#inner = inner;
  }

  apply<A extends object>(
    rule: OpRule<A>,
    inputs: readonly Value[],
    attributes: A,
    destinations?: readonly (Destination | undefined)[],
  ): Value[] {
    const [qkv] = inputs;
    if ((rule as unknown) === attentionRule && qkv !== undefined)
      this.taken.push({ qkv, attributes: attributes as unknown as AttentionAttributes });
    return this.#inner.apply(rule, inputs, attributes, destinations);
  }

  view(value: Value, offset: number, shape: readonly number[]): Value {
    return this.#inner.view(value, offset, shape);
  }

  segment<R>(body: () => R): R {
    return body();
  }
}

/** Runs a model on one sequence at a time and gives what the attention of each layer reads: for diagnostics. */
export class AttentionReader implements Disposable {
  readonly length: number;
  readonly #memories: Memory[] = [];
  readonly #ids: Tensor;
  readonly #replay: Replay;
  readonly #attributes: readonly AttentionAttributes[];

  /** @param length Tokens of every sequence, at most those that the model reads. */
  constructor(model: Model, length: number) {
    this.length = length;
    const { program, tables, attributes } = record(model, length);
    this.#attributes = attributes;
    const slots: Record<string, Tensor> = { parameters: model.parameters };
    for (const [name, type] of Object.entries(program.slots)) {
      if (name === 'parameters') continue;
      const memory = new Memory(tensorBytes(type));
      this.#memories.push(memory);
      const tensor = memory.tensor(type);
      slots[name] = tensor;
      const table = tables[name];
      if (table !== undefined) (tensor.data() as Float32Array).set(table.values);
    }
    this.#ids = slots['ids'] as Tensor;
    this.#replay = bindProgram(program, slots);
  }

  /** What attention reads in each layer, first layer first; valid until the next call. */
  read(ids: Int32Array): AttentionInputs[] {
    if (ids.length !== this.length) throw new RangeError(`a sequence of ${ids.length} tokens, not of ${this.length}`);
    (this.#ids.data() as Int32Array).set(ids);
    this.#replay.run();
    return this.#attributes.map((attributes, layer) => ({
      qkv: this.#replay.output(`layer${layer}`).data() as Float32Array,
      attributes,
    }));
  }

  [Symbol.dispose](): void {
    this.#replay.free();
    for (const memory of this.#memories) memory.free();
  }
}

function record(
  model: Model,
  length: number,
): {
  program: Program;
  tables: ReturnType<ReturnType<typeof forwardOf>['tables']>;
  attributes: AttentionAttributes[];
} {
  const { config, family, layout, parameters } = model;
  const forward = forwardOf(config);
  const tables = forward.tables(config, length);
  const recorder = new Recorder();
  const tap = new AttentionTap(recorder);
  const slots = Object.entries(tables).map(([name, { columns, values }]) => [
    name,
    recorder.slot(name, { dtype: values instanceof Int32Array ? 'i32' : 'f32', shape: [length, columns] }),
  ]);
  const ids = recorder.slot('ids', { dtype: 'i32', shape: [length] });
  const weights = arenaParameters(
    recorder,
    recorder.slot('parameters', parameters.type),
    layout,
    family.weights(config),
  );
  forward.hidden(tap, config, weights, { ids, tables: Object.fromEntries(slots), batch: 1, length });
  const outputs = Object.fromEntries(tap.taken.map(({ qkv }, layer) => [`layer${layer}`, qkv]));
  return {
    program: compileProgram(recorder.finish(outputs)),
    tables,
    attributes: tap.taken.map(({ attributes }) => attributes),
  };
}
