import { afterAll, beforeAll, expect, it } from 'vitest';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { familyOf, parseModelConfig } from '../architecture/index.js';
import { openEngine } from './engine.js';
import { forecastTime } from './forecast-time.js';
import type { StepShape } from './step-programs.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-forecast-'));
const before = process.env['XDG_CACHE_HOME'];
beforeAll(() => {
  openEngine(1);
  // Kernels are loaded by then; only the times go into a cache of the test's own.
  process.env['XDG_CACHE_HOME'] = folder;
});
afterAll(() => {
  if (before === undefined) delete process.env['XDG_CACHE_HOME'];
  else process.env['XDG_CACHE_HOME'] = before;
  rmSync(folder, { recursive: true, force: true });
});

const shapeOf = (layers: number, sequences = 2): StepShape => {
  const fields = { vocab_size: 96, hidden_size: 64, num_attention_heads: 4, intermediate_size: 160 };
  const config = parseModelConfig({ ...fields, num_hidden_layers: layers }, 'test');
  return {
    ...{ config, family: familyOf(config), sequenceLength: 32, microBatchSequences: sequences, recompute: false },
    trainable: () => true,
    optimizer: { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1 },
  };
};
const environment = { cpu: 'test', libtorch: 'test', kernels: 'test', threads: 1 };

it('counts calls: every further layer and micro-batch costs the same', () => {
  // One calibration serves all depths, so the forecasts are sums over the same times.
  const ops = (layers: number, microBatches = 1) =>
    forecastTime(shapeOf(layers), microBatches, environment)!.secondsByOp;
  const [two, four, six] = [ops(2), ops(4), ops(6)];
  for (const op of ['attention', 'attentionBackward', 'rotary', 'swiglu', 'swigluBackward'])
    expect(four[op]! / two[op]!).toBeCloseTo(2, 6);
  // Norms of layers and the last one; products of layers, none of the head.
  expect(six['rmsNorm']! - four['rmsNorm']!).toBeCloseTo(four['rmsNorm']! - two['rmsNorm']!, 9);
  expect(two['linearCrossEntropyBackward']).toBe(six['linearCrossEntropyBackward']);
  // AdamW of a longer arena goes at the rate that was measured.
  expect(six['adamw']! - four['adamw']!).toBeCloseTo(four['adamw']! - two['adamw']!, 9);
  expect(ops(2, 3)['attention']! / two['attention']!).toBeCloseTo(3, 6);
  expect(ops(2, 3)['adamw']).toBe(two['adamw']);
});
