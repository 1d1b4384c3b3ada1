import { describe, expect, it } from 'vitest';
import { programFlops } from '../program/index.js';
import { parseConfig, type RunConfigInput } from './config/index.js';
import { stepShape } from './micro-batch.js';
import { planRun } from './plan.js';
import type { TrainStage } from './run-plan.js';
import { TrainingSession } from './session.js';
import { recordGradient, stepLayout } from './step-programs.js';

// Sizes: D hidden, F ffn, V vocabulary, T length, R rows of a micro-batch.
const [D, F, V, T, SEQUENCES] = [64, 160, 320, 64, 4];
const R = T * SEQUENCES;
const LAYER_MATRICES = 4 * D * D + 3 * D * F;
const LAYER = LAYER_MATRICES + 2 * D;
const HEAD = V * D;

const model = { hidden_size: D, num_hidden_layers: 4, num_attention_heads: 4, intermediate_size: F, vocab_size: V };
const optimizer = { lr: 1e-3 };
const base = { name: 'base', kind: 'train', until: { steps: 2 }, optimizer } as const;

/** The last train stage of a run of 4 layers that grows and then trains a part. */
function lastStage(grow: object, trainable: unknown, more: Partial<RunConfigInput> = {}) {
  const config = {
    name: 'run',
    model,
    data: { train: 'shards', sequenceLength: T, batchTokens: 512 },
    stages: [base, { name: 'grow', kind: 'grow', ...grow }, { ...base, name: 'target', trainable }],
    ...more,
  } as RunConfigInput;
  const plan = planRun(parseConfig(config));
  const stage = plan.stages.at(-1) as TrainStage;
  const shape = stepShape(plan, stage, SEQUENCES);
  const forecast = TrainingSession.forecast(shape);
  const counted = programFlops(recordGradient(shape, stepLayout(shape), false));
  return { stage, forecast, counted };
}

/** FLOPs of a micro-batch: 2 per matrix entry forward, 2 where a gradient passes, 2 where it is trained; attention 4 and 8 h T. */
const flops = (layers: number, layersPassed: number, layersTrained: number, head: 'trained' | 'passed'): number =>
  R *
  (LAYER_MATRICES * (2 * layers + 2 * layersPassed + 2 * layersTrained) +
    HEAD * (head === 'trained' ? 6 : 4) +
    D * T * (4 * layers + 8 * layersPassed));

describe('what a stage trains', () => {
  it('block expansion: only the inserted layers have gradients and moments, and the walk stops at the lowest', () => {
    const { stage, forecast, counted } = lastStage(
      { operator: 'block-expansion', options: { groups: 2 }, model: { num_hidden_layers: 6 } },
      'added',
    );
    // 0 1 1z 2 3 3z: layers 2 and 5 are new.
    expect(new Set(stage.specs.filter(stage.isTrained).map(({ layer }) => layer))).toEqual(new Set([2, 5]));
    expect(forecast.gradientBytes).toBe(4 * 2 * LAYER);
    expect(forecast.momentBytes).toBe(2 * 4 * 2 * LAYER);
    expect(forecast.parameterBytes).toBe(4 * (6 * LAYER + 2 * HEAD + D));
    // Forward through 6 layers; back through 2 .. 5, whose lowest norm is trained; layers 2 and 5 are trained themselves.
    expect(counted).toBe(flops(6, 4, 2, 'passed'));
    expect(BigInt(counted)).toBe(stage.perToken.flops * BigInt(R));
  });

  it('layerwise training: new top layers, final norm and head; about 2 N + 4 N_top per token', () => {
    const { stage, forecast, counted } = lastStage(
      { operator: 'gradual-top', model: { num_hidden_layers: 6 } },
      { lastLayers: 2 },
    );
    expect(forecast.gradientBytes).toBe(4 * (2 * LAYER + HEAD + D));
    expect(forecast.momentBytes).toBe(2 * forecast.gradientBytes);
    expect(counted).toBe(flops(6, 2, 2, 'trained'));
    expect(BigInt(counted)).toBe(stage.perToken.flops * BigInt(R));
  });

  it('a part of less takes less memory at the peak', () => {
    const all = lastStage({ operator: 'stack', factor: 2 }, 'all').forecast;
    const added = lastStage({ operator: 'stack', factor: 2 }, 'added').forecast;
    expect(added.activationBytes).toBeLessThan(all.activationBytes);
    expect(added.peakBytes).toBeLessThan(all.peakBytes);
  });

  it('says why nothing is added where a growth only widens', () => {
    expect(() => lastStage({ operator: 'fpi', factor: 2 }, 'added')).toThrow(
      /"stages.2.trainable": the growth before it added no layers; "added" trains layers that are new/,
    );
  });
});
