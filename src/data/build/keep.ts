import type { Deduplicator } from '../quality/deduplicate.js';
import type { EncodedPart } from './encode-batch.js';

/** A part without the documents that the deduplicator has met before. Every document of it is whole. */
export function keepDocuments(part: EncodedPart, deduplicator: Deduplicator): EncodedPart {
  const { tokens, ends, comparison } = part;
  if (comparison === undefined || ends.length === 0) return part;
  const width = comparison.keys.length / ends.length;
  const keptEnds: number[] = [];
  let count = 0;
  let textBytes = 0;
  for (let document = 0; document < ends.length; document++) {
    if (!deduplicator.keep(comparison.keys, document * width)) continue;
    const start = document === 0 ? 0 : ends[document - 1]!;
    tokens.copyWithin(count, start, ends[document]!);
    count += ends[document]! - start;
    textBytes += comparison.textBytes[document]!;
    keptEnds.push(count);
  }
  return { tokens: tokens.slice(0, count), ends: Uint32Array.from(keptEnds), textBytes };
}
