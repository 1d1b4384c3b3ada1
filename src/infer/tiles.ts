import { TILE_FIELDS, TILE_ROWS } from '../ops/index.js';

/** Rows of one sequence that follow each other, and what they see: keys of a prefix, and their own up to each. */
export interface RowRun {
  /** First query row and number of rows. */
  readonly first: number;
  readonly count: number;
  /** Key rows of the prefix; the end is exclusive. */
  readonly prefixStart: number;
  readonly prefixEnd: number;
  /** First key row of the sequence's own, and that of the first query row. */
  readonly ownStart: number;
  readonly ownLast: number;
}

/** Writes the tiles of runs of rows; what is left of `tiles` is zeroed. */
export function writeTiles(tiles: Int32Array, runs: Iterable<RowRun>): void {
  let at = 0;
  for (const { first, count, prefixStart, prefixEnd, ownStart, ownLast } of runs)
    for (let done = 0; done < count; done += TILE_ROWS) {
      const rows = Math.min(TILE_ROWS, count - done);
      if (at + TILE_FIELDS.length > tiles.length) throw new RangeError('more tiles than rows');
      tiles.set([first + done, rows, prefixStart, prefixEnd, ownStart, ownLast + done], at);
      at += TILE_FIELDS.length;
    }
  tiles.fill(0, at);
}
