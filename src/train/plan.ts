import { countParameters, familyOf, type ModelConfig, preset } from '../architecture/index.js';
import { InputError } from '../errors.js';
import { forwards } from '../model/index.js';
import { FlopLedger, type FlopsPerToken, trainingFlopsPerToken } from '../planner/index.js';
import {
  type GrowStageConfig,
  type LoadedConfig,
  type Locate,
  type Path,
  type RoutingConfig,
  routingSchema,
  type RunConfig,
  type TrainStageConfig,
  validate,
} from './config/index.js';
import type { MaskRamp } from '../growth/index.js';
import { newEntriesOf, planStageGrowth, type RunGrowth } from './growth.js';
import { unmaskedAxis } from './masks.js';
import { muonFlopsPerUpdate } from './muon-flops.js';
import { addWork, type ObjectivePlan, planObjective } from './objective/index.js';
import { prepareCost } from './prepare.js';
import type { StageRates } from './rates.js';
import type { GrowStage, RunFacts, RunPlan, Stage, StageBase, TrainStage } from './run-plan.js';
import { limitInSteps, stageRates } from './stage-schedule.js';
import { trainableWeights } from './trainable.js';

/**
 * Derives every number of a run from its config.
 *
 * @throws InputError naming place and field where the parts do not fit together.
 */
export function planRun(loaded: LoadedConfig, facts: RunFacts = {}): RunPlan {
  return new Planner(loaded, facts).plan();
}

class Planner {
  readonly #config: RunConfig;
  readonly #locate: Locate;
  readonly #derived: Record<string, { value: unknown; from: string }> = {};
  readonly #ledger: FlopLedger;
  readonly #tokensPerStep: number;
  #known = true;
  #steps = 0;
  readonly #stages: Stage[] = [];
  #addedLayers: readonly number[];
  /** What has happened to the model since the last train stage. */
  #masks: readonly MaskRamp[];
  #growth: RunGrowth | undefined;
  #schedule: { readonly from: TrainStageConfig; readonly steps: number | undefined } | undefined;

  constructor(
    { config, locate }: LoadedConfig,
    readonly facts: RunFacts,
  ) {
    this.#config = config;
    this.#locate = locate;
    this.#tokensPerStep = config.data.batchTokens;
    this.#addedLayers = facts.parent?.growth?.addedLayers ?? [];
    this.#masks = facts.parent?.growth?.masks ?? [];
    this.#ledger = facts.parent === undefined ? new FlopLedger() : FlopLedger.from(facts.parent.ledger.totals());
    if (this.#tokensPerStep % config.data.sequenceLength !== 0)
      this.#fail(
        ['data', 'batchTokens'],
        `expected a multiple of data.sequenceLength ${config.data.sequenceLength}, found ${this.#tokensPerStep}`,
      );
    const { microBatch } = config;
    if (microBatch !== 'auto' && this.#batchSequences % microBatch !== 0)
      this.#fail(
        ['microBatch'],
        `expected a divisor of the ${this.#batchSequences} sequences of a step, found ${microBatch}`,
      );
  }

  get #batchSequences(): number {
    return this.#tokensPerStep / this.#config.data.sequenceLength;
  }

  plan(): RunPlan {
    const runModel = this.#runModel();
    let model: ModelConfig | undefined = this.facts.parent?.config;
    const stages = this.#stages;
    this.#config.stages.forEach((stage, at) => {
      const path = ['stages', at];
      if (stage.kind === 'external') return;
      if (stage.kind === 'grow') {
        if (model === undefined)
          this.#fail(path, 'a growth needs something to grow: a train stage before it, or "from: CKPT"');
        const target = stage.model ?? (stage.factor === undefined ? runModel : undefined);
        const grown = this.#grow(stage, model, target, path, stages.length);
        stages.push(grown);
        model = grown.model;
        return;
      }
      if (stage.model !== undefined && model !== undefined)
        this.#fail(
          [...path, 'model'],
          'only the first stage of a run without "from" can set model fields; growth changes the model later',
        );
      model ??= this.#parseModel({ ...runModel, ...stage.model }, path);
      for (let round = 0; round < stage.repeat; round++)
        stages.push(
          this.#train(stage, model, path, stages.length, stage.repeat > 1 ? `${stage.name}-${round + 1}` : stage.name),
        );
    });
    this.#deriveTotals();
    return {
      config: this.#config,
      locate: this.#locate,
      stages,
      batchSequences: this.#batchSequences,
      tokensPerStep: this.#tokensPerStep,
      derived: this.#derived,
      totals: this.#known ? { steps: this.#steps, ledger: this.#ledger } : undefined,
      facts: this.facts,
    };
  }

  /** The fields of `model`, with what follows from preset, data and sequence length. */
  #runModel(): Record<string, unknown> | undefined {
    const { model, data } = this.#config;
    if (model === undefined) {
      if (this.facts.parent === undefined) this.#fail(['model'], 'it is missing, and there is no "from"', true);
      return undefined;
    }
    const { preset: name, ...fields } = typeof model === 'string' ? { preset: model } : model;
    const known = name === undefined ? {} : { ...preset(String(name)) };
    if (name !== undefined)
      for (const [field, value] of Object.entries(known))
        if (!(field in fields)) this.#derive(`model.${field}`, value, `preset ${String(name)}`);
    const merged: Record<string, unknown> = { ...known, ...fields };
    if (merged['vocab_size'] === undefined && this.facts.vocabSize !== undefined)
      merged['vocab_size'] = this.#derive('model.vocab_size', this.facts.vocabSize, `vocabulary of ${data.train}`);
    if (merged['max_position_embeddings'] === undefined)
      merged['max_position_embeddings'] = this.#derive(
        'model.max_position_embeddings',
        data.sequenceLength,
        'data.sequenceLength',
      );
    if (this.facts.eosId !== undefined)
      for (const field of ['bos_token_id', 'eos_token_id'])
        if (merged[field] === undefined)
          merged[field] = this.#derive(`model.${field}`, this.facts.eosId, `end of a document in ${data.train}`);
    return merged;
  }

  #parseModel(fields: Record<string, unknown>, stage: Path): ModelConfig {
    const family = familyOf(typeof fields['model_type'] === 'string' ? fields['model_type'] : 'llama');
    const overrides = (this.#config.stages[Number(stage[1])] as { model?: object }).model ?? {};
    const locate: Locate = (path) => this.#locate(String(path[1]) in overrides ? [...stage, ...path] : path);
    validate(family.schema, fields, locate, ['model']);
    const model = family.parse(fields, `${this.#locate(['model'])}: model`);
    for (const [field, value] of Object.entries(model))
      if (!(field in fields)) this.#derive(`model.${field}`, value, `default of ${family.modelType}`);
    this.#checkModel(model);
    return model;
  }

  #checkModel(model: ModelConfig): void {
    const { vocabSize } = this.facts;
    const { sequenceLength, train } = this.#config.data;
    if (vocabSize !== undefined && model.vocab_size < vocabSize)
      this.#fail(
        ['model', 'vocab_size'],
        `expected at least ${vocabSize}, the vocabulary of ${train}, found ${model.vocab_size}`,
      );
    if (model.max_position_embeddings < sequenceLength)
      this.#fail(
        ['data', 'sequenceLength'],
        `expected at most the model's max_position_embeddings ${model.max_position_embeddings}, found ${sequenceLength}`,
      );
  }

  #grow(
    config: GrowStageConfig,
    source: ModelConfig,
    target: Record<string, unknown> | undefined,
    path: Path,
    index: number,
  ): GrowStage {
    const growth = planStageGrowth(config, source, target, this.#config.seed, this.#locate(path));
    if (this.#masks.length > 0)
      this.#fail(path, 'masks of the growth before have to rise in a train stage first', true);
    this.#addedLayers = growth.addedLayers;
    this.#masks = growth.plan.masks ?? [];
    this.#growth = growth;
    const model = growth.plan.target;
    this.#checkModel(model);
    const cost = this.#prepareCost(growth);
    if (cost !== undefined) {
      this.#ledger.addWork(cost, 1);
      this.#derive(
        `stages.${config.name}.prepareFlops`,
        String(cost.flops),
        `${growth.plan.prepare!.steps} steps on ${this.#tokensPerStep} tokens that learn the growth`,
      );
    }
    return {
      prepareCost: cost,
      kind: 'grow',
      index,
      name: config.name,
      config,
      model,
      sourceCounts: countParameters(source),
      growth,
      ...describe(model),
    };
  }

  /** The cost of a growth that learns, where whole steps pass through the model at a time unless the config says otherwise. */
  #prepareCost({ plan }: RunGrowth): FlopsPerToken | undefined {
    const { microBatch, data } = this.#config;
    if (plan.prepare === undefined) return undefined;
    return prepareCost(plan, {
      sequenceLength: data.sequenceLength,
      batchSequences: this.#batchSequences,
      microBatchSequences: microBatch === 'auto' ? this.#batchSequences : microBatch,
    });
  }

  #train(config: TrainStageConfig, model: ModelConfig, path: Path, index: number, name: string): TrainStage {
    this.#checkModel(model);
    const described = describe(model);
    const isTrained = trainableWeights(
      config.trainable,
      model,
      described.specs,
      this.#addedLayers,
      `${this.#locate([...path, 'trainable'])}: field "stages.${path[1]}.trainable"`,
    );
    const objective = this.#objective(config, model, path, name);
    const training = trainingFlopsPerToken(model, this.#config.data.sequenceLength, isTrained);
    const perToken = objective === undefined ? training : addWork(training, objective.perToken);
    const begins = FlopLedger.from(this.#ledger.totals());
    const updateFlops = config.optimizer.kind === 'muon' ? muonFlopsPerUpdate(described.specs, isTrained) : 0n;
    const steps = this.#known
      ? limitInSteps(config, perToken, this.#tokensPerStep, begins.exact, updateFlops)
      : undefined;
    if (steps !== undefined && steps < 1)
      this.#fail(
        [...path, 'until', 'flops'],
        `expected more than the ${begins.totals().flops.toPrecision(4)} FLOPs spent before this stage, found ${config.until.flops}`,
      );
    const stage: TrainStage = {
      kind: 'train',
      index,
      name,
      config,
      model,
      family: familyOf(model),
      isTrained,
      perToken,
      objective,
      routing: this.#routing(config, model, path),
      updateFlops,
      masks: this.#masks,
      growth: this.#growth,
      ...this.#followSchedule(config, path),
      steps,
      begins,
      ...described,
    };
    this.#checkGrowing(stage, path);
    this.#checkExternal(stage, path);
    this.#masks = [];
    this.#growth = undefined;
    const { schedule } = this.#checkSchedule(stage, path);
    if (steps === undefined) this.#known = false;
    else {
      this.#steps += steps;
      this.#ledger.add(perToken, steps * this.#tokensPerStep);
      this.#ledger.addWork({ flops: updateFlops, flops6nd: 0n, flopsNonEmbedding: 0n }, steps);
      this.#derive(
        `stages.${name}.steps`,
        steps,
        `until ${JSON.stringify(config.until)} at ${this.#tokensPerStep} tokens a step`,
      );
      if (config.schedule.kind !== 'continue' && config.schedule.warmup !== schedule.warmup)
        this.#derive(
          `stages.${name}.warmupSteps`,
          schedule.warmup,
          `${config.schedule.warmup} of the schedule's steps`,
        );
    }
    return stage;
  }

  /** How a stage trains routers, where its model has any. */
  #routing(config: TrainStageConfig, model: ModelConfig, path: Path): RoutingConfig | undefined {
    const { optimizer } = config;
    if (forwards.get(model.model_type)?.routed !== true) {
      if (config.routing !== undefined)
        this.#fail([...path, 'routing'], `a ${model.model_type} has no routers; a llama_dlo has`);
      return undefined;
    }
    const routing = config.routing ?? routingSchema.parse({});
    if (routing.layerRates && (optimizer.kind === 'muon' || optimizer.newEntries !== undefined))
      this.#fail(
        [...path, 'routing', 'layerRates'],
        'only AdamW without newEntries has rates by layer: set it to false',
      );
    return routing;
  }

  /** What a stage that weighs by excess loss needs; books losses that are stored. */
  #objective(config: TrainStageConfig, model: ModelConfig, path: Path, name: string): ObjectivePlan | undefined {
    const { objective, external } = config;
    if (objective === 'plain') return undefined;
    if (external !== undefined) this.#fail([...path, 'objective'], 'other trainers train plainly');
    const before = (stage: string): ModelConfig | undefined =>
      this.#stages.find((candidate) => candidate.kind === 'train' && candidate.name === stage)?.model;
    try {
      const planned = planObjective(objective, {
        model,
        sequenceLength: this.#config.data.sequenceLength,
        vocabSize: this.facts.vocabSize,
        from: this.#config.from,
        parent: this.facts.parent?.config,
        modelOfStage: before,
      });
      if (planned.once !== undefined) this.#ledger.addWork(planned.once, 1);
      this.#derive(
        `stages.${name}.objectiveFlops`,
        String(planned.once?.flops ?? planned.perToken.flops),
        planned.once === undefined
          ? 'a token, beside training: the forward pass of the reference, and the losses that weights are made from'
          : 'in all, for the stored losses of the reference',
      );
      return planned;
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      return this.#fail([...path, 'objective'], error.message.replace(/\.$/, ''));
    }
  }

  /** Which schedule a stage follows, and where it stands in it. */
  #followSchedule(config: TrainStageConfig, path: Path): Pick<TrainStage, 'scheduleFrom' | 'scheduleOffset'> {
    if (config.schedule.kind !== 'continue') return { scheduleFrom: config, scheduleOffset: 0 };
    if (this.#schedule === undefined)
      this.#fail([...path, 'schedule'], '"continue" needs a train stage before it whose schedule goes on');
    const { from, steps } = this.#schedule;
    if (from.schedule.kind !== 'continue' && from.schedule.kind !== 'constant' && from.schedule.horizon === undefined)
      this.#fail(
        [...path, 'schedule'],
        `"continue" needs a "horizon" in the schedule of stage "${from.name}": the steps of both stages`,
      );
    return { scheduleFrom: from, scheduleOffset: steps };
  }

  /** What a stage right after a growth asks of it. */
  #checkGrowing({ config, masks, growth, model }: TrainStage, path: Path): void {
    const { optimizer, until, schedule } = config;
    const unknown = unmaskedAxis(masks, model);
    if (unknown !== undefined)
      this.#fail(path, `models of model_type "${model.model_type}" cannot follow a mask over ${unknown}`, true);
    if (masks.length > 0 && until.loss !== undefined)
      this.#fail([...path, 'until', 'loss'], 'masks rise over shares of a stage, whose end must not depend on a loss');
    if (optimizer.widthFactor !== undefined && optimizer.kind === 'muon')
      this.#fail([...path, 'optimizer', 'widthFactor'], 'factors of AdamW need kind: adamw');
    if (optimizer.muon !== undefined && optimizer.kind !== 'muon')
      this.#fail([...path, 'optimizer', 'muon'], 'expected kind: muon beside it');
    if (optimizer.newEntries === undefined) return;
    const at = [...path, 'optimizer', 'newEntries'];
    if (growth === undefined) this.#fail(at, 'expected a growth right before the stage');
    if (optimizer.kind === 'muon') this.#fail(at, 'rates of single entries need kind: adamw');
    if (schedule.kind !== 'continue') this.#fail(at, 'expected schedule: {kind: continue} beside it');
    try {
      newEntriesOf(growth);
    } catch (error) {
      if (error instanceof InputError) this.#fail(at, error.message.replace(/\.$/, ''));
      throw error;
    }
  }

  /** What another trainer cannot be asked for. */
  #checkExternal({ config, masks, steps }: TrainStage, path: Path): void {
    const { external, until, optimizer } = config;
    if (external === undefined) return;
    if (until.loss !== undefined || steps === undefined)
      this.#fail([...path, 'until'], 'the stage of another trainer ends by tokens, steps or FLOPs, known beforehand');
    const { maskedData } = this.facts;
    if (maskedData !== undefined)
      this.#fail(
        [...path, 'external'],
        `expected text, found conversations with a mask of answers in ${maskedData}, which another trainer would not get`,
      );
    if (masks.length > 0) this.#fail([...path, 'external'], 'masks of the growth before rise in Strata only');
    if (optimizer.newEntries !== undefined)
      this.#fail([...path, 'external'], 'rates of single entries (optimizer.newEntries) are for Strata only');
    if (external.command.includes('{adapter}') && external.adapter === undefined)
      this.#fail([...path, 'external', 'adapter'], 'it is missing, and the command asks for {adapter}', true);
  }

  #checkSchedule(stage: TrainStage, path: Path): StageRates {
    try {
      const rates = stageRates(stage, stage.steps, stage.scheduleOffset ?? 0);
      const { scheduleFrom, scheduleOffset, steps } = stage;
      this.#schedule = {
        from: scheduleFrom,
        steps: scheduleOffset === undefined || steps === undefined ? undefined : scheduleOffset + steps,
      };
      return rates;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return this.#fail([...path, 'schedule'], error.message);
    }
  }

  #deriveTotals(): void {
    const { data } = this.#config;
    this.#derive('data.batchSequences', this.#batchSequences, 'data.batchTokens / data.sequenceLength');
    if (!this.#known) return;
    const { sequencesPerEpoch } = this.facts;
    const totals = this.#ledger.totals();
    this.#derive('total.steps', this.#steps, 'sum over the train stages');
    this.#derive('total.tokens', totals.tokens, "steps x data.batchTokens, the parent's included");
    this.#derive(
      'total.flops',
      totals.flopsExact,
      'exact FLOPs per token x tokens, summed over the stages, the base included',
    );
    this.#derive('total.flops6nd', totals.flops6ndExact, '6 N D with all parameters');
    this.#deriveSaving();
    if (sequencesPerEpoch === undefined) return;
    const epochs = (this.#steps * this.#batchSequences) / sequencesPerEpoch;
    this.#derive('total.epochs', epochs, `passes over the ${sequencesPerEpoch} sequences of ${data.train}`);
    if (epochs > data.maxEpochs)
      this.#fail(
        ['data', 'maxEpochs'],
        `the run would read ${data.train} ${epochs.toFixed(1)} times; take more data, train less, or raise the limit, found ${data.maxEpochs}`,
      );
  }

  /** What a chain of released models saves against runs of their own, each of which would spend what the chain had spent by then. */
  #deriveSaving(): void {
    const released = this.#stages.filter((stage) => stage.kind === 'train').filter(({ config }) => config.release);
    if (released.length < 2) return;
    for (const [convention, name] of [
      ['flops', 'released.saving'],
      ['flopsNonEmbedding', 'released.saving6nd'],
    ] as const) {
      const spent = released.map((stage) => Number(this.#ledgerAfter(stage).totals()[convention]));
      const separate = spent.reduce((sum, flops) => sum + flops, 0);
      this.#derive(
        name,
        Number((1 - spent.at(-1)! / separate).toFixed(4)),
        `${released.length} released models in one chain take ${spent.at(-1)!.toExponential(4)} FLOPs ` +
          `(${convention === 'flops' ? 'exact' : '6 N D, non-embedding'}); alone, each with what the chain had spent by then, ${separate.toExponential(4)}`,
      );
    }
  }

  #ledgerAfter({ begins, perToken, updateFlops, steps }: TrainStage): FlopLedger {
    const ledger = FlopLedger.from(begins.totals());
    ledger.add(perToken, steps! * this.#tokensPerStep);
    ledger.addWork({ flops: updateFlops, flops6nd: 0n, flopsNonEmbedding: 0n }, steps!);
    return ledger;
  }

  #derive<T>(path: string, value: T, from: string): T {
    this.#derived[path] = { value, from };
    return value;
  }

  #fail(path: Path, problem: string, plain = false): never {
    throw new InputError(
      `${this.#locate(path)}: field "${path.join('.')}"${plain ? ' ' : ': '}${problem.replace(/^it /, '')}.`,
    );
  }
}

function describe(model: ModelConfig): Pick<StageBase, 'specs' | 'counts'> {
  return { specs: familyOf(model).weights(model), counts: countParameters(model) };
}
