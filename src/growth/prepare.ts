import { RandomStream } from '../architecture/index.js';

/** A matrix that an operator learns before the model is made. */
export interface PrepareParameter {
  readonly name: string;
  readonly shape: readonly [rows: number, columns: number];
  readonly initial: PrepareInitial;
  /** Rows from the top that stay as they begin. */
  readonly frozenRows?: number;
}

/** How a learned matrix begins. */
export type PrepareInitial =
  /** The identity on top, normal numbers below. */
  | { readonly kind: 'identity'; readonly std: number }
  /** The identity on top, below rows of uniform numbers that sum to 1. */
  | { readonly kind: 'identityOverUniform' }
  /** Row i is 1 at index[i]; elsewhere uniform in [0, noise), and each row is divided by its sum. */
  | { readonly kind: 'selection'; readonly index: readonly number[]; readonly noise: number };

/**
 * Something that must be trained before the plan's learned tensors exist. Its FLOPs belong to the growth.
 *
 * `ligo`: the parameters are trained on the ordinary loss of the grown model, with the source's weights frozen. `lesa`: per
 * role a small network is trained to predict a layer from its two neighbours; `options` name its sizes.
 */
export interface Prepare {
  readonly kind: 'ligo' | 'lesa';
  readonly parameters: readonly PrepareParameter[];
  /** Optimizer steps; 0 makes the model from the initial parameters. */
  readonly steps: number;
  readonly options: Readonly<Record<string, unknown>>;
}

/** Initial values of a learned matrix, row-major. */
export function initialParameter({ name, shape, initial }: PrepareParameter, seed: number): Float64Array {
  const [rows, columns] = shape;
  const values = new Float64Array(rows * columns);
  const stream = new RandomStream(seed, `${name} initial`);
  if (initial.kind === 'selection') {
    if (initial.noise > 0) stream.fillUniform(values, 0, initial.noise);
    initial.index.forEach((column, row) => {
      values[row * columns + column] = 1;
      if (initial.noise > 0) divideBySum(values.subarray(row * columns, (row + 1) * columns));
    });
    return values;
  }
  const below = values.subarray(Math.min(rows, columns) * columns);
  if (initial.kind === 'identity') stream.fillNormal(below, initial.std);
  else {
    stream.fillUniform(below);
    for (let at = 0; at < below.length; at += columns) divideBySum(below.subarray(at, at + columns));
  }
  for (let i = 0; i < Math.min(rows, columns); i++) values[i * columns + i] = 1;
  return values;
}

function divideBySum(row: Float64Array): void {
  const sum = row.reduce((total, value) => total + value, 0);
  for (let i = 0; i < row.length; i++) row[i] = row[i]! / sum;
}
