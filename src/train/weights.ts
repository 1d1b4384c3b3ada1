import {
  fillInitial,
  type InitialisationScheme,
  type ModelConfig,
  weightSize,
  type WeightSpec,
} from '../architecture/index.js';
import { type Checkpoint, SafetensorsFile } from '../interop/index.js';

export type Floats = Float32Array | Float64Array;

/** The optimizer's moments of one weight: AdamW has both, Muon (for matrices) only a momentum. */
export interface Moments {
  readonly first: Floats;
  readonly second: Floats | undefined;
}

/** Weights and optimizer state by parameter name: a session's memory, a checkpoint, or what a growth computes. */
export interface Weights {
  parameter(name: string): Floats;
  /** Undefined where there are none: the weight is frozen, or its state is fresh. */
  moments(name: string): Moments | undefined;
}

/** Copies weights and, where both sides have it, optimizer state. Moments that the source has not are left as they are. */
export function copyWeights(specs: readonly WeightSpec[], from: Weights, to: Weights): void {
  for (const { name, tiedTo } of specs) {
    if (tiedTo !== undefined) continue;
    to.parameter(name).set(from.parameter(name));
    const target = to.moments(name);
    const source = target === undefined ? undefined : from.moments(name);
    // Another optimizer begins anew: its momentum would mean something else.
    if (target === undefined || source === undefined || !target.second !== !source.second) continue;
    target.first.set(source.first);
    if (source.second !== undefined) target.second?.set(source.second);
  }
}

/** Weights of a new model, drawn one by one from (seed, name). */
export function drawnWeights(
  config: ModelConfig,
  specs: readonly WeightSpec[],
  seed: number,
  scheme: InitialisationScheme,
): Weights {
  const byName = new Map(specs.map((spec) => [spec.name, spec]));
  return {
    parameter(name) {
      const spec = byName.get(name);
      if (spec === undefined) throw new RangeError(`the model has no weight "${name}"`);
      const values = new Float32Array(weightSize(spec));
      fillInitial(values, spec, config, seed, scheme);
      return values;
    },
    moments: () => undefined,
  };
}

/** Weights of a checkpoint, read one by one; with optimizer state where `optimizerFile` is given. */
export function storedWeights(checkpoint: Checkpoint, optimizerFile?: string): Weights {
  const optimizer = optimizerFile === undefined ? undefined : new SafetensorsFile(optimizerFile);
  const read = (tensor: string): Floats | undefined => {
    const entry = optimizer?.header.tensors.get(tensor);
    if (optimizer === undefined || entry === undefined) return undefined;
    const values = new Float32Array(entry.shape.reduce((product, size) => product * size, 1));
    optimizer.readFloats(entry, values);
    return values;
  };
  return {
    parameter: (name) => checkpoint.read(name),
    moments(name) {
      const momentum = read(`${name}.momentum_buffer`);
      if (momentum !== undefined) return { first: momentum, second: undefined };
      const first = read(`${name}.exp_avg`);
      const second = read(`${name}.exp_avg_sq`);
      return first === undefined || second === undefined ? undefined : { first, second };
    },
  };
}
