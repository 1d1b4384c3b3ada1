import { capacityAt, layerRates, type RoutingRecord } from './capacity.js';
import type { RoutingConfig } from './config/index.js';
import type { RunContext } from './context.js';
import type { TrainStage } from './run-plan.js';
import type { TrainingSession } from './session.js';

/** The routers of a stage while it is trained: what each layer keeps, and what its labels say it should. */
export class StageRouting {
  readonly #run: RunContext;
  readonly #stage: TrainStage;
  readonly #config: RoutingConfig;
  readonly #layers: number;
  /** Sums over the micro-batches of a step. */
  #loss = 0;
  readonly #shares: Float64Array;
  #microBatches = 0;

  constructor(run: RunContext, stage: TrainStage, config: RoutingConfig) {
    this.#run = run;
    this.#stage = stage;
    this.#config = config;
    this.#layers = stage.model.num_hidden_layers;
    this.#shares = new Float64Array(this.#layers);
    if (run.progress.stageStep === 0) run.progress.capacities = undefined;
  }

  /** Before a step: the capacities of its layers, which are what the labels of the step before said. */
  begin(session: TrainingSession): void {
    session.setRouting(this.#capacity, this.#capacities);
    this.#loss = 0;
    this.#shares.fill(0);
    this.#microBatches = 0;
  }

  /** After each micro-batch. */
  collect(session: TrainingSession): void {
    const { loss, shares } = session.routing();
    this.#loss += loss;
    for (let i = 0; i < shares.length; i++) this.#shares[i]! += shares[i]!;
    this.#microBatches++;
  }

  /** Before the update: marks each weight with its layer's factor less 1, which goes with `newEntriesRate` twice the rate. */
  markRates(session: TrainingSession): void {
    if (!this.#config.layerRates) return;
    const factors = layerRates(this.#capacities);
    for (const { name, layer, tiedTo } of this.#stage.specs)
      if (layer !== undefined && tiedTo === undefined) session.newEntries(name)?.fill(factors[layer]! - 1);
  }

  /** Ends the step: what records say, and what the next step keeps. */
  finish(): RoutingRecord {
    const { coefficient } = this.#config;
    const capacity = this.#capacity;
    const capacities = [...this.#shares].map((sum) => sum / this.#microBatches);
    this.#run.progress.capacities = capacities;
    return { capacity, routerLoss: coefficient === 0 ? 0 : this.#loss / coefficient, capacities };
  }

  get #capacity(): number {
    const { stageStep, stageSteps } = this.#run.progress;
    return capacityAt(this.#config, stageStep, stageSteps);
  }

  get #capacities(): readonly number[] {
    return this.#run.progress.capacities ?? Array.from({ length: this.#layers }, () => this.#capacity);
  }
}
