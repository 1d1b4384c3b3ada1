import { stepsOf, type RoutingConfig } from './config/index.js';

/** What train records say of a step's routers. */
export interface RoutingRecord {
  /** Share of the tokens, over all layers together, that the labels chose. */
  readonly capacity: number;
  /** Mean binary cross-entropy of the routers, in nats, before its factor. */
  readonly routerLoss: number;
  /** Share of each layer's tokens that the labels chose: what the layer keeps in the next step. */
  readonly capacities: readonly number[];
}

/** Capacity over all layers when a stage has done `step` steps: from 1 along a straight line to what is asked for. */
export function capacityAt({ capacity, anneal }: RoutingConfig, step: number, stageSteps: number): number {
  const length = stepsOf(anneal, Number.isFinite(stageSteps) ? stageSteps : 0);
  return 1 + (capacity - 1) * (length === 0 ? 1 : Math.min(1, step / length));
}

/** Factors on the learning rates of layers: their capacity + 1 - the mean. */
export function layerRates(capacities: readonly number[]): number[] {
  const mean = capacities.reduce((sum, value) => sum + value, 0) / capacities.length;
  return capacities.map((value) => value + 1 - mean);
}
