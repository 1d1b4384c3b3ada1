import { readFileSync } from 'node:fs';
import { describe, expect, it, vi } from 'vitest';
import { stepShape } from '../../test/support/step.js';
import { Scope, type Tensor } from '../engine/buffers.js';
import { EagerContext } from '../engine/eager.js';
import { loadLibtorch } from '../engine/libtorch/load.js';
import { muon } from '../ops/index.js';
import { programFlops } from '../program/index.js';
import { muonFlopsPerUpdate } from './muon-flops.js';
import { TrainingSession } from './session.js';
import { recordUpdate, stepLayout, stepSlots } from './step-programs.js';
import { valuesOf } from '../../test/golden/ops.js';

loadLibtorch({ threads: 1 });

/** Relative to the largest value. f64 keeps the script's own precision; torch.optim.Muon rounds its iteration to bfloat16. */
const TOLERANCE = { f64: 1e-11, f32: 1e-5, bfloat16: 2e-3 };

interface MuonRun {
  readonly shape: [number, number];
  readonly seed: number;
  readonly steps: number;
  readonly momentum: number;
  readonly rate: number;
  readonly decay: number;
  readonly scale: 'moonshot' | 'keller';
  readonly parameters: number[];
  readonly momentumBuffer: number[];
  readonly torchOptimMuon: number[];
}

const runs = JSON.parse(readFileSync(new URL('../../test/golden/muon.json', import.meta.url), 'utf8')) as MuonRun[];

const errorOf = (found: ArrayLike<number>, expected: readonly number[]): number =>
  Math.max(...expected.map((wanted, i) => Math.abs(found[i]! - wanted))) / Math.max(...expected.map(Math.abs));

describe('Muon', () => {
  for (const dtype of ['f64', 'f32'] as const)
    it.each(runs.map((run) => [run.shape, run] as const))(`equals the script's steps, %j in ${dtype}`, (_, run) => {
      if (dtype === 'f64') vi.stubEnv('STRATA_KERNELS', 'off');
      using scope = new Scope();
      const context = new EagerContext(scope);
      const array = (values: readonly number[]) =>
        dtype === 'f64' ? Float64Array.from(values) : Float32Array.from(values);
      const drawn = (seed: number): Tensor =>
        scope.from({ dtype, shape: run.shape }, array(valuesOf({ dtype: 'float', shape: run.shape, seed })));
      const p = drawn(run.seed);
      const m = scope.from({ dtype, shape: run.shape }, array(run.parameters.map(() => 0)));
      const scalars = scope.from({ dtype: 'f64', shape: [2] }, Float64Array.of(run.rate, 1));
      const [rows, columns] = run.shape;
      const scale =
        run.scale === 'moonshot' ? 0.2 * Math.sqrt(Math.max(rows, columns)) : Math.sqrt(Math.max(1, rows / columns));
      for (let step = 0; step < run.steps; step++)
        muon(context, { p, g: drawn(run.seed + 1 + step), m }, scalars, {
          momentum: run.momentum,
          scale,
          weightDecay: run.decay,
        });
      vi.unstubAllEnvs();
      expect(errorOf(p.data() as Float64Array, run.parameters)).toBeLessThan(TOLERANCE[dtype]);
      expect(errorOf(m.data() as Float64Array, run.momentumBuffer)).toBeLessThan(TOLERANCE[dtype]);
      expect(errorOf(p.data() as Float64Array, run.torchOptimMuon)).toBeLessThan(TOLERANCE.bfloat16);
    });

  const optimizer = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1 };
  const shape = stepShape({}, { optimizer: { ...optimizer, muon: { momentum: 0.95, scale: 'moonshot' } } });

  it('books the FLOPs that its program has', () => {
    const update = recordUpdate(shape, stepLayout(shape));
    expect(BigInt(programFlops(update))).toBe(muonFlopsPerUpdate(shape.family.weights(shape.config), shape.trainable));
    // By hand: q and o 32 x 32, k and v 16 x 32, gate, up and down 88 x 32; five steps of 4 s^2 l + 2 s^3 each; four layers.
    const cost = (s: number, l: number): number => 5 * (4 * s * s * l + 2 * s ** 3);
    expect(programFlops(update)).toBe(4 * (2 * cost(32, 32) + 2 * cost(16, 32) + 3 * cost(32, 88)));
  });

  it('keeps one moment for matrices of layers, two for the rest, in memory and in the forecast', () => {
    const layout = stepLayout(shape);
    const slots = stepSlots(shape, layout);
    const matrices = 4 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 88 * 32);
    const rest = 2 * 67 * 32 + 9 * 32;
    expect(slots.secondMoments.shape[0]).toBeGreaterThanOrEqual(rest);
    expect(slots.secondMoments.shape[0]).toBeLessThan(rest + 32);
    expect(slots.moments.shape[0]! - slots.secondMoments.shape[0]!).toBe(matrices);
    using session = new TrainingSession(shape);
    expect(session.moments('model.layers.0.mlp.up_proj.weight')!.second).toBeUndefined();
    expect(session.moments('model.layers.0.input_layernorm.weight')!.second).toBeDefined();
    expect(session.moments('model.embed_tokens.weight')!.second).toBeDefined();
    const all = stepShape();
    expect(TrainingSession.forecast(shape).momentBytes).toBe(TrainingSession.forecast(all).momentBytes - 4 * matrices);
  });
});
