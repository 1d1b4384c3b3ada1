import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** How the records of a segment compare with those of its replay. */
export interface RecordsComparison {
  /** Records that were compared: all kinds but events. */
  readonly count: number;
  /** Where they first differ, as "validation.loss at step 20: 3.1 there, 3.2 here"; null where they do not. */
  readonly firstDifference: string | null;
  /** Largest difference of two losses; null where records are missing. */
  readonly largestLossDifference: number | null;
}

/** A stretch of a records file, in bytes. */
export type Stretch = readonly [path: string, from: number, to: number];

/** Fields that differ from one execution to the next: times, and the hash over them. */
const TIMES = new Set(['time', 'tokensPerSecond', 'gflopPerSecond', 'hash']);

type Fields = Readonly<Record<string, unknown>>;

/** Compares what two executions of a segment recorded; events tell of the execution and are left out. */
export function compareRecords(original: Stretch, replayed: Stretch): RecordsComparison {
  const [there, here] = [readStretch(original), readStretch(replayed)];
  if (there === undefined || here === undefined || there.length !== here.length) {
    const count = Math.min(there?.length ?? 0, here?.length ?? 0);
    const firstDifference = `${there?.length ?? 'unreadable'} records there, ${here?.length ?? 'unreadable'} here`;
    return { count, firstDifference, largestLossDifference: null };
  }
  let firstDifference: string | null = null;
  let largestLossDifference = 0;
  there.forEach((record, i) => {
    firstDifference ??= difference(record, here[i] ?? {});
    const gap = Math.abs(Number(record['loss'] ?? 0) - Number(here[i]?.['loss'] ?? 0));
    if (gap > largestLossDifference) largestLossDifference = gap;
  });
  return { count: there.length, firstDifference, largestLossDifference };
}

function difference(a: Fields, b: Fields): string | null {
  for (const field of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const [left, right] = [JSON.stringify(a[field]) ?? 'nothing', JSON.stringify(b[field]) ?? 'nothing'];
    if (!TIMES.has(field) && left !== right)
      return `${String(a['kind'])}.${field} at step ${String(a['step'])} (${left} there, ${right} here)`;
  }
  return null;
}

/** The records of a stretch; undefined where it is not there or no JSON. */
function readStretch([path, from, to]: Stretch): Fields[] | undefined {
  const descriptor = openSync(path, 'r');
  try {
    if (to < from || fstatSync(descriptor).size < to) return undefined;
    const bytes = Buffer.alloc(to - from);
    readSync(descriptor, bytes, 0, bytes.length, from);
    const lines = bytes.toString().split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as Fields).filter(({ kind }) => kind !== 'event');
  } catch {
    return undefined;
  } finally {
    closeSync(descriptor);
  }
}
