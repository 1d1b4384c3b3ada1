import { z } from 'zod';

const SUFFIXES: Readonly<Record<string, number>> = { k: 1e3, m: 1e6, b: 1e9, t: 1e12 };
const PATTERN = /^([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)\s*([kmbt]?)$/i;

/** Reads `10B`, `600k`, `4.9e13` or `1.5 M`; undefined where a text is no quantity. */
export function parseQuantity(text: string): number | undefined {
  const match = PATTERN.exec(text.trim());
  if (match === null) return undefined;
  // Rounded, since 4.1 * 1e9 is not the whole number that was meant.
  const value = Number(match[1]) * (SUFFIXES[(match[2] ?? '').toLowerCase()] ?? 1);
  return match[2] === '' ? value : Math.round(value);
}

/** A positive amount: a number, or a text such as "10B". */
export const quantity = z.union([z.number(), z.string()]).transform((value, context) => {
  const amount = typeof value === 'number' ? value : parseQuantity(value);
  if (amount !== undefined && Number.isFinite(amount) && amount > 0) return amount;
  context.issues.push({ code: 'custom', message: 'expected a positive number or a text such as "10B"', input: value });
  return z.NEVER;
});

/** A positive whole number: a number, or a text such as "600k". */
export const wholeQuantity = quantity.pipe(z.int('expected a whole number').min(1));

/** Share of a whole from a text such as "5%". */
const percent = z
  .string()
  .regex(/^[0-9]+(\.[0-9]+)?%$/, 'expected steps (40) or a share of the stage ("5%")')
  .refine((text) => Number.parseFloat(text) <= 100, 'expected at most 100%');

/** Steps as a number, or a share of the stage as a text such as "5%". */
export const stepsOrShare = z.union([z.int('expected steps (40) or a share of the stage ("5%")').min(0), percent]);

/** How many steps a number of steps, or a share of `total` steps, is. */
export const stepsOf = (value: number | string, total: number): number =>
  typeof value === 'number' ? value : Math.round((Number.parseFloat(value) / 100) * total);
