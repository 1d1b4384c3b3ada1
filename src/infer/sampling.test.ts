import { describe, expect, it } from 'vitest';
import { largestIndices, logSumExp, Sampler, type SamplingOptions } from './sampling.js';

/** Probabilities 0.1, 0.4, 0.2, 0.3. */
const PROBABILITIES = [0.1, 0.4, 0.2, 0.3];
const logits = Float32Array.from(PROBABILITIES, (p) => Math.log(p) + 3);
const DRAWS = 4000;
/** Five standard errors of a share of 4,000 draws. */
const TOLERANCE = 5 * Math.sqrt(0.25 / DRAWS);

function shares(options: SamplingOptions): number[] {
  const sampler = new Sampler({ seed: 7, ...options });
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < DRAWS; i++) counts[sampler.next(logits).token]!++;
  return counts.map((count) => count / DRAWS);
}

const expectShares = (found: number[], expected: number[]): void =>
  expected.forEach((share, i) =>
    share === 0 ? expect(found[i]).toBe(0) : expect(Math.abs(found[i]! - share)).toBeLessThan(TOLERANCE),
  );

describe('sampling', () => {
  it('takes the most probable token at temperature 0, with its log-probability', () => {
    const { token, logProb } = new Sampler({ temperature: 0 }).next(logits);
    expect(token).toBe(1);
    expect(logProb).toBeCloseTo(Math.log(0.4), 5);
  });

  it('draws by the probabilities', () => expectShares(shares({ temperature: 1 }), PROBABILITIES));

  it('flattens by temperature', () => {
    const roots = PROBABILITIES.map(Math.sqrt);
    const total = roots.reduce((a, b) => a + b, 0);
    expectShares(
      shares({ temperature: 2 }),
      roots.map((root) => root / total),
    );
  });

  it('keeps the k most probable', () => expectShares(shares({ temperature: 1, topK: 2 }), [0, 4 / 7, 0, 3 / 7]));

  it('keeps the fewest whose share reaches p', () => {
    expectShares(shares({ temperature: 1, topP: 0.69 }), [0, 4 / 7, 0, 3 / 7]);
    expectShares(shares({ temperature: 1, topP: 0.75 }), [0, 4 / 9, 2 / 9, 3 / 9]);
    // Of the three most probable (0.4, 0.3, 0.2) the first two hold 7/9.
    expectShares(shares({ temperature: 1, topK: 3, topP: 0.77 }), [0, 4 / 7, 0, 3 / 7]);
  });

  it('repeats with the same seed and differs with another', () => {
    const draw = (seed: number): number[] => {
      const sampler = new Sampler({ temperature: 1, seed });
      return Array.from({ length: 50 }, () => sampler.next(logits).token);
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
  });

  it('finds the largest, of equal ones the lower index first', () => {
    const values = Float32Array.from({ length: 500 }, (_, i) => (i * 37) % 101);
    const expected = [...values.keys()].sort((a, b) => values[b]! - values[a]! || a - b);
    expect([...largestIndices(values, 40)]).toEqual(expected.slice(0, 40));
    expect([...largestIndices(values, 1000)]).toEqual(expected);
  });

  it('sums exponentials of large logits', () => {
    expect(logSumExp(Float32Array.of(1000, 1000))).toBeCloseTo(1000 + Math.LN2, 6);
  });
});
