import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { countParameters, preset } from '../architecture/index.js';
import { makePlan } from './plan.js';
import { planToYaml } from './run-config.js';
import { shapeFor } from './shapes.js';
import { growthTokens, inFittedRange } from './timing.js';

describe('growth timing', () => {
  // Computed from the printed constants; the paper's own table has 6.58, 11.11, 15.84 and 42.48 billion.
  it.each([
    [8e9, 15e12, 6.5814e9, 6.58],
    [7e9, 2e12, 1.1113e10, 11.11],
    [13e9, 2e12, 1.58437e10, 15.84],
    [70e9, 2e12, 4.24751e10, 42.48],
  ])('has the values of the paper for N = %d, D = %d', (params, tokens, expected, printed) => {
    const d = growthTokens(params, 6 * params * tokens);
    expect(d / expected).toBeCloseTo(1, 4);
    expect(Math.abs(d / 1e9 - printed)).toBeLessThan(0.006);
    expect(makePlan({ params, tokens })).toMatchObject({ growthTokens: d, inFittedRange: false });
  });

  it('knows where it was fitted', () => {
    expect(inFittedRange(1.1e9, 7e20)).toBe(true);
    expect(inFittedRange(7e9, 7e20)).toBe(false);
    expect(inFittedRange(1.1e9, 13e20)).toBe(false);
    expect(makePlan({ params: 1.1e9, tokens: 106e9 }).inFittedRange).toBe(true);
  });
});

describe('makePlan', () => {
  it("takes the paper's 7B and splits the budget between base and target", () => {
    const plan = makePlan({ params: 7e9, tokens: 300e9 });
    expect(plan.target.config).toEqual(preset('gstack-7b'));
    expect(plan.base.config.num_hidden_layers).toBe(8);
    expect(plan.growthFactor).toBe(4);
    const { scratch, base, target } = plan.flops;
    expect(scratch.flopsExact).toBe(String(38_031_851_520n * 300_000_000_000n));
    const spent = BigInt(base.flopsExact) + BigInt(target.flopsExact);
    const left = BigInt(scratch.flopsExact) - spent;
    expect(left >= 0n && left < 38_031_851_520n).toBe(true);
    expect(plan.expectedSpeedup).toMatchObject({ low: 0.408, high: 0.553 });
    expect(plan.expectedSpeedup?.saved[0]).toBeCloseTo(1 - 1 / 1.408, 12);
    expect(plan.warnings.join()).toMatch(/Outside the range/);
  });

  it('counts a base both ways: d / g by the paper, and with all parameters', () => {
    // 10B tokens at 1.1B: 2.5B target tokens in the paper; exactly 10B times the ratio of FLOPs per token.
    const { flops } = makePlan({ params: 1.1e9, tokens: 100e9, growthTokens: 10e9 });
    expect(flops.paperBaseTokens).toBe(2.5e9);
    const base = 6 * (308_307_968 - 13 * 2048 + 65_536_000) + 12 * 6 * 2048 * 2048;
    expect(flops.exactBaseTokens).toBeCloseTo((10e9 * base) / 8_999_927_808, -2);
  });

  it('proposes a quarter of the tokens where the fit asks for more than the run has', () => {
    const plan = makePlan({ params: 1e8, tokens: 2e9 });
    expect(growthTokens(1e8, 6 * 1e8 * 2e9) / 1e9).toBeCloseTo(21.4, 1);
    expect(plan.growthTokens).toBe(0.5e9);
    expect(plan.warnings.join()).toMatch(/2\.14e\+10 tokens, 11 times the whole budget/);
    expect(plan.flops.baseShare).toBeGreaterThan(0.05);
    expect(plan.flops.baseShare).toBeLessThan(0.12);
  });

  it('chooses a compute-optimal size for FLOPs alone', () => {
    const { nominal } = makePlan({ flops: 1.2e20 });
    expect(nominal.params).toBeCloseTo(1e9, 0);
    expect(nominal.tokens).toBeCloseTo(20e9, 0);
  });

  it('gives memory and hours by hand arithmetic', () => {
    const device = { gpu: 'h100', count: 64, mfu: 0.45, pricePerHour: 2 };
    const plan = makePlan({ params: 7e9, tokens: 300e9, device });
    const parameters = countParameters(preset('gstack-7b')).total;
    expect(plan.memory).toMatchObject({
      weights: 2 * parameters,
      gradients: 2 * parameters,
      optimizer: Math.ceil((12 * parameters) / 64),
    });
    const hours = (38_031_851_520 * 300e9) / (989.4e12 * 0.45 * 64) / 3600;
    expect(plan.time?.hours.total).toBeCloseTo(hours, 3);
    expect(plan.time?.cost).toBeCloseTo(hours * 128, 0);
  });

  it('says what it cannot plan', () => {
    expect(() => makePlan({ params: 7e9 })).toThrow(/needs a budget/);
    expect(() => makePlan({ params: 7e9, tokens: 1e9, flops: 1e20 })).toThrow(/twice/);
    expect(() => makePlan({ params: 1e9, tokens: 20e9, growthTokens: 200e9 })).toThrow(/more than the budget/);
    expect(() => makePlan({ params: 1e9, tokens: -1 })).toThrow(/--tokens: expected a positive number, found -1/);
  });

  it('writes a run config whose stages are the plan', () => {
    const plan = makePlan({ params: 1.1e9, tokens: 100e9 });
    const yaml = planToYaml(plan, {
      name: 'grown',
      trainData: 'a',
      validationData: 'b',
      sequenceLength: 2048,
      precision: 'bf16',
    });
    expect(parse(yaml)).toMatchObject({
      model: { hidden_size: 2048, num_hidden_layers: 24 },
      stages: [
        { kind: 'train', model: { num_hidden_layers: 6 }, until: { tokens: plan.flops.base.tokens } },
        { kind: 'grow', operator: 'stack', factor: 4, optimizerState: 'fresh' },
        { kind: 'train', until: { flops: plan.flops.scratch.flops } },
      ],
    });
    expect(yaml).toMatch(/# growthTokens: G_stack/);
  });
});

describe('shapeFor', () => {
  it.each([1e6, 1e7, 1e8, 2e9, 13e9, 70e9])('comes within a tenth of %d parameters', (params) => {
    const { config } = shapeFor(params, 4, 2048);
    expect(Math.abs(countParameters(config).total / params - 1)).toBeLessThan(0.1);
    expect(config.num_hidden_layers % 4).toBe(0);
  });
});
