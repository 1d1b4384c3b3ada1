import type { Floats } from '../architecture/index.js';
import { emptyLike, type Rows } from './rows.js';

const CHUNK_ELEMENTS = 1 << 18;

/** Visits tensors by parts of whole rows; sums over them are float64. */
function eachPart(tensors: readonly Rows[], like: Floats, visit: (parts: readonly Floats[]) => void): void {
  const { rows, columns } = tensors[0]!;
  const step = Math.max(1, Math.floor(CHUNK_ELEMENTS / columns));
  const buffers = tensors.map(() => emptyLike(like, Math.min(step, rows) * columns));
  for (let start = 0; start < rows; start += step) {
    const length = Math.min(step, rows - start) * columns;
    const parts = buffers.map((buffer) => buffer.subarray(0, length));
    tensors.forEach((tensor, i) => tensor.fill(parts[i]!, start));
    visit(parts);
  }
}

/** The mean of the squares of all entries. */
export function meanSquare(tensor: Rows, like: Floats): number {
  let sum = 0;
  eachPart([tensor], like, ([part]) => {
    for (let i = 0; i < part!.length; i++) sum += part![i]! * part![i]!;
  });
  return sum / (tensor.rows * tensor.columns);
}

/** Above this |cosine| two tensors count as parallel, and slerp is linear. */
const PARALLEL = 0.9995;

/** The two weights of spherical interpolation at t, from the angle between the flattened tensors. */
export function slerpWeights(a: Rows, b: Rows, t: number, like: Floats): [number, number] {
  let [aa, bb, ab] = [0, 0, 0];
  eachPart([a, b], like, ([x, y]) => {
    for (let i = 0; i < x!.length; i++) {
      aa += x![i]! * x![i]!;
      bb += y![i]! * y![i]!;
      ab += x![i]! * y![i]!;
    }
  });
  const cosine = ab / Math.sqrt(aa * bb);
  if (!(Math.abs(cosine) <= PARALLEL)) return [1 - t, t];
  const angle = Math.acos(cosine);
  return [Math.sin((1 - t) * angle) / Math.sin(angle), Math.sin(t * angle) / Math.sin(angle)];
}
