import { describe, expect, it } from 'vitest';
import { parseConfig } from '../src/index.js';
import { planRun, type RunPlan } from '../src/train/index.js';
import { BUDGET, grown, RATES, scratch } from './quickstart-runs.js';

/** Sequences of 256 in the quickstart's training shards. */
const SEQUENCES = 5538;
const planOf = (config: ReturnType<typeof grown>): RunPlan =>
  planRun(parseConfig(config), { vocabSize: 2048, sequencesPerEpoch: SEQUENCES });

describe("the quickstart's runs", () => {
  const runs = { scratch: planOf(scratch('data')), grown: planOf(grown('data')) };

  it('end at the same FLOPs, to a step, the base included', () => {
    for (const { totals, stages, tokensPerStep } of Object.values(runs)) {
      const last = stages.at(-1)!;
      if (last.kind !== 'train') throw new Error('the last stage does not train');
      const over = totals!.ledger.exact - BigInt(BUDGET);
      expect(over).toBeGreaterThanOrEqual(0n);
      expect(over).toBeLessThan(last.perToken.flops * BigInt(tokensPerStep));
    }
  });

  it('train the same model, grown four times from a quarter of its layers', () => {
    expect(runs.grown.stages.map(({ model }) => model.num_hidden_layers)).toEqual([3, 12, 12]);
    expect(runs.grown.stages.at(-1)!.model).toEqual(runs.scratch.stages.at(-1)!.model);
  });

  it('read no token twice, and end their schedules where they end', () => {
    for (const { derived, stages } of Object.values(runs)) {
      expect(derived['total.epochs']!.value).toBeLessThan(1);
      const last = stages.at(-1)!;
      const schedule = last.kind === 'train' ? last.config.schedule : undefined;
      expect(schedule).toMatchObject({ kind: 'cosine' });
      expect(schedule).not.toHaveProperty('horizon');
    }
  });

  it('use rates inside the grid', () => {
    for (const rate of Object.values(RATES)) {
      expect(rate).toBeGreaterThan(1e-3);
      expect(rate).toBeLessThan(1.6e-2);
    }
  });
});
