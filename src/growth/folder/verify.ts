import { WorkError } from '../../errors.js';
import {
  encodeFloats,
  decodeFloats,
  type FloatDType,
  type Manifest,
  openCheckpoint,
  storedDtypeBytes,
  verifyManifest,
} from '../../interop/index.js';
import { CHUNK_ELEMENTS, compile, type TensorSource } from '../evaluate.js';
import { storedSpecs } from '../execute.js';
import type { Plan } from '../plan.js';

/**
 * Reads a grown folder again: every file against its hash, every weight against the plan.
 *
 * @throws WorkError naming the first file or tensor that differs.
 */
export function verifyGrown(plan: Plan, source: TensorSource, folder: string, manifest: Manifest): void {
  const problem = verifyManifest(folder, manifest);
  if (problem !== undefined) throw new WorkError(problem);
  using grown = openCheckpoint(folder);
  for (const { name } of storedSpecs(plan.target)) {
    const dtype = grown.dtype(name) as FloatDType;
    const like = dtype === 'F64' ? new Float64Array(0) : new Float32Array(0);
    const tensor = compile(plan.tensors[name]!, source, like);
    const step = Math.max(1, Math.floor(CHUNK_ELEMENTS / tensor.columns));
    for (let start = 0; start < tensor.rows; start += step) {
      const length = Math.min(step, tensor.rows - start) * tensor.columns;
      const [expected, found] =
        dtype === 'F64'
          ? [new Float64Array(length), new Float64Array(length)]
          : [new Float32Array(length), new Float32Array(length)];
      tensor.fill(expected, start);
      const bytes = new Uint8Array(length * storedDtypeBytes[dtype]);
      encodeFloats(dtype, expected, bytes);
      decodeFloats(dtype, bytes, expected);
      grown.readRows(name, start, found);
      const differs = expected.findIndex((value, i) => !Object.is(value, found[i]));
      if (differs >= 0)
        throw new WorkError(
          `${folder}: tensor "${name}" is not what the plan says, from element ${start * tensor.columns + differs} on.`,
        );
    }
    grown.release();
  }
}
