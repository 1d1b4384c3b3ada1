import { describe, expect, test } from 'vitest';
import { familyOf, parseModelConfig, preset } from '../architecture/index.js';
import type { Program } from '../program/index.js';
import { recordEvaluation, recordGradient, recordUpdate, stepLayout, type StepShape } from './step-programs.js';

const optimizer = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1 };

function shapeOf(fields: Record<string, unknown>, rest: Partial<StepShape> = {}): StepShape {
  const config = parseModelConfig(fields, 'test');
  const family = familyOf(config);
  return {
    config,
    family,
    sequenceLength: 64,
    microBatchSequences: 2,
    trainable: () => true,
    optimizer,
    recompute: false,
    ...rest,
  };
}

const small = {
  vocab_size: 96,
  hidden_size: 32,
  num_hidden_layers: 8,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  intermediate_size: 80,
};

/** Bytes of the temporaries that are alive at the operation where most are, counted without the planner. */
function livePeak(program: Program): number {
  const lastUse = new Map<number, number>();
  const firstUse = new Map<number, number>();
  const bytes = new Map<number, number>();
  program.operations.forEach(({ inputs, outputs, onto }, time) => {
    for (const operand of [...inputs, ...outputs, ...onto]) {
      if (operand?.root.kind !== 'temporary') continue;
      const { id } = operand.root;
      bytes.set(id, operand.root.bytes);
      lastUse.set(id, time);
      if (!firstUse.has(id)) firstUse.set(id, time);
    }
  });
  return Math.max(
    ...program.operations.map((_, time) =>
      [...bytes].reduce(
        (sum, [id, size]) =>
          sum + ((firstUse.get(id) as number) <= time && time <= (lastUse.get(id) as number) ? size : 0),
        0,
      ),
    ),
  );
}

describe('the programs of a step', () => {
  test('FLOPs equal 6 P_mat + 12 L h T per token', () => {
    const shape = shapeOf(small);
    const program = recordGradient(shape, stepLayout(shape), false);
    const rows = 2 * 64;
    const perLayer = 32 * (4 + 2 + 2) * 8 + 32 * 32 + 3 * 32 * 80;
    const perToken = 6 * (8 * perLayer + 96 * 32) + 12 * 8 * 32 * 64;
    const counted = program.operations.reduce(
      (sum, { rule, inputs, attributes }) =>
        sum +
        (rule.flops?.(
          inputs.map((o) => o.type),
          attributes,
        ) ?? 0),
      0,
    );
    expect(counted).toBe(rows * perToken);
  });

  test('no two temporaries that live at the same time share memory', () => {
    for (const recompute of [false, true]) {
      const shape = shapeOf(small, { recompute });
      const program = recordGradient(shape, stepLayout(shape), true);
      const intervals = new Map<number, { start: number; end: number; from: number; to: number }>();
      program.operations.forEach(({ inputs, outputs, onto }, time) => {
        for (const operand of [...inputs, ...onto, ...outputs]) {
          if (operand?.root.kind !== 'temporary') continue;
          const from = program.placement.get(operand.root.id) as number;
          const known = intervals.get(operand.root.id) ?? {
            start: time,
            end: time,
            from,
            to: from + operand.root.bytes,
          };
          intervals.set(operand.root.id, { ...known, end: time });
        }
      });
      const all = [...intervals.values()];
      for (const a of all) {
        expect(a.to).toBeLessThanOrEqual(program.peakBytes);
        for (const b of all) {
          if (a === b || a.start > b.start) continue;
          const overlapInTime = b.start < a.end || (b.start === a.end && b.start === a.start);
          if (overlapInTime && a.from < b.to && b.from < a.to)
            throw new Error(`${JSON.stringify(a)} and ${JSON.stringify(b)} overlap`);
        }
      }
    }
  });

  test('placing by liveness comes within a tenth of what lives at the peak', () => {
    const shape = shapeOf(small);
    const program = recordGradient(shape, stepLayout(shape), false);
    expect(program.peakBytes).toBeLessThanOrEqual(livePeak(program) * 1.1);
  });

  test('recomputing layers makes activation memory grow much slower with depth', () => {
    const peak = (layers: number, recompute: boolean): number => {
      const shape = shapeOf({ ...small, num_hidden_layers: layers }, { recompute });
      return recordGradient(shape, stepLayout(shape), false).peakBytes;
    };
    const perLayerKept = (peak(16, false) - peak(8, false)) / 8;
    const perLayerRecomputed = (peak(16, true) - peak(8, true)) / 8;
    // With recomputation a layer keeps its input, 2 x 64 rows of 32 floats, and nothing else.
    expect(perLayerRecomputed).toBe(2 * 64 * 32 * 4);
    expect(perLayerKept).toBeGreaterThan(10 * perLayerRecomputed);
  });

  test('with recomputation activation memory grows no faster than the square root of depth', () => {
    const peak = (layers: number): number => {
      const shape = shapeOf({ ...small, num_hidden_layers: layers }, { recompute: true });
      return recordGradient(shape, stepLayout(shape), false).peakBytes;
    };
    const peaks = [8, 16, 32, 64, 128, 256].map(peak);
    // Groups hold whole layers, so single doublings differ a little from the square root of 2; four times the depth is held to twice the memory.
    for (let i = 2; i < peaks.length; i++) expect(peaks[i]! / peaks[i - 2]!).toBeLessThanOrEqual(2);
    // Groups are chosen well: neither one layer at a time nor everything at once would take as little.
    expect(peaks.at(-1)!).toBeLessThan(0.6 * 256 * 2 * 64 * 32 * 4);
  });

  test('a large vocabulary does not bring a whole matrix of logits into memory', () => {
    const vocab_size = 50_000;
    const shape = shapeOf({ ...small, vocab_size }, { sequenceLength: 512, microBatchSequences: 4 });
    const logits = 4 * 512 * vocab_size * 4;
    for (const program of [recordGradient(shape, stepLayout(shape), false), recordEvaluation(shape, stepLayout(shape))])
      expect(program.peakBytes).toBeLessThan(logits / 4);
  });

  test('freezing the lower half drops its gradients, moments and half of the backward', () => {
    const all = shapeOf(small);
    const half = shapeOf(small, { trainable: (spec) => spec.layer !== undefined && spec.layer >= 4 });
    const [wholeLayout, halfLayout] = [stepLayout(all), stepLayout(half)];
    const layerSize = 32 * 64 + 32 * 32 + 3 * 32 * 80 + 2 * 32;
    expect(wholeLayout.trainedSize).toBe(8 * layerSize + 2 * 96 * 32 + 32);
    expect(halfLayout.trainedSize).toBe(4 * layerSize);
    const [whole, frozen] = [recordGradient(all, wholeLayout, false), recordGradient(half, halfLayout, false)];
    const backwards = (program: Program) =>
      program.operations.filter(({ rule }) => rule.name === 'attentionBackward').length;
    expect([backwards(whole), backwards(frozen)]).toEqual([8, 4]);
    expect(frozen.peakBytes).toBeLessThan(whole.peakBytes);
    expect(recordUpdate(half, halfLayout).operations).toHaveLength(2);
  });

  test('an evaluation keeps no activations', () => {
    const peaks = [8, 16].map((layers) => {
      const shape = shapeOf({ ...small, num_hidden_layers: layers });
      return recordEvaluation(shape, stepLayout(shape)).peakBytes;
    });
    expect(peaks[1]).toBe(peaks[0]);
  });

  test('a 7B step is forecast without libtorch', () => {
    const config = preset('gstack-7b');
    const shape: StepShape = {
      config,
      family: familyOf(config),
      sequenceLength: 2048,
      microBatchSequences: 1,
      trainable: () => true,
      optimizer,
      recompute: true,
    };
    const layout = stepLayout(shape);
    expect(layout.size).toBeGreaterThan(5.9e9);
    const program = recordGradient(shape, layout, false);
    expect(program.peakBytes).toBeGreaterThan(32 * 2048 * 4096 * 4);
    expect(program.peakBytes).toBeLessThan(4e9);
  });
});
