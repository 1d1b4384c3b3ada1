import { z } from 'zod';
import { stepsOrShare } from './quantity.js';

/** How the routers of a llama_dlo are trained (DLO, arXiv 2407.11030; the defaults are its code's). */
export const routingSchema = z.strictObject({
  capacity: z
    .number()
    .gt(0)
    .max(1)
    .default(0.9)
    .describe('share of the tokens, over all layers together, whose feed-forward branch is to be computed'),
  anneal: stepsOrShare
    .default(1000)
    .describe('steps in which the capacity falls from 1 to that, or a share of the stage'),
  coefficient: z.number().min(0).default(1).describe("factor on the routers' loss"),
  layerRates: z
    .boolean()
    .default(true)
    .describe("a layer's learning rate is multiplied by its capacity + 1 - the mean of all layers; AdamW only"),
});

export type RoutingConfig = z.output<typeof routingSchema>;
