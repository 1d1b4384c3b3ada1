import { z } from 'zod';
import type { MaskRamp, PlanDraft } from './plan.js';

/** Options of operators whose new parts are masked at first. */
export const maskOptions = {
  mask: z
    .union([z.literal(0), z.literal(1)])
    .default(0)
    .describe('0: new parts are masked, and a trainer raises the mask to 1; 1: the plain model, without a mask'),
  ramp: z.number().gt(0).max(1).default(0.1).describe('share of the next train stage over which one mask rises to 1'),
};

export const maskedCondition = 'while the mask is 0, up to the epsilon of the norms; not with mask=1';

/** Ramps one after the other, each over the same share of the stage; none where mask is 1. */
export function rampMasks(
  draft: PlanDraft,
  { mask, ramp }: { mask: 0 | 1; ramp: number },
  masks: readonly Omit<MaskRamp, 'start' | 'end'>[],
): PlanDraft {
  if (masks.length === 0) return { ...draft, preservesFunction: { claimed: true, condition: 'nothing changes' } };
  if (mask === 1)
    return { ...draft, preservesFunction: { claimed: false, condition: 'mask=1: new parts work at once' } };
  const share = Math.min(ramp, 1 / masks.length);
  return { ...draft, masks: masks.map((m, i) => ({ ...m, start: i * share, end: (i + 1) * share })) };
}
