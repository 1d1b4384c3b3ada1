import type { Model } from './model.js';
import { PackedForward, type RoutedBranches } from './packed-forward.js';
import type { RowRun } from './tiles.js';

/** A text in the making: its keys and values lie in rows `start` to `start + capacity - 1` of the cache. */
export interface Sequence {
  readonly start: number;
  readonly capacity: number;
  /** Tokens that are in the cache. */
  readonly length: number;
}

interface LiveSequence extends Sequence {
  length: number;
  /** Tokens that have not passed through the model yet. */
  pending: Int32Array;
}

export interface DecoderOptions {
  /** Rows of the cache, shared by all sequences. */
  readonly cacheRows: number;
  /** Rows in one pass at most: bounds how long a long prompt keeps others waiting. */
  readonly passRows?: number;
  readonly maxLength?: number;
}

const PASS_ROWS = 256;

/**
 * Continues any number of texts together, each with a range of rows of one cache of keys and values.
 *
 * `step` passes the newest token of every text through the model, and a part of every prompt that is not through yet.
 */
export class Decoder implements Disposable {
  readonly maxLength: number;
  readonly cacheRows: number;
  readonly #forward: PackedForward;
  readonly #vocabulary: number;
  readonly #sequences = new Set<LiveSequence>();
  readonly #ids: Int32Array;
  readonly #positions: Int32Array;
  readonly #cacheRows: Int32Array;

  constructor(model: Model, options: DecoderOptions) {
    this.maxLength = options.maxLength ?? model.config.max_position_embeddings;
    this.cacheRows = options.cacheRows;
    this.#vocabulary = model.config.vocab_size;
    this.#forward = new PackedForward(model, {
      rows: Math.min(options.passRows ?? PASS_ROWS, Math.max(1, options.cacheRows)),
      maxLength: this.maxLength,
      cacheRows: options.cacheRows,
    });
    const { maxRows } = this.#forward;
    [this.#ids, this.#positions, this.#cacheRows] = [maxRows, maxRows, maxRows].map((rows) => new Int32Array(rows)) as [
      Int32Array,
      Int32Array,
      Int32Array,
    ];
  }

  /** Feed-forward branches so far, prompts included; undefined where the model's layers are not routed. */
  get branches(): RoutedBranches | undefined {
    return this.#forward.branches;
  }

  /** Begins a text that may get `capacity` tokens in all; undefined where the cache has no room for it now. */
  begin(prompt: Int32Array, capacity: number): Sequence | undefined {
    if (prompt.length === 0 || capacity < prompt.length || capacity > this.maxLength)
      throw new RangeError(`a text of ${prompt.length} tokens with room for ${capacity}, of at most ${this.maxLength}`);
    const start = this.#findRoom(capacity);
    if (start === undefined) return undefined;
    const sequence: LiveSequence = { start, capacity, length: 0, pending: prompt };
    this.#sequences.add(sequence);
    return sequence;
  }

  /** Appends a token to a text whose logits were given. */
  append(sequence: Sequence, token: number): void {
    const live = this.#live(sequence);
    if (live.pending.length > 0 || live.length >= live.capacity) throw new RangeError('this text takes no token now');
    live.pending = Int32Array.of(token);
  }

  /** Ends a text; its rows of the cache are free again. */
  end(sequence: Sequence): void {
    this.#sequences.delete(sequence as LiveSequence);
  }

  /**
   * One pass through the model.
   *
   * @param onLogits Called for every text all of whose tokens are through now; the logits of its next token are valid during the call.
   */
  step(onLogits: (sequence: Sequence, logits: Float32Array) => void): void {
    const chosen = this.#choose();
    if (chosen.length === 0) return;
    const total = chosen.reduce((sum, { count }) => sum + count, 0);
    const rows = {
      ids: this.#ids.subarray(0, total),
      positions: this.#positions.subarray(0, total),
      cacheRows: this.#cacheRows.subarray(0, total),
    };
    const runs: RowRun[] = [];
    const ready: { sequence: LiveSequence; row: number }[] = [];
    let first = 0;
    for (const { sequence, count } of chosen) {
      const { start, length, pending } = sequence;
      rows.ids.set(pending.subarray(0, count), first);
      for (let i = 0; i < count; i++) {
        rows.positions[first + i] = length + i;
        rows.cacheRows[first + i] = start + length + i;
      }
      runs.push({ first, count, prefixStart: 0, prefixEnd: 0, ownStart: start, ownLast: start + length });
      sequence.length += count;
      sequence.pending = pending.subarray(count);
      first += count;
      if (sequence.pending.length === 0) ready.push({ sequence, row: first - 1 });
    }
    this.#forward.run({ ...rows, runs });
    for (let from = 0; from < ready.length; from += PackedForward.mostLogitRows) {
      const part = ready.slice(from, from + PackedForward.mostLogitRows);
      const logits = this.#forward.logits(Int32Array.from(part, ({ row }) => row));
      part.forEach(({ sequence }, i) =>
        onLogits(sequence, logits.subarray(i * this.#vocabulary, (i + 1) * this.#vocabulary)),
      );
    }
  }

  [Symbol.dispose](): void {
    this.#forward[Symbol.dispose]();
  }

  /** Whose tokens pass now: those that wait for one token first, so that a long prompt delays nobody for more than a pass. */
  #choose(): { sequence: LiveSequence; count: number }[] {
    const waiting = [...this.#sequences].filter(({ pending }) => pending.length > 0);
    waiting.sort((a, b) => a.pending.length - b.pending.length);
    let room = this.#forward.maxRows;
    return waiting.flatMap((sequence) => {
      const count = Math.min(room, sequence.pending.length);
      room -= count;
      return count > 0 ? [{ sequence, count }] : [];
    });
  }

  /** The lowest range of rows that no text holds. */
  #findRoom(capacity: number): number | undefined {
    let start = 0;
    for (const taken of [...this.#sequences].sort((a, b) => a.start - b.start)) {
      if (start + capacity <= taken.start) break;
      start = taken.start + taken.capacity;
    }
    return start + capacity <= this.cacheRows ? start : undefined;
  }

  #live(sequence: Sequence): LiveSequence {
    if (!this.#sequences.has(sequence as LiveSequence)) throw new RangeError('this text has ended');
    return sequence as LiveSequence;
  }
}
