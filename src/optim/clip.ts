/**
 * Factor that brings a gradient's global norm down to a limit; 1 where it is below it or nothing is clipped.
 *
 * PyTorch's `clip_grad_norm_` adds 1e-6 to the norm; so does this, so that runs can be compared number by number.
 *
 * @param limit Largest norm, or null for none.
 */
export const clipScale = (norm: number, limit: number | null): number =>
  limit === null ? 1 : Math.min(1, limit / (norm + 1e-6));
