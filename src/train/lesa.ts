import { setImmediate } from 'node:timers/promises';
import { familyOf, type ModelConfig, RandomStream, type WeightRole, type WeightSpec } from '../architecture/index.js';
import { Memory, type Tensor } from '../engine/buffers.js';
import { bindProgram, type Replay } from '../engine/replay.js';
import type { Plan } from '../growth/index.js';
import {
  activation,
  activationBackwardRule,
  adamw,
  at,
  columnSumRule,
  type Context,
  linear,
  matmulRule,
  tensorBytes,
  type TensorType,
  type Value,
} from '../ops/index.js';
import { compileProgram, type Program, programFlops, Recorder } from '../program/index.js';
import { commonBasis, rebuild } from './common-basis.js';
import type { Learning } from './learned-folder.js';
import type { Learned } from './ligo.js';
import type { Floats } from './weights.js';

/** How the predictors are trained. */
export interface LesaOptions {
  readonly epochs: number;
  readonly normWeight: number;
  readonly hidden: number;
  readonly learningRate: number;
  readonly batch: number;
  /** Gap i lies between layers i and i + 1. */
  readonly gaps: readonly number[];
}

/**
 * Loss of a batch of predictions: (1 - a) * mean squared error + a * (|prediction| - |target|)^2, norms over the batch; and its gradient.
 *
 * The norm term keeps predictions from shrinking to zero.
 */
export function predictionLoss(
  prediction: ArrayLike<number>,
  target: ArrayLike<number>,
  normWeight: number,
  gradient?: Float32Array,
): number {
  let [errors, own, wanted] = [0, 0, 0];
  const count = target.length;
  for (let i = 0; i < count; i++) {
    errors += (prediction[i]! - target[i]!) ** 2;
    own += prediction[i]! ** 2;
    wanted += target[i]! ** 2;
  }
  const apart = Math.sqrt(own) - Math.sqrt(wanted);
  const pull = own === 0 ? 0 : (2 * normWeight * apart) / Math.sqrt(own);
  if (gradient !== undefined)
    for (let i = 0; i < count; i++)
      gradient[i] = ((1 - normWeight) * 2 * (prediction[i]! - target[i]!)) / count + pull * prediction[i]!;
  return ((1 - normWeight) * errors) / count + normWeight * apart ** 2;
}

/** What was made of one kind of matrix. */
interface PredictedRole {
  /** New matrices by gap. */
  readonly tensors: Readonly<Record<string, Float32Array>>;
  /** Mean loss of each epoch. */
  readonly losses: readonly number[];
  readonly flops: bigint;
}

/**
 * Trains a predictor per kind of matrix and predicts the layer of every gap. Needs the engine to be loaded.
 *
 * Kinds are learned one after the other; what is kept goes by whole kinds.
 */
export async function learnLayers(
  plan: Plan,
  options: LesaOptions,
  seed: number,
  source: (name: string) => Floats,
  { kept, signal, onProgress }: Learning = {},
): Promise<Learned> {
  const byRole = matricesByRole(plan.source);
  const total = byRole.size * options.epochs;
  const roles = new Map<WeightRole, PredictedRole>();
  for (const [role, layers] of byRole) {
    const part = kept?.load(role);
    if (part !== undefined) {
      const { losses, flops } = part.state as { losses: number[]; flops: string };
      roles.set(role, { tensors: Object.fromEntries(part.tensors), losses, flops: BigInt(flops) });
      continue;
    }
    const before = roles.size * options.epochs;
    const predicted = await predictRole(layers, options, new RandomStream(seed, `lesa ${role}`), source, {
      signal,
      onProgress: (epoch, _, loss) => onProgress?.(before + epoch, total, loss),
    });
    kept?.save(role, predicted.tensors, { losses: predicted.losses, flops: String(predicted.flops) });
    roles.set(role, predicted);
  }
  return {
    tensor: (name) => {
      const [, role, gap] = name.split('.');
      return roles.get(role as WeightRole)!.tensors[gap!]!;
    },
    losses: [...roles.values()].flatMap(({ losses }) => losses),
    moved: {},
    lossShare: Object.fromEntries([...roles].map(([role, { losses }]) => [role, losses.at(-1)! / losses[0]!])),
    flops: [...roles.values()].reduce((sum, { flops }) => sum + flops, 0n),
  };
}

function matricesByRole(source: ModelConfig): Map<WeightRole, WeightSpec[]> {
  const byRole = new Map<WeightRole, WeightSpec[]>();
  for (const spec of familyOf(source).weights(source))
    if (spec.layer !== undefined && spec.axes.length === 2)
      byRole.set(spec.role, [...(byRole.get(spec.role) ?? []), spec]);
  return byRole;
}

/** Learns one kind of matrix from all layers. */
async function predictRole(
  layers: readonly WeightSpec[],
  options: LesaOptions,
  stream: RandomStream,
  source: (name: string) => Floats,
  learning: Learning,
): Promise<PredictedRole> {
  const [rows, columns] = layers[0]!.axes.map(({ size }) => size) as [number, number];
  const matrices = layers.map(({ name }) => source(name));
  const space = commonBasis(matrices, rows, columns);
  using predictor = new Predictor(columns, options, stream);
  const losses = await predictor.train(space.factors, space.rank, learning);
  const tensors = options.gaps.map((gap) => {
    const [below, above] = [space.factors[gap]!, space.factors[gap + 1]!];
    return [String(gap), rebuild(space, predictor.predict(below, above, space.rank))] as const;
  });
  // The Gram matrix, the factors, and what is rebuilt.
  const products = 2 * rows * columns * (layers.length * (rows + space.rank) + options.gaps.length * space.rank);
  return { tensors: Object.fromEntries(tensors), losses, flops: predictor.flops + BigInt(products) };
}

/** FLOPs of `learnLayers`, where no singular value is dropped. */
export function layersCost(source: ModelConfig, { epochs, hidden, gaps }: LesaOptions): bigint {
  const count = source.num_hidden_layers;
  const specs = familyOf(source)
    .weights(source)
    .filter((spec) => spec.layer === 0 && spec.axes.length === 2);
  return specs.reduce((sum, spec) => {
    const [rows, columns] = spec.axes.map(({ size }) => size) as [number, number];
    const rank = Math.min(rows, columns * count);
    const forward = 2 * (2 * columns * hidden + hidden * hidden + hidden * columns);
    // A training step runs forward, forward again but for the last product (activations are not kept between programs), and back, without the
    // inputs' gradient.
    const step = 4 * forward - 2 * hidden * columns - 2 * 2 * columns * hidden;
    const samples = (count - 2) * rank;
    const products = 2 * rows * columns * (count * (rows + rank) + gaps.length * rank);
    return sum + BigInt(samples * epochs * step + gaps.length * rank * forward + products);
  }, 0n);
}

const LAYERS = ['in', 'middle', 'out'] as const;

/** Linear 2n -> hidden, ReLU, hidden -> hidden, ReLU, hidden -> n, trained by AdamW with PyTorch's defaults. */
class Predictor {
  flops = 0n;
  readonly #width: number;
  readonly #options: LesaOptions;
  readonly #stream: RandomStream;
  readonly #sizes: readonly (readonly [number, number])[];
  readonly #memories: Memory[] = [];
  readonly #arenas: Record<'p' | 'g' | 'm' | 'v', Tensor>;
  readonly #scalars: Tensor;
  readonly #size: number;
  readonly #replays: Replay[] = [];
  #steps = 0;

  constructor(width: number, options: LesaOptions, stream: RandomStream) {
    const { hidden } = options;
    this.#width = width;
    this.#options = options;
    this.#stream = stream;
    this.#sizes = [
      [hidden, 2 * width],
      [hidden, hidden],
      [width, hidden],
    ];
    this.#size = this.#sizes.reduce((sum, [out, into]) => sum + out * into + out, 0);
    const type: TensorType = { dtype: 'f32', shape: [this.#size] };
    this.#arenas = { p: this.#new(type), g: this.#new(type), m: this.#new(type), v: this.#new(type) };
    this.#scalars = this.#new({ dtype: 'f64', shape: [4] });
    let offset = 0;
    const parameters = this.#arenas.p.data() as Float32Array;
    for (const [out, into] of this.#sizes) {
      // PyTorch's default for linear layers: uniform within 1 / sqrt(inputs), biases alike.
      const bound = 1 / Math.sqrt(into);
      const part = parameters.subarray(offset, offset + out * into + out);
      stream.fillUniform(part, -bound, bound, offset);
      offset += part.length;
    }
  }

  /** Mean loss of each epoch. Samples are single rows of neighbouring triples. */
  async train(factors: readonly Float32Array[], rank: number, { signal, onProgress }: Learning): Promise<number[]> {
    const samples = (factors.length - 2) * rank;
    const batch = Math.min(this.#options.batch, samples);
    const full = this.#program(batch);
    const rest = samples % batch === 0 ? undefined : this.#program(samples % batch);
    const losses: number[] = [];
    for (let epoch = 0; epoch < this.#options.epochs; epoch++) {
      const order = shuffled(samples, this.#stream, this.#size + epoch * samples);
      let loss = 0;
      for (let start = 0; start < samples; start += batch) {
        const program = start + batch <= samples ? full : rest!;
        loss += program.step(order.subarray(start, start + program.rows), factors, rank) * program.rows;
      }
      losses.push(loss / samples);
      onProgress?.(epoch + 1, this.#options.epochs, loss / samples);
      // Lets signals be seen: everything else is synchronous.
      await setImmediate();
      signal?.throwIfAborted();
    }
    return losses;
  }

  /** The factor of a layer between two others. */
  predict(below: Float32Array, above: Float32Array, rank: number): Float32Array {
    const program = this.#program(rank);
    const inputs = program.inputs.data() as Float32Array;
    const n = this.#width;
    for (let row = 0; row < rank; row++) {
      inputs.set(below.subarray(row * n, (row + 1) * n), row * 2 * n);
      inputs.set(above.subarray(row * n, (row + 1) * n), row * 2 * n + n);
    }
    program.forward.run();
    this.flops += BigInt(program.forwardFlops);
    return Float32Array.from(program.forward.output('prediction').data() as Float32Array);
  }

  [Symbol.dispose](): void {
    for (const replay of this.#replays) replay.free();
    for (const memory of this.#memories) memory.free();
  }

  #new(type: TensorType): Tensor {
    const memory = new Memory(tensorBytes(type));
    memory.zero();
    this.#memories.push(memory);
    return memory.tensor(type);
  }

  #program(rows: number) {
    const n = this.#width;
    const inputs = this.#new({ dtype: 'f32', shape: [rows, 2 * n] });
    const gradient = this.#new({ dtype: 'f32', shape: [rows, n] });
    const target = new Float32Array(rows * n);
    const bind = (program: Program): Replay => {
      const slots = { ...this.#arenas, scalars: this.#scalars, inputs, gradient };
      const replay = bindProgram(program, slots);
      this.#replays.push(replay);
      return replay;
    };
    const forwardProgram = this.#record(rows, false);
    const backwardProgram = this.#record(rows, true);
    const [forward, backward] = [bind(forwardProgram), bind(backwardProgram)];
    const forwardFlops = programFlops(forwardProgram);
    const step = (order: Int32Array, factors: readonly Float32Array[], rank: number): number => {
      const into = inputs.data() as Float32Array;
      order.forEach((sample, row) => {
        const [layer, of] = [Math.floor(sample / rank) + 1, (sample % rank) * n];
        into.set(factors[layer - 1]!.subarray(of, of + n), row * 2 * n);
        into.set(factors[layer + 1]!.subarray(of, of + n), row * 2 * n + n);
        target.set(factors[layer]!.subarray(of, of + n), row * n);
      });
      forward.run();
      const prediction = forward.output('prediction').data() as Float32Array;
      const loss = predictionLoss(prediction, target, this.#options.normWeight, gradient.data() as Float32Array);
      this.#steps++;
      const corrections = [1 - 0.9 ** this.#steps, 1 - 0.999 ** this.#steps];
      (this.#scalars.data() as Float64Array).set([this.#options.learningRate, 1, ...corrections]);
      backward.run();
      this.flops += BigInt(forwardFlops + programFlops(backwardProgram));
      return loss;
    };
    return { rows, inputs, forward, forwardFlops, step };
  }

  /** The prediction; or, from its gradient on, everything behind: forward again, backward, and the update. */
  #record(rows: number, isUpdate: boolean): Program {
    const recorder = new Recorder();
    const arena = (name: 'p' | 'g' | 'm' | 'v'): Value => recorder.slot(name, this.#arenas[name].type);
    const p = arena('p');
    const inputs = recorder.slot('inputs', { dtype: 'f32', shape: [rows, 2 * this.#width] });
    const places = this.#places();
    const before: Value[] = [];
    const entered: Value[] = [inputs];
    for (const [i] of LAYERS.entries()) {
      const { weight, bias, size } = places[i]!;
      const y = linear(recorder, entered[i]!, recorder.view(p, weight, size), {
        bias: recorder.view(p, bias, [size[0]!]),
      });
      before.push(y);
      entered.push(i < LAYERS.length - 1 ? activation(recorder, y, 'relu') : y);
    }
    if (!isUpdate) return compileProgram(recorder.finish({ prediction: entered.at(-1)! }));
    const g = arena('g');
    let dy: Value = recorder.slot('gradient', { dtype: 'f32', shape: [rows, this.#width] });
    for (let i = LAYERS.length - 1; i >= 0; i--) {
      const { weight, bias, size } = places[i]!;
      product(recorder, dy, entered[i]!, true, recorder.view(g, weight, size));
      recorder.apply(columnSumRule, [dy], {}, [{ into: recorder.view(g, bias, [size[0]!]) }]);
      if (i === 0) break;
      const dx = product(recorder, dy, recorder.view(p, weight, size), false);
      dy = at(recorder.apply(activationBackwardRule, [dx, before[i - 1]!], { kind: 'relu' }), 0);
    }
    const attributes = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01 };
    const scalars = recorder.slot('scalars', this.#scalars.type);
    adamw(recorder, { p, g, m: arena('m'), v: arena('v') }, scalars, attributes);
    return compileProgram(recorder.finish());
  }

  #places(): { weight: number; bias: number; size: readonly number[] }[] {
    let offset = 0;
    return this.#sizes.map((size) => {
      const weight = offset;
      offset += size[0] * size[1] + size[0];
      return { weight, bias: weight + size[0] * size[1], size };
    });
  }
}

const product = (context: Context, a: Value, b: Value, transposeA: boolean, into?: Value): Value =>
  at(context.apply(matmulRule, [a, b], { transposeA, transposeB: false }, [{ into }]), 0);

/** 0 to count - 1 in a drawn order (Fisher and Yates). */
function shuffled(count: number, stream: RandomStream, start: number): Int32Array {
  const order = Int32Array.from({ length: count }, (_, i) => i);
  const draws = new Float64Array(count);
  stream.fillUniform(draws, 0, 1, start);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(draws[i]! * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
