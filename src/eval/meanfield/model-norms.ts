import type { AxisRole, WeightRole } from '../../architecture/index.js';
import type { Checkpoint } from '../../interop/index.js';
import { columnNorms, rowNorms, shuffled } from './norms.js';

/** The norms of a weight along one of its axes, as they are and with the matrix's entries shuffled. */
export interface AxisNorms {
  readonly role: WeightRole;
  readonly layer: number | undefined;
  /** What the axis counts. */
  readonly axis: AxisRole;
  /** Rows write (outputs), columns read (inputs). */
  readonly side: 'row' | 'column';
  readonly norms: Float64Array;
  readonly control: Float64Array;
}

/** Axes whose units are one population in the mean-field picture; words and places are not. */
const populations: ReadonlySet<AxisRole> = new Set(['hidden', 'ffn', 'heads', 'kvHeads']);

/** Norms of all rows and columns of a model's matrices, one matrix in memory at a time. */
export function modelNorms(checkpoint: Checkpoint, seed: number, onProgress?: (done: number) => void): AxisNorms[] {
  const found: AxisNorms[] = [];
  checkpoint.weights.forEach(({ name, role, layer, axes, tiedTo, kind }, index) => {
    const [rows, columns] = axes;
    if (rows !== undefined && columns !== undefined && tiedTo === undefined && kind === 'weight') {
      const matrix = checkpoint.read(name);
      const mixed = shuffled(matrix, seed, name);
      const add = (side: AxisNorms['side'], norms: typeof rowNorms): void => {
        const axis = (side === 'row' ? rows : columns).role;
        if (!populations.has(axis)) return;
        const of = (values: Float32Array): Float64Array => norms(values, rows.size, columns.size);
        found.push({ role, layer, axis, side, norms: of(matrix), control: of(mixed) });
      };
      add('row', rowNorms);
      add('column', columnNorms);
      checkpoint.release();
    }
    onProgress?.(index + 1);
  });
  return found;
}
