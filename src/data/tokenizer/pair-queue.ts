/** A pair waiting to be merged, with its count when it was queued. */
export interface QueuedPair {
  readonly pair: number;
  readonly left: number;
  readonly right: number;
  readonly count: number;
  /** Head of the list of words that the pair was seen in. */
  readonly places: number;
}

/** Pairs by count, the highest first; of equals that with the lowest ids. */
export class PairQueue {
  readonly #heap: QueuedPair[] = [];

  push(entry: QueuedPair): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!comesBefore(entry, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = entry;
  }

  pop(): QueuedPair | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && comesBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!comesBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return top;
  }
}

const comesBefore = (a: QueuedPair, b: QueuedPair): boolean =>
  a.count !== b.count ? a.count > b.count : a.left !== b.left ? a.left < b.left : a.right < b.right;
