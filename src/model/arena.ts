import type { WeightRole, WeightSpec } from '../architecture/index.js';
import { numElements } from '../ops/index.js';

/** Where one weight lies in the flat arena of a model's parameters. */
export interface ArenaRange {
  readonly spec: WeightSpec;
  /** First element. Gradients and moments of trained weights lie at the same place in their own arenas. */
  readonly offset: number;
  readonly size: number;
  readonly shape: readonly number[];
  readonly trained: boolean;
}

/** Elements [start, end) of an arena. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * The place of every weight of a model for one stage.
 *
 * First what is trained and decayed, then what is trained and not decayed, then matrices with an update of their own (Muon), then what is
 * frozen, so that clipping, the update and sharding are each a pass over contiguous memory. Inside, the order in which backward completes the gradients: head first.
 */
export interface ArenaLayout {
  readonly ranges: ReadonlyMap<string, ArenaRange>;
  readonly decayed: Span;
  readonly plain: Span;
  /** Matrices that are updated one by one and have a first moment only. */
  readonly matrices: Span;
  readonly frozen: Span;
  /** Elements of the arenas of gradients and moments. */
  readonly trainedSize: number;
  /** Elements of the arena of second moments. */
  readonly secondMomentsSize: number;
  /** Elements of the arena of parameters. */
  readonly size: number;
}

/** Elements to which the spans are aligned: one cache line of f32. */
const SPAN_ALIGNMENT = 16;

const LAST = Number.MAX_SAFE_INTEGER;
const placesOutsideLayers: Partial<Record<WeightRole, number>> = {
  head: LAST,
  finalNorm: LAST - 1,
  positionEmbedding: -2,
  embedding: -1,
};

const depth = ({ layer, role }: WeightSpec): number => layer ?? placesOutsideLayers[role] ?? -1;

/**
 * Lays out a model's weights; tied weights have no place of their own.
 *
 * @param isMatrix Which weights are updated as whole matrices.
 */
export function layOut(
  weights: readonly WeightSpec[],
  isTrained: (spec: WeightSpec) => boolean,
  isMatrix: (spec: WeightSpec) => boolean = () => false,
): ArenaLayout {
  const own = weights.filter((spec) => spec.tiedTo === undefined);
  // A stable sort: neighbours within a layer (q, k, v; gate, up) stay neighbours.
  const ordered = own.toSorted((a, b) => depth(b) - depth(a));
  const ranges = new Map<string, ArenaRange>();
  let offset = 0;
  const place = (specs: readonly WeightSpec[], trained: boolean): Span => {
    const start = offset;
    for (const spec of specs) {
      const shape = spec.axes.map((axis) => axis.size);
      ranges.set(spec.name, { spec, offset, size: numElements(shape), shape, trained });
      offset += numElements(shape);
    }
    offset = Math.ceil(offset / SPAN_ALIGNMENT) * SPAN_ALIGNMENT;
    return { start, end: offset };
  };
  const trained = ordered.filter(isTrained);
  const decayed = place(
    trained.filter((spec) => !isMatrix(spec) && spec.decayed),
    true,
  );
  const plain = place(
    trained.filter((spec) => !isMatrix(spec) && !spec.decayed),
    true,
  );
  const secondMomentsSize = offset;
  const matrices = place(trained.filter(isMatrix), true);
  const trainedSize = offset;
  const frozen = place(
    ordered.filter((spec) => !isTrained(spec)),
    false,
  );
  return { ranges, decayed, plain, matrices, frozen, trainedSize, secondMomentsSize, size: offset };
}
