import { expect, it } from 'vitest';
import { clipScale } from './clip.js';

it('scales a gradient down to the limit and leaves smaller ones alone', () => {
  expect(clipScale(0.5, 1)).toBe(1);
  expect(clipScale(4, 1)).toBeCloseTo(0.25, 6);
  expect(clipScale(4, 2)).toBeCloseTo(0.5, 6);
  expect(clipScale(4, null)).toBe(1);
});
