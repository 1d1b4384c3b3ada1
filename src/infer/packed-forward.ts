import { Memory, type Tensor } from '../engine/buffers.js';
import { bindProgram, type Replay } from '../engine/replay.js';
import { arenaParameters, boundLogits, forwardOf, logitAttributes, type ForwardTable } from '../model/index.js';
import {
  copyRule,
  embedding,
  matmul,
  tensorBytes,
  TILE_FIELDS,
  tokenScores,
  type DType,
  type TensorType,
  type Value,
} from '../ops/index.js';
import { compileProgram, Recorder, type Program } from '../program/index.js';
import type { Model } from './model.js';
import { PackedContext } from './packed-context.js';
import { writeTiles, type RowRun } from './tiles.js';

/** Rows that pass through the model together. Row i holds token `ids[i]` at position `positions[i]` of its sequence. */
export interface PackedRows {
  readonly ids: Int32Array;
  readonly positions: Int32Array;
  readonly runs: readonly RowRun[];
  /** Row of the cache for each row's keys and values; only with a cache. */
  readonly cacheRows?: Int32Array;
}

/** Scores of tokens: log-probability, and the most probable token with its. */
export interface TokenScores {
  readonly logProbs: Float32Array;
  readonly best: Int32Array;
  readonly bestLogProbs: Float32Array;
}

export interface PackedForwardOptions {
  /** Rows in one pass at most. */
  readonly rows: number;
  /** Positions that a sequence may have. */
  readonly maxLength: number;
  /** Rows of the cache of keys and values in each layer; none where left out. */
  readonly cacheRows?: number;
}

/** How many feed-forward branches of a routed model were computed, of how many: one for each token and layer. */
export interface RoutedBranches {
  readonly computed: number;
  readonly all: number;
}

/** Programs exist for these numbers of rows and for the most; fewer rows are filled up to the next. */
const ROW_STEPS = [1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 768, 1024];
/** Rows whose logits or scores are computed in one pass. */
const SCORE_STEPS = [1, 16, 256];
const LOGIT_STEPS = [1, 8, 32];

/**
 * A model's forward over packed rows, with or without a cache; nothing is allocated once every size has been met.
 *
 * `run` computes hidden states; `scores` and `logits` then apply the head to the rows that are asked for, and to no others.
 */
export class PackedForward implements Disposable {
  readonly maxRows: number;
  readonly maxLength: number;
  readonly #model: Model;
  readonly #memories: Memory[] = [];
  readonly #tables: Record<string, ForwardTable>;
  readonly #caches: Tensor[] = [];
  readonly #hidden: Tensor;
  readonly #slotMemory = new Map<string, Memory>();
  readonly #replays = new Map<string, { readonly replay: Replay; readonly slots: Record<string, Tensor> }>();
  #arena: Memory | undefined;
  #computed = 0;
  #branches = 0;

  constructor(model: Model, options: PackedForwardOptions) {
    this.#model = model;
    this.maxRows = options.rows;
    this.maxLength = options.maxLength;
    const { config } = model;
    this.#tables = forwardOf(config).tables(config, options.maxLength);
    this.#hidden = this.#allocate({ dtype: 'f32', shape: [options.rows, config.hidden_size] });
    if (options.cacheRows !== undefined) {
      const shape = [2, config.num_key_value_heads, options.cacheRows, config.head_dim];
      for (let layer = 0; layer < config.num_hidden_layers; layer++)
        this.#caches.push(this.#allocate({ dtype: 'f32', shape }));
    }
  }

  /** Bytes of the cache of keys and values for one row of all layers. */
  static cacheBytesPerRow({ config }: Pick<Model, 'config'>): number {
    return 2 * config.num_key_value_heads * config.head_dim * config.num_hidden_layers * Float32Array.BYTES_PER_ELEMENT;
  }

  /** Runs rows through all layers; their hidden states stay until the next run. */
  run(rows: PackedRows): void {
    const count = rows.ids.length;
    if (count > this.maxRows) throw new RangeError(`${count} rows in one pass, at most ${this.maxRows} are possible`);
    const size = stepFor(count, ROW_STEPS, this.maxRows);
    const { replay, slots } = this.#replay(`rows ${size}`, () => this.#recordRows(size));
    fill(slots['ids'], rows.ids);
    for (const [name, table] of Object.entries(this.#tables)) gatherRows(slots[name], table, rows.positions);
    writeTiles(slots['tiles']?.data() as Int32Array, rows.runs);
    if (slots['cacheRows']) fill(slots['cacheRows'], rows.cacheRows ?? new Int32Array(), -1);
    replay.run();
    if (forwardOf(this.#model.config).routed === true) this.#countBranches(replay, count);
  }

  /** Branches since the beginning; undefined where the model's layers are not routed. */
  get branches(): RoutedBranches | undefined {
    if (forwardOf(this.#model.config).routed !== true) return undefined;
    return { computed: this.#computed, all: this.#branches };
  }

  /** Scores of `targets[i]` as the token that follows row `rows[i]` of the last run. */
  scores(rows: Int32Array, targets: Int32Array): TokenScores {
    const count = rows.length;
    const result = {
      logProbs: new Float32Array(count),
      best: new Int32Array(count),
      bestLogProbs: new Float32Array(count),
    };
    const most = SCORE_STEPS.at(-1) ?? 1;
    for (let start = 0; start < count; start += most) {
      const end = Math.min(start + most, count);
      const size = stepFor(end - start, SCORE_STEPS, most);
      const { replay, slots } = this.#replay(`scores ${size}`, () => this.#recordScores(size));
      fill(slots['rows'], rows.subarray(start, end));
      fill(slots['targets'], targets.subarray(start, end));
      replay.run();
      for (const [name, values] of Object.entries(result))
        values.set((replay.output(name).data() as Float32Array).subarray(0, end - start), start);
    }
    return result;
  }

  /** Logits of rows of the last run, one after the other [rows, vocabulary]; valid until the next call. At most 32 rows. */
  logits(rows: Int32Array): Float32Array {
    const most = LOGIT_STEPS.at(-1) ?? 1;
    if (rows.length > most) throw new RangeError(`logits of ${rows.length} rows, at most ${most} are possible`);
    const size = stepFor(rows.length, LOGIT_STEPS, most);
    const { replay, slots } = this.#replay(`logits ${size}`, () => this.#recordLogits(size));
    fill(slots['rows'], rows);
    replay.run();
    return (replay.output('logits').data() as Float32Array).subarray(0, rows.length * this.#model.config.vocab_size);
  }

  /** Rows whose logits one call gives. */
  static readonly mostLogitRows = LOGIT_STEPS.at(-1) ?? 1;

  [Symbol.dispose](): void {
    for (const { replay } of this.#replays.values()) replay.free();
    this.#arena?.free();
    for (const memory of this.#memories) memory.free();
  }

  #recordRows(size: number): Program {
    const { config } = this.#model;
    const recorder = new Recorder();
    const tables = Object.fromEntries(
      Object.entries(this.#tables).map(([name, { columns, values }]) => [
        name,
        recorder.slot(name, { dtype: values instanceof Int32Array ? 'i32' : 'f32', shape: [size, columns] }),
      ]),
    );
    const tiles = recorder.slot('tiles', { dtype: 'i32', shape: [size, TILE_FIELDS.length] });
    const layers = this.#caches.map(({ type }, i) => recorder.slot(`cache${i}`, type));
    const packed = new PackedContext(recorder, {
      tiles,
      ...(layers.length > 0
        ? { cache: { rows: recorder.slot('cacheRows', { dtype: 'i32', shape: [size] }), layers } }
        : {}),
    });
    const ids = recorder.slot('ids', { dtype: 'i32', shape: [size] });
    const parameters = this.#parameters(recorder);
    const hidden = forwardOf(config).hidden(packed, config, parameters, { ids, tables, batch: 1, length: size });
    const kept = recorder.view(recorder.slot('hidden', this.#hidden.type), 0, hidden.type.shape);
    recorder.apply(copyRule, [hidden], {}, [{ into: kept }]);
    const computed = packed.computed.map((value, layer) => [`computed${layer}`, value] as const);
    return compileProgram(recorder.finish(Object.fromEntries(computed)));
  }

  /** Counts the branches of the rows that have a token. */
  #countBranches(replay: Replay, rows: number): void {
    const { num_hidden_layers: layers } = this.#model.config;
    for (let layer = 0; layer < layers; layer++) {
      const computed = replay.output(`computed${layer}`).data() as Int32Array;
      for (let i = 0; i < rows; i++) this.#computed += computed[i]!;
    }
    this.#branches += rows * layers;
  }

  #recordScores(size: number): Program {
    const recorder = new Recorder();
    const chosen = this.#chosenRows(recorder, size);
    const targets = recorder.slot('targets', { dtype: 'i32', shape: [size] });
    const head = this.#parameters(recorder).get('head');
    const attributes = logitAttributes(this.#model.config);
    return compileProgram(recorder.finish({ ...tokenScores(recorder, chosen, head, targets, attributes) }));
  }

  #recordLogits(size: number): Program {
    const recorder = new Recorder();
    const chosen = this.#chosenRows(recorder, size);
    const head = this.#parameters(recorder).get('head');
    const products = matmul(recorder, chosen, head, { transposeB: true });
    return compileProgram(recorder.finish({ logits: boundLogits(recorder, this.#model.config, products) }));
  }

  #chosenRows(recorder: Recorder, size: number): Value {
    const rows = recorder.slot('rows', { dtype: 'i32', shape: [size] });
    return embedding(recorder, recorder.slot('hidden', this.#hidden.type), rows);
  }

  #parameters(recorder: Recorder) {
    const { config, family, layout, parameters } = this.#model;
    return arenaParameters(recorder, recorder.slot('parameters', parameters.type), layout, family.weights(config));
  }

  /** A program's replay; all share one arena, as never two run at a time, which grows with the programs met. */
  #replay(name: string, record: () => Program): { readonly replay: Replay; readonly slots: Record<string, Tensor> } {
    const known = this.#replays.get(name);
    if (known !== undefined) return known;
    const program = record();
    if (this.#arena === undefined || this.#arena.bytes < program.peakBytes) {
      for (const { replay } of this.#replays.values()) replay.free();
      this.#replays.clear();
      this.#arena?.free();
      this.#arena = new Memory(program.peakBytes);
    }
    const slots = Object.fromEntries(
      Object.entries(program.slots).map(([slot, type]) => [slot, this.#slot(slot, type)]),
    );
    const made = { replay: bindProgram(program, slots, this.#arena), slots };
    this.#replays.set(name, made);
    return made;
  }

  /** The tensor behind a slot; small inputs of programs of all sizes share the memory of the largest. */
  #slot(name: string, type: TensorType): Tensor {
    if (name === 'parameters') return this.#model.parameters;
    if (name === 'hidden') return this.#hidden;
    const cache = /^cache(\d+)$/.exec(name);
    if (cache !== null) return this.#caches[Number(cache[1])] as Tensor;
    let memory = this.#slotMemory.get(name);
    if (memory === undefined) {
      const rowBytes = tensorBytes(type) / (type.shape[0] ?? 1);
      memory = new Memory(rowBytes * Math.max(this.maxRows, type.shape[0] ?? 1, SCORE_STEPS.at(-1) ?? 1));
      this.#memories.push(memory);
      this.#slotMemory.set(name, memory);
    }
    return memory.tensor(type);
  }

  #allocate(type: TensorType & { dtype: DType }): Tensor {
    const memory = new Memory(tensorBytes(type));
    memory.zero();
    this.#memories.push(memory);
    return memory.tensor(type);
  }
}

/** The smallest step that holds `count`. */
const stepFor = (count: number, steps: readonly number[], most: number): number =>
  Math.min(most, steps.find((step) => step >= count) ?? most);

/** Writes values and fills the rest. */
function fill(tensor: Tensor | undefined, values: Int32Array, rest = 0): void {
  const data = tensor?.data() as Int32Array;
  data.set(values);
  data.fill(rest, values.length);
}

/** Row i of the tensor becomes row `positions[i]` of the table. */
function gatherRows(tensor: Tensor | undefined, { values, columns }: ForwardTable, positions: Int32Array): void {
  const data = tensor?.data() as Float32Array | Int32Array;
  for (let i = 0; i < positions.length; i++) {
    const from = (positions[i] as number) * columns;
    for (let j = 0; j < columns; j++) data[i * columns + j] = values[from + j] as number;
  }
  // Rows that no token has are computed, too; a position that is none would be looked up.
  data.fill(0, positions.length * columns);
}
