import { PairTable } from './pair-table.js';

/** Above this many symbols a heap finds the next merge; below, a scan is faster. */
const SCAN_LIMIT = 48;
const POSITIONS = 2 ** 31;

/**
 * The merges of a BPE vocabulary, applied in Hugging Face's order: always the pair of lowest rank, the leftmost of equals.
 *
 * Source: Sennrich et al. 2016, algorithm 1; order of Hugging Face's `Word::merge_all`.
 */
export class Merges {
  readonly #ranks: PairTable;
  readonly #merged: Int32Array;
  #rankAt = new Int32Array(256);
  #next = new Int32Array(256);
  #previous = new Int32Array(256);
  #heap = new Float64Array(256);
  #heapSize = 0;

  /** @param merges In order of rank: left id, right id, id of the two joined. Of equal pairs the last counts. */
  constructor(merges: readonly (readonly [left: number, right: number, merged: number])[]) {
    this.#ranks = new PairTable(merges.length);
    this.#merged = new Int32Array(merges.length);
    merges.forEach(([left, right, merged], rank) => {
      this.#ranks.set(left, right, rank);
      this.#merged[rank] = merged;
    });
  }

  /** Merges the first `count` ids in place and returns how many are left. */
  apply(ids: Int32Array, count: number): number {
    if (count < 2) return count;
    if (count > this.#rankAt.length) this.#reserve(count);
    for (let i = 0; i + 1 < count; i++) this.#rankAt[i] = this.#ranks.get(ids[i]!, ids[i + 1]!);
    return count <= SCAN_LIMIT ? this.#applyByScan(ids, count) : this.#applyByHeap(ids, count);
  }

  #applyByScan(ids: Int32Array, start: number): number {
    const ranks = this.#rankAt;
    for (let count = start; ; count--) {
      let best = -1;
      let bestRank = 0x7fffffff;
      for (let i = 0; i + 1 < count; i++) {
        const rank = ranks[i]!;
        if (rank >= 0 && rank < bestRank) {
          bestRank = rank;
          best = i;
        }
      }
      if (best < 0) return count;
      const merged = this.#merged[bestRank]!;
      ids[best] = merged;
      for (let i = best + 1; i + 1 < count; i++) {
        ids[i] = ids[i + 1]!;
        ranks[i] = ranks[i + 1]!;
      }
      if (best > 0) ranks[best - 1] = this.#ranks.get(ids[best - 1]!, merged);
      if (best + 2 < count) ranks[best] = this.#ranks.get(merged, ids[best + 1]!);
    }
  }

  #applyByHeap(ids: Int32Array, count: number): number {
    const ranks = this.#rankAt;
    const next = this.#next;
    const previous = this.#previous;
    ranks[count - 1] = -1;
    this.#heapSize = 0;
    for (let i = 0; i < count; i++) {
      next[i] = i + 1;
      previous[i] = i - 1;
      if (ranks[i]! >= 0) this.#push(ranks[i]! * POSITIONS + i);
    }
    while (this.#heapSize > 0) {
      const key = this.#pop();
      const rank = Math.floor(key / POSITIONS);
      const at = key - rank * POSITIONS;
      if (ranks[at] !== rank) continue;
      const gone = next[at]!;
      const behind = next[gone]!;
      ids[at] = this.#merged[rank]!;
      next[at] = behind;
      ranks[gone] = -1;
      if (behind < count) previous[behind] = at;
      this.#rerank(ids, at, behind < count ? behind : -1);
      if (previous[at]! >= 0) this.#rerank(ids, previous[at]!, at);
    }
    let left = 0;
    for (let i = 0; i < count; i = next[i]!) ids[left++] = ids[i]!;
    return left;
  }

  #rerank(ids: Int32Array, at: number, behind: number): void {
    const rank = behind < 0 ? -1 : this.#ranks.get(ids[at]!, ids[behind]!);
    this.#rankAt[at] = rank;
    if (rank >= 0) this.#push(rank * POSITIONS + at);
  }

  #push(key: number): void {
    if (this.#heapSize === this.#heap.length) this.#heap = grown(this.#heap);
    const heap = this.#heap;
    let at = this.#heapSize++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]! <= key) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = key;
  }

  #pop(): number {
    const heap = this.#heap;
    const top = heap[0]!;
    const key = heap[--this.#heapSize]!;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= this.#heapSize) break;
      if (child + 1 < this.#heapSize && heap[child + 1]! < heap[child]!) child++;
      if (heap[child]! >= key) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = key;
    return top;
  }

  #reserve(count: number): void {
    const capacity = Math.max(count, this.#rankAt.length * 2);
    this.#rankAt = new Int32Array(capacity);
    this.#next = new Int32Array(capacity);
    this.#previous = new Int32Array(capacity);
  }
}

function grown(array: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(array.length * 2);
  larger.set(array);
  return larger;
}
