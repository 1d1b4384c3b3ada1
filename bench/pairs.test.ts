import { describe, expect, it } from 'vitest';
import { measurePaired, median, pairedRatios } from './pairs.js';

const options = { repetitions: 3, threads: 1, log: () => {} };

describe('median', () => {
  it('takes the middle value, or the mean of the two in the middle', () => {
    expect(median([9, 1, 4])).toBe(4);
    expect(median([9, 1, 4, 6])).toBe(5);
  });
  it('is NaN for nothing', () => expect(median([])).toBeNaN());
});

describe('pairedRatios', () => {
  it('is above 1 where ours is better, whatever the unit', () => {
    expect(pairedRatios([30, 10], [20, 20], 'higher')).toEqual([1.5, 0.5]);
    expect(pairedRatios([2, 4], [3, 2], 'lower')).toEqual([1.5, 0.5]);
  });
});

describe('measurePaired', () => {
  it('takes the median of the ratios within rounds, not the ratio of medians, and says how far they spread', async () => {
    // Rounds: 10/5 = 2, 40/10 = 4, 12/4 = 3. Medians are 12 and 5, whose ratio would be 2.4.
    const [ours, theirs] = [
      [10, 40, 12],
      [5, 10, 4],
    ];
    const result = await measurePaired(
      {
        case: 'x',
        unit: 'tokens/s',
        better: 'higher',
        ours: () => ours.shift() ?? 0,
        peers: { eager: () => theirs.shift() ?? 0 },
      },
      options,
    );
    expect(result).toMatchObject({ ours: 12, peers: { eager: 5 }, ratio: { eager: 3 } });
    expect(result.spread).toEqual({ eager: { low: 2, high: 4 } });
  });

  it('turns the order round every other round, so that a drift favours nobody', async () => {
    const order: string[] = [];
    const note = (name: string) => () => order.push(name);
    await measurePaired(
      { case: 'x', unit: 's', better: 'lower', ours: note('ours'), peers: { a: note('a') } },
      options,
    );
    expect(order).toEqual(['ours', 'a', 'a', 'ours', 'ours', 'a']);
  });
});
