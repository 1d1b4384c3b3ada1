import { join } from 'node:path';
import { InputError } from '../../errors.js';
import { FlopLedger } from '../../planner/index.js';
import {
  factsOf,
  openData,
  parseConfig,
  planRun,
  type RunConfigInput,
  type RunData,
  type RunFacts,
  type Stage,
} from '../../train/index.js';
import { grid } from '../sweep/index.js';
import { Forest, type Trunk } from './trunks.js';
import { drawnModel } from './untrained.js';
import type { Study, StudyArm, StudyPart } from './schema.js';

/** What an end point is there for. */
export type Role = 'scratch' | 'arm' | 'size' | 'rewarm' | 'untrained' | 'again' | 'cosine';

/** A run whose annealed end is measured. */
export interface Cell {
  readonly part: string;
  /** Name of the arm, the size or the control. */
  readonly arm: string;
  readonly role: Role;
  readonly seed: number;
  /** The reported seed that it is paired with. */
  readonly pairedWith: number;
  /** Share of C. */
  readonly budget: number;
  /** Name of the run. */
  readonly job: string;
}

/** One arm of one operator, base, share and state. */
export interface SingleArm extends Pick<StudyArm, 'options' | 'schedule' | 'lr' | 'baseLr' | 'budgets'> {
  readonly name: string;
  readonly operator: string;
  readonly base: Record<string, unknown>;
  readonly growthShare: number;
  readonly optimizerState: StudyArm['optimizerState'][number];
}

/** Peak rates by name: "scratch", each size and each arm. */
export type Rates = ReadonlyMap<string, { readonly lr: number; readonly baseLr: number }>;

/** What a part's model costs; a step is one of `batchTokens`. */
export interface PartSize {
  /** Steps of scratch at C. */
  readonly steps: number;
  readonly nonEmbedding: number;
  readonly tokens: number;
  /** FLOPs of a step of a model that differs from the target in these fields. */
  stepFlops(changes: Record<string, unknown>): number;
  /** C. */
  readonly flops: number;
}

export const SCRATCH = 'scratch';
export const sizeName = (model: Record<string, unknown>): string =>
  Object.entries(model)
    .map(
      ([field, value]) => `${field === 'num_hidden_layers' ? 'layers' : field.replaceAll('_', '-')}-${String(value)}`,
    )
    .join('.');

/** Makes an arm of each combination; its name tells what differs. */
export const singleArms = ({ arms }: Pick<StudyPart, 'arms'>): SingleArm[] =>
  arms.flatMap((arm) => {
    const { operator, base, growthShare, optimizerState, name, ...rest } = arm;
    const points = grid({ operator, base, growthShare, optimizerState });
    return points.map((point) => {
      const parts = [
        name ?? point.operator,
        ...(name !== undefined && operator.length > 1 ? [point.operator] : []),
        ...(name === undefined || base.length > 1 ? [sizeName(point.base)] : []),
        ...(name === undefined || growthShare.length > 1 ? [`d${+(100 * point.growthShare).toPrecision(3)}`] : []),
        ...(optimizerState.length > 1 ? [point.optimizerState] : []),
      ];
      return { ...rest, ...point, name: parts.join('-') };
    });
  });

/** What the data say of a model. Throws InputError where data are missing, or do not fit each other. */
export function studyFacts(study: Study): RunFacts {
  const { config } = parseConfig(skeleton(study, study.parts[0]!, {}, 1));
  const open = (validation: string | undefined): RunData =>
    openData({ ...config, data: { ...config.data, ...(validation === undefined ? {} : { validation }) } });
  if (study.data.selection !== undefined) open(study.data.selection).close();
  const data = open(undefined);
  try {
    return factsOf(data, undefined);
  } finally {
    data.close();
  }
}

/** The same for a forecast, which may come before the data. */
export function expectedFacts(study: Study): RunFacts {
  try {
    return studyFacts(study);
  } catch (error) {
    if (error instanceof InputError) return {};
    throw error;
  }
}

/** A run of one step, for what its plan says. */
const skeleton = (study: Study, part: StudyPart, changes: Record<string, unknown>, seed: number): RunConfigInput => ({
  name: 'size',
  ...common(study, part, changes, seed),
  stages: [
    {
      name: 'train',
      kind: 'train',
      until: { steps: 1 },
      optimizer: { ...part.optimizer, lr: 1 },
      schedule: { kind: 'constant', warmup: 1 },
    },
  ],
});

export function partSize(study: Study, part: StudyPart, facts: RunFacts): PartSize {
  const planned = (changes: Record<string, unknown>): Extract<Stage, { kind: 'train' }> =>
    planRun(parseConfig(skeleton(study, part, changes, 1), [], `part "${part.name}"`), facts).stages[0] as never;
  const stepFlops = (changes: Record<string, unknown>): number => {
    const { perToken, updateFlops } = planned(changes);
    return Number(perToken.flops) * part.batchTokens + Number(updateFlops);
  };
  const { nonEmbedding } = planned({}).counts;
  const steps = Math.round((part.tokensPerParameter * nonEmbedding) / part.batchTokens);
  return { steps, nonEmbedding, tokens: steps * part.batchTokens, stepFlops, flops: steps * stepFlops({}) };
}

/** What all runs of a part share. */
function common(study: Study, part: StudyPart, changes: Record<string, unknown>, seed: number): Trunk['run'] {
  const { train, validation, sequenceLength, maxEpochs } = study.data;
  return {
    seed,
    model: { ...part.model, ...changes },
    precision: part.precision,
    data: {
      train,
      ...(validation === undefined ? {} : { validation }),
      sequenceLength,
      batchTokens: part.batchTokens,
      maxEpochs,
    },
    validation: { every: 1_000_000, tokens: study.validationTokens },
    records: { every: 10 },
    checkpoints: { every: 500, keepLast: 1 },
  };
}

/** Makes the trunks, branches and cells of a study. */
export class Expansion {
  readonly forest = new Forest();
  readonly cells: Cell[] = [];
  /** Models of untrained bases by the folder in which they have to be. */
  readonly untrained = new Map<string, Trunk['run']>();

  constructor(
    readonly study: Study,
    readonly out: string,
    readonly facts: RunFacts,
  ) {}

  /** Adds a part: scratch, arms and controls. Only rates are not known beforehand. */
  add(part: StudyPart, rates: Rates): void {
    const { controls } = part;
    const size = partSize(this.study, part, this.facts);
    const arms = singleArms(part);
    const [first] = arms;
    part.seeds.forEach((seed, at) => {
      const trunk = this.#scratch(part, seed, {}, rates.get(SCRATCH)!.lr, SCRATCH);
      const put = (
        arm: string,
        role: Role,
        of: Trunk,
        budgets: readonly number[],
        more: Partial<EndPlan> = {},
      ): void => {
        for (const budget of budgets)
          this.#end(
            { ...{ part, size, trunk: of, budget, spent: 0, changes: {}, kind: 'cooldown' }, ...more },
            { arm, role, seed },
          );
      };
      put(SCRATCH, 'scratch', trunk, part.scratchBudgets);
      for (const arm of arms) {
        const grown = this.#grown(part, size, seed, arm, rates.get(arm.name)!);
        const kind = arm.schedule === 'cosine' ? ('cosine' as const) : ('cooldown' as const);
        put(arm.name, 'arm', grown.trunk, arm.budgets ?? part.budgets, { spent: grown.spent, kind });
      }
      for (const { model } of controls.sizes) {
        const name = sizeName(model);
        const small = this.#scratch(part, seed, model, rates.get(name)!.lr, name);
        put(name, 'size', small, controls.sizesBudgets ?? part.budgets, { changes: model });
      }
      const budgets = controls.budgets ?? part.budgets;
      if (controls.rewarm) {
        const step = this.#baseSteps(part, size, first!);
        const { name: _, key: __, points: ___, ...rest } = trunk;
        const again = this.forest.trunk({ ...rest, name: `${part.name}.rewarm-s${seed}`, parent: { trunk, step } });
        put('rewarm', 'rewarm', again, budgets, { spent: step * size.stepFlops({}) });
      }
      if (controls.untrained)
        put('untrained', 'untrained', this.#fromUntrained(part, seed, first!, rates.get(first!.name)!), budgets);
      if (controls.cosine) put('cosine', 'cosine', trunk, budgets, { kind: 'cosine' });
      const other = controls.again[at];
      if (other !== undefined)
        for (const budget of budgets)
          this.#end(
            {
              part,
              size,
              trunk: this.#scratch(part, other, {}, rates.get(SCRATCH)!.lr, SCRATCH),
              budget,
              spent: 0,
              changes: {},
              kind: 'cooldown',
            },
            { arm: 'again', role: 'again', seed: other, pairedWith: seed },
          );
    });
  }

  #end(
    { part, size, trunk, budget, spent, changes, kind }: EndPlan,
    { arm, role, seed, pairedWith = seed }: Pick<Cell, 'arm' | 'role' | 'seed'> & { pairedWith?: number },
  ): void {
    const perStep = size.stepFlops(changes);
    const steps = Math.floor((budget * size.flops - spent) / perStep);
    const cooldown = kind === 'cosine' ? steps : Math.round((part.cooldown * budget * size.flops) / perStep);
    const from = steps - cooldown;
    if (kind === 'cooldown' && from < part.warmup)
      throw new InputError(
        `Part "${part.name}", ${arm} at ${budget} C: ${Math.max(0, steps)} steps are left for warm-up (${part.warmup}) and cooldown (${cooldown}); leave out this budget, or shorten warm-up or growth.`,
      );
    const job = this.forest.branch({ trunk, kind, from, steps: cooldown });
    this.cells.push({ part: part.name, arm, role, seed, pairedWith, budget, job });
  }

  #train(part: StudyPart, lr: number): Trunk['train'] {
    const { trainer } = this.study;
    return { optimizer: { ...part.optimizer, lr }, ...(trainer === undefined ? {} : { external: trainer }) };
  }

  #scratch(part: StudyPart, seed: number, changes: Record<string, unknown>, lr: number, name: string): Trunk {
    return this.forest.trunk({
      name: `${part.name}.${name}-s${seed}`,
      parent: undefined,
      grow: undefined,
      run: common(this.study, part, changes, seed),
      train: this.#train(part, lr),
      warmup: part.warmup,
    });
  }

  #baseSteps = (part: StudyPart, size: PartSize, { growthShare, name }: SingleArm): number => {
    const steps = Math.round(growthShare * size.steps);
    if (steps <= part.warmup)
      throw new InputError(
        `Part "${part.name}", ${name}: its base has ${steps} steps, no more than the warm-up of ${part.warmup}.`,
      );
    return steps;
  };

  #grown(
    part: StudyPart,
    size: PartSize,
    seed: number,
    arm: SingleArm,
    { lr, baseLr }: { lr: number; baseLr: number },
  ) {
    const steps = this.#baseSteps(part, size, arm);
    const base = this.#scratch(part, seed, arm.base, baseLr, `base-${sizeName(arm.base)}`);
    const trunk = this.#growth(part, seed, arm, lr, arm.name, { trunk: base, step: steps });
    return { trunk, spent: steps * size.stepFlops(arm.base) };
  }

  #growth(
    part: StudyPart,
    seed: number,
    arm: SingleArm,
    lr: number,
    name: string,
    parent: NonNullable<Trunk['parent']>,
    parentFacts?: RunFacts['parent'],
  ): Trunk {
    const { operator, options, optimizerState } = arm;
    return this.forest.trunk({
      name: `${part.name}.${name}-s${seed}`,
      parent,
      grow: { name: 'grow', kind: 'grow', operator, options, optimizerState },
      run: common(this.study, part, {}, seed),
      train: this.#train(part, lr),
      warmup: part.warmup,
      ...(parentFacts === undefined ? {} : { parentFacts }),
    });
  }

  #fromUntrained(part: StudyPart, seed: number, arm: SingleArm, { lr }: { lr: number }): Trunk {
    const folder = join(this.out, 'untrained', `${part.name}-${sizeName(arm.base)}-s${seed}`);
    const run = common(this.study, part, arm.base, seed);
    this.untrained.set(folder, run);
    return this.#growth(
      part,
      seed,
      { ...arm, optimizerState: 'fresh' },
      lr,
      'untrained',
      { folder },
      untrainedFacts(run, this.facts),
    );
  }
}

interface EndPlan {
  readonly part: StudyPart;
  readonly size: PartSize;
  readonly trunk: Trunk;
  readonly budget: number;
  /** FLOPs paid before the trunk began. */
  readonly spent: number;
  readonly changes: Record<string, unknown>;
  readonly kind: 'cooldown' | 'cosine';
}

/** What a forecast needs of a base that was drawn and never trained. */
const untrainedFacts = (run: Trunk['run'], facts: RunFacts): NonNullable<RunFacts['parent']> => ({
  config: drawnModel(run, facts).model,
  ledger: new FlopLedger(),
  flopsKnown: true,
});
