import type { Value } from './types.js';

/** Stands for the number 1, the gradient of the loss with respect to itself; it has no memory and no kernel reads it. */
export const GRADIENT_SEED: Value = Object.freeze({ type: { dtype: 'f32', shape: [1] } as const });
