import type { WeightSpec } from '../../architecture/index.js';
import type { StoredDType, TensorPlan } from '../safetensors/index.js';

/** A tensor of a weight file and the logical weights that it holds. */
export interface StoredGroup {
  readonly name: string;
  readonly shape: readonly number[];
  readonly transposed: boolean;
  readonly parts: readonly WeightSpec[];
}

/** The stored tensors of a model in canonical order; tied weights are not stored. */
export function storedGroups(weights: readonly WeightSpec[]): StoredGroup[] {
  const groups = new Map<string, { shape: readonly number[]; transposed: boolean; parts: WeightSpec[] }>();
  for (const spec of weights) {
    if (spec.tiedTo !== undefined) continue;
    const { name, shape, transposed } = spec.stored;
    const group = groups.get(name);
    if (group === undefined) groups.set(name, { shape, transposed: transposed === true, parts: [spec] });
    else group.parts.push(spec);
  }
  return [...groups].map(([name, group]) => ({ name, ...group }));
}

/** True where the stored tensor is exactly one logical weight as it is. */
export const isStraight = ({ parts, transposed }: StoredGroup): boolean =>
  !transposed && parts.length === 1 && parts[0]!.stored.rows === undefined;

export const tensorPlans = (groups: readonly StoredGroup[], dtype: (group: StoredGroup) => StoredDType): TensorPlan[] =>
  groups.map((group) => ({ name: group.name, dtype: dtype(group), shape: group.shape }));

/**
 * Puts logical weights together to the numbers of a stored tensor: fused rows, transposed where the family stores it so.
 *
 * @param read Gives a logical weight's numbers, row-major.
 */
export function assembleStored(group: StoredGroup, read: (spec: WeightSpec) => Float32Array): Float32Array {
  if (isStraight(group)) return read(group.parts[0]!);
  const elements = group.shape.reduce((product, size) => product * size, 1);
  const out = new Float32Array(elements);
  const columns = group.parts[0]!.axes[1]?.size ?? 1;
  const rows = elements / columns;
  for (const spec of group.parts) {
    const values = read(spec);
    let position = 0;
    for (const [start, length] of spec.stored.rows ?? [[0, spec.axes[0]!.size]]) {
      out.set(values.subarray(position * columns, (position + length) * columns), start * columns);
      position += length;
    }
  }
  if (!group.transposed) return out;
  const transposed = new Float32Array(elements);
  for (let o = 0; o < rows; o++) for (let i = 0; i < columns; i++) transposed[i * rows + o] = out[o * columns + i]!;
  return transposed;
}
