import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readRun, type Run } from '../../records/index.js';
import { writeSyntheticRun } from '../../records/testing/synthetic.js';
import { readTimingConstants } from '../constants.js';
import { makePlan } from '../plan.js';
import { fitRuns, readFit } from './from-runs.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-fit-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const TOKENS_PER_STEP = 4096;
const parametersOf = (hidden: number): number => 12 * 12 * hidden ** 2 + 2 * 2048 * hidden;
/** The growth timing that is planted into the losses. */
const planted = (params: number, flops: number): number =>
  10 ** (0.5 * Math.log10(params) + 20 / Math.log10(flops) + 0.5);

/** Sweeps of growth timing over three sizes and two budgets each; the losses have their minimum at the planted d. */
function sweep(): Run[] {
  const runs: Run[] = [];
  for (const hidden of [64, 96, 128])
    for (const tokens of [3e6, 6e6]) {
      const params = parametersOf(hidden);
      const budget = 6 * params * tokens;
      const best = planted(params, 0.93 * budget);
      for (const factor of [0.4, 0.7, 1.2, 2, 3.2]) {
        const growthStep = Math.round((best * factor) / TOKENS_PER_STEP);
        const name = `sweep-${hidden}-${tokens}-${factor}`;
        const shift = 0.2 * Math.log10((growthStep * TOKENS_PER_STEP) / best) ** 2;
        writeSyntheticRun(join(folder, name), { name, hidden, growthStep, budget, shift, validationEvery: 10_000 });
        runs.push(readRun(join(folder, name)));
      }
    }
  return runs;
}

describe('fitRuns', () => {
  it('finds the planted growth timing, and plan uses it', () => {
    const fit = fitRuns(sweep());
    expect(fit.isoFlop).toHaveLength(6);
    for (const group of fit.isoFlop) {
      expect(group.bracketed).toBe(true);
      expect(Math.abs(group.best.value / planted(group.params, group.flops) - 1)).toBeLessThan(0.05);
    }
    expect(fit.growthTiming).not.toBeNull();
    const path = join(folder, 'fit.json');
    writeFileSync(path, JSON.stringify(fit));
    expect(readFit(path).isoFlop).toHaveLength(6);
    const constants = readTimingConstants(path);
    const plan = makePlan({ params: parametersOf(96), tokens: 5e6, constants });
    expect(plan.inFittedRange).toBe(true);
    expect(Math.abs(plan.growthTokens / planted(parametersOf(96), 6 * parametersOf(96) * 5e6) - 1)).toBeLessThan(0.1);
    expect(plan.sources['growthTokens']).toMatch(/fitted from your own runs/);
  });

  it('fits one law per size and the envelope over sizes, and names what is missing', () => {
    for (const hidden of [64, 128]) writeSyntheticRun(join(folder, `law-${hidden}`), { name: 'law', hidden });
    const fit = fitRuns([64, 128].map((hidden) => readRun(join(folder, `law-${hidden}`))));
    expect(fit.sizes.map(({ params, from }) => [params, from])).toEqual([
      [parametersOf(64), 'alongTheRun'],
      [parametersOf(128), 'alongTheRun'],
    ]);
    // Planted: 1.73 + 130 C^-0.12 with C the FLOPs; the fit counts 6ND, which the runs say is 0.93 of them.
    const law = fit.sizes[1]?.irreducible;
    expect(law?.irreducible.value).toBeCloseTo(1.73, 1);
    expect(law?.b.value).toBeCloseTo(-0.12, 2);
    expect(fit.envelope.points.length).toBeGreaterThan(4);
    expect(fit.growthTiming).toBeNull();
    expect(fit.notes.join()).toMatch(/No fit of growth timing: it needs four groups/);
  });
});
