const MAX_STEPS = 2000;
const TOLERANCE = 1e-12;

/**
 * Minimises a function of a few variables without derivatives.
 *
 * Nelder and Mead 1965, with the usual coefficients 1, 2, 1/2, 1/2.
 *
 * @param steps Size of the first simplex along each variable.
 */
export function nelderMead(
  objective: (at: readonly number[]) => number,
  start: readonly number[],
  steps: readonly number[],
): { at: number[]; value: number } {
  const evaluate = (at: number[]): { at: number[]; value: number } => ({ at, value: objective(at) });
  const simplex = [
    evaluate([...start]),
    ...start.map((_, i) => evaluate(start.map((x, j) => (i === j ? x + steps[j]! : x)))),
  ];
  for (let step = 0; step < MAX_STEPS; step++) {
    simplex.sort((a, b) => a.value - b.value);
    const [best, worst] = [simplex[0]!, simplex[start.length]!];
    if (Math.abs(worst.value - best.value) <= TOLERANCE * (Math.abs(best.value) + TOLERANCE)) break;
    const centre = start.map((_, i) => simplex.slice(0, -1).reduce((sum, { at }) => sum + at[i]!, 0) / start.length);
    const along = (factor: number): { at: number[]; value: number } =>
      evaluate(centre.map((middle, i) => middle + factor * (worst.at[i]! - middle)));
    const reflected = along(-1);
    if (reflected.value < best.value) {
      const expanded = along(-2);
      simplex[start.length] = expanded.value < reflected.value ? expanded : reflected;
    } else if (reflected.value < simplex[start.length - 1]!.value) simplex[start.length] = reflected;
    else {
      const contracted = along(reflected.value < worst.value ? -0.5 : 0.5);
      if (contracted.value < Math.min(worst.value, reflected.value)) simplex[start.length] = contracted;
      else
        for (let i = 1; i < simplex.length; i++)
          simplex[i] = evaluate(simplex[i]!.at.map((x, j) => best.at[j]! + (x - best.at[j]!) / 2));
    }
  }
  simplex.sort((a, b) => a.value - b.value);
  return simplex[0]!;
}
