import type { RunConfigInput } from '../../train/index.js';
import { parseConfig } from '../../train/index.js';
import { canonicalJson, sha256 } from '../../records/index.js';
import { join } from 'node:path';
import type { JobResult, SweepJob } from '../sweep/index.js';
import { partSize, type Rates, SCRATCH, singleArms, sizeName, type PartSize, type SingleArm } from './expand.js';
import type { LoadedStudy, StudyPart } from './schema.js';
import type { RunFacts } from '../../train/index.js';

/** A rate, or a pair of them, that was tried. */
export interface Trial {
  readonly lr: number;
  readonly baseLr: number;
  /** Loss on the texts that rates are chosen on; Infinity where the run failed. */
  readonly loss: number;
}

/** What tuning found for one model. */
export interface Tuned {
  readonly part: string;
  readonly name: string;
  readonly lr: number;
  readonly baseLr: number;
  /** Ascending in lr. */
  readonly trials: readonly Trial[];
  /** The best rate still lay at the edge of the range after the last extension. */
  readonly atEdge: boolean;
  /** Exact FLOPs of all trials: listed apart from what the arms cost. */
  readonly flops: number;
}

/** How often the range is extended beyond an edge where the best rate lies. */
const MOST_EXTENSIONS = 3;

/** Stands for rates that are still to be found, in forecasts. */
const UNKNOWN_RATE = 1e-3;

/** A rate as it stands in names. */
const rateName = (rate: number): string => rate.toPrecision(3).replace(/\.?0+(?=e|$)/, '');

/** What is tuned: scratch, a smaller size, or an arm. */
interface Target {
  readonly name: string;
  readonly changes: Record<string, unknown>;
  readonly arm?: SingleArm;
}

const targetsOf = (part: StudyPart): Target[] => [
  { name: SCRATCH, changes: {} },
  ...part.controls.sizes
    .filter(({ lr }) => lr === undefined)
    .map(({ model }) => ({ name: sizeName(model), changes: model })),
  ...singleArms(part)
    .filter(({ lr }) => lr === undefined)
    .map((arm) => ({ name: arm.name, changes: {}, arm })),
];

/** Rates that are not tuned: an arm's or a size's own, else the optimizer's. `tuned` overrules the latter. */
export function ratesOf(part: StudyPart, tuned: readonly Tuned[]): Rates {
  const found = new Map(
    tuned.filter((one) => one.part === (part.ratesFrom ?? part.name)).map((one) => [one.name, one]),
  );
  const fallback = part.optimizer.lr ?? UNKNOWN_RATE;
  const rates = new Map<string, { lr: number; baseLr: number }>();
  const put = (name: string, lr: number | undefined, baseLr: number | undefined): void => {
    const chosen = lr ?? found.get(name)?.lr ?? fallback;
    rates.set(name, {
      lr: chosen,
      baseLr: baseLr ?? (lr === undefined ? found.get(name)?.baseLr : undefined) ?? chosen,
    });
  };
  put(SCRATCH, undefined, undefined);
  for (const { model, lr } of part.controls.sizes) put(sizeName(model), lr, undefined);
  for (const { name, lr, baseLr } of singleArms(part)) put(name, lr, baseLr);
  return rates;
}

/** The next rates to try for a model that has these trials behind it; none where its rate is found. */
export function nextRates(
  trials: readonly Trial[],
  { rates, refine }: Pick<NonNullable<StudyPart['tuning']>, 'rates' | 'refine'>,
): Omit<Trial, 'loss'>[] {
  if (trials.length === 0) return rates.map((lr) => ({ lr, baseLr: lr }));
  const best = bestOf(trials);
  const sorted = trials.map(({ lr }) => lr).sort((a, b) => a - b);
  const isEdge = best.lr === sorted[0] || best.lr === sorted.at(-1);
  const extensions = trials.filter(({ lr }) => lr < rates[0]! / 1.1 || lr > rates.at(-1)! * 1.1).length;
  if (isEdge && extensions < MOST_EXTENSIONS) {
    const lr = best.lr === sorted[0] ? best.lr / 2 : best.lr * 2;
    return [{ lr, baseLr: lr }];
  }
  const isRefined = sorted.some((lr, i) => i > 0 && lr / sorted[i - 1]! < 1.6);
  if (!refine || isRefined || isEdge) return [];
  return [best.lr / Math.SQRT2, best.lr * Math.SQRT2].map((lr) => ({ lr, baseLr: best.baseLr }));
}

const bestOf = (trials: readonly Trial[]): Trial =>
  trials.reduce((best, trial) => (trial.loss < best.loss ? trial : best));

/**
 * Tunes scratch, each size and each arm of the parts, all with the same number of trials to begin with.
 *
 * @param run Runs jobs to their end, or finds that they were run before.
 */
export async function tune(
  { study, hash }: LoadedStudy,
  parts: readonly StudyPart[],
  out: string,
  facts: RunFacts,
  run: (jobs: readonly SweepJob[]) => Promise<readonly JobResult[]>,
): Promise<Tuned[]> {
  const open = parts.flatMap((part) => {
    if (part.tuning === undefined) return [];
    const size = partSize(study, part, facts);
    return targetsOf(part).map((target) => ({ part, target, size, trials: [] as Trial[], flops: 0 }));
  });
  for (;;) {
    const asked = open.flatMap((one) =>
      nextRates(one.trials, one.part.tuning!).map((rates) => ({
        ...{ one, rates },
        job: trialJob(study, hash, one.part, one.target, one.size, rates, out),
      })),
    );
    if (asked.length === 0) break;
    const results = new Map((await run(asked.map(({ job }) => job))).map((result) => [result.name, result]));
    if (results.size < asked.length) return [];
    for (const { one, rates, job } of asked) {
      const { status, validationLoss, flopsExact } = results.get(job.name)!;
      one.trials.push({ ...rates, loss: status === 'done' ? (validationLoss ?? Infinity) : Infinity });
      one.flops += Number(flopsExact ?? 0);
    }
  }
  return open.map(({ part, target, trials, flops }) => {
    const { lr, baseLr } = bestOf(trials);
    const sorted = [...trials].sort((a, b) => a.lr - b.lr);
    const atEdge = lr === sorted[0]!.lr || lr === sorted.at(-1)!.lr;
    return { part: part.name, name: target.name, lr, baseLr, trials: sorted, atEdge, flops };
  });
}

/** Jobs of a part's first round, for a forecast. */
export const firstTrials = (
  { study, hash }: LoadedStudy,
  part: StudyPart,
  out: string,
  facts: RunFacts,
): SweepJob[] => {
  if (part.tuning === undefined) return [];
  const size = partSize(study, part, facts);
  return targetsOf(part).flatMap((target) =>
    nextRates([], part.tuning!).map((rates) => trialJob(study, hash, part, target, size, rates, out)),
  );
};

/** A whole run with warm-up, constant rate and cooldown, on data of the tuning's seed. */
function trialJob(
  study: LoadedStudy['study'],
  hash: string,
  part: StudyPart,
  { name: targetName, changes, arm }: Target,
  size: PartSize,
  { lr, baseLr }: Omit<Trial, 'loss'>,
  out: string,
): SweepJob {
  const { seed, budget } = part.tuning!;
  const external = study.trainer === undefined ? {} : { external: study.trainer };
  const optimizer = { ...part.optimizer, lr };
  const baseSteps = arm === undefined ? 0 : Math.round(arm.growthShare * size.steps);
  const spent = arm === undefined ? 0 : baseSteps * size.stepFlops(arm.base);
  const perStep = size.stepFlops(changes);
  const steps = Math.floor((budget * size.flops - spent) / perStep);
  const cooldown = Math.round((part.cooldown * budget * size.flops) / perStep);
  const base: RunConfigInput['stages'] =
    arm === undefined
      ? []
      : [
          {
            ...{ name: 'base', kind: 'train', model: arm.base, until: { steps: baseSteps }, ...external },
            optimizer: { ...part.optimizer, lr: arm.baseLr ?? baseLr },
            schedule: { kind: 'constant', warmup: part.warmup },
          },
          {
            name: 'grow',
            kind: 'grow',
            operator: arm.operator,
            options: arm.options,
            optimizerState: arm.optimizerState,
          },
        ];
  const baseName = baseLr === lr ? '' : `-base${rateName(baseLr)}`;
  const name = `${part.name}.tune-${targetName}-lr${rateName(lr)}${baseName}`;
  const { train, selection, validation, sequenceLength, maxEpochs } = study.data;
  const chosenOn = selection ?? validation;
  const config: RunConfigInput = {
    ...{ name, seed, study: hash, model: { ...part.model, ...changes }, precision: part.precision },
    data: {
      train,
      ...(chosenOn === undefined ? {} : { validation: chosenOn }),
      sequenceLength,
      batchTokens: part.batchTokens,
      maxEpochs,
    },
    validation: { every: 1_000_000, tokens: study.validationTokens },
    records: { every: 10 },
    checkpoints: { every: 500, keepLast: 1 },
    nonFinite: 'stop',
    stages: [
      ...base,
      {
        ...{ name: 'target', kind: 'train', until: { steps }, optimizer, ...external },
        schedule: { kind: 'wsd', warmup: part.warmup, cooldown },
      },
    ],
  };
  return {
    ...{ name, kind: 'cell', config, base: undefined, coordinates: { lr, baseLr } },
    folder: join(out, 'tuning', name),
    loaded: parseConfig(config, [], `run "${name}"`),
    hash: sha256(canonicalJson(JSON.parse(JSON.stringify(config)))),
  };
}
