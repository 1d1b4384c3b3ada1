import type { WeightSpec } from '../../architecture/index.js';
import type { WeightFiles } from './weights.js';

type Floats = Float32Array | Float64Array;

/** Reads logical weights out of stored tensors: straight, transposed, or as runs of rows of a fused tensor. */
export class LogicalReader {
  readonly #files: WeightFiles;
  #transposed: { name: string; values: Floats } | undefined;

  constructor(files: WeightFiles) {
    this.#files = files;
  }

  readRows(spec: WeightSpec, start: number, out: Floats): void {
    const { name, shape, transposed, rows } = spec.stored;
    const columns = spec.axes[1]?.size ?? 1;
    if (rows === undefined && transposed !== true) {
      const { file, entry } = this.#files.tensors.get(name)!;
      file.readFloats(entry, out, start * columns);
      return;
    }
    const count = out.length / columns;
    for (const run of overlappingRuns(rows ?? [[0, spec.axes[0]!.size]], start, count)) {
      const part = out.subarray(run.target * columns, (run.target + run.length) * columns);
      if (transposed === true) {
        const all = this.#untransposed(name, shape, out);
        part.set(all.subarray(run.source * columns, (run.source + run.length) * columns));
      } else {
        const { file, entry } = this.#files.tensors.get(name)!;
        file.readFloats(entry, part, run.source * columns);
      }
    }
  }

  release(): void {
    this.#transposed = undefined;
  }

  #untransposed(name: string, shape: readonly number[], like: Floats): Floats {
    if (this.#transposed?.name === name && this.#transposed.values.constructor === like.constructor)
      return this.#transposed.values;
    const [inner, outer] = shape as [number, number];
    const stored = new (like.constructor as Float32ArrayConstructor | Float64ArrayConstructor)(inner * outer);
    const { file, entry } = this.#files.tensors.get(name)!;
    file.readFloats(entry, stored);
    const values = new (like.constructor as Float32ArrayConstructor | Float64ArrayConstructor)(inner * outer);
    for (let i = 0; i < inner; i++) for (let o = 0; o < outer; o++) values[o * inner + i] = stored[i * outer + o]!;
    this.#transposed = { name, values };
    return values;
  }
}

/** Parts of the runs that hold logical rows start to start + count. */
function* overlappingRuns(
  runs: readonly (readonly [start: number, length: number])[],
  start: number,
  count: number,
): Generator<{ source: number; target: number; length: number }> {
  let position = 0;
  for (const [source, length] of runs) {
    const from = Math.max(start, position);
    const to = Math.min(start + count, position + length);
    if (from < to) yield { source: source + from - position, target: from - start, length: to - from };
    position += length;
  }
}
