import { z } from 'zod';
import { parseBySchema, RandomStream } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import { applySetting, parseConfig, type RunConfigInput } from '../../train/index.js';

/** A value that is searched over: a list of choices, or a range on a logarithmic or linear axis. */
export type Axis =
  | readonly (string | number | boolean)[]
  | { readonly log: readonly [number, number]; readonly points?: number | undefined }
  | { readonly linear: readonly [number, number]; readonly points?: number | undefined };

/** How cheaply a run is tried: a part of the model, and a part of the tokens. What is left out stays as the run has it. */
export interface Fidelity {
  readonly trainable?: 'all' | 'added' | { readonly lastLayers: number };
  readonly tokens?: number | string;
  /** Configs that go on to the next fidelity; default: the best 1/eta. */
  readonly keep?: number;
}

/** A search for hyper-parameters, as a recipe returns it. */
export interface Tune {
  readonly name: string;
  /** The run whose values are searched for. */
  readonly run: RunConfigInput;
  /** A model that all of them start from, trained once. */
  readonly base?: RunConfigInput;
  /** Values by their path in the run: `stages.target.optimizer.lr`. */
  readonly space: Readonly<Record<string, Axis>>;
  /** Every combination, or this many drawn at random. */
  readonly search?: 'grid' | { readonly random: number; readonly seed?: number };
  /** The stage that is tuned; default: the last. */
  readonly stage?: string;
  /** From the cheapest to the run itself. */
  readonly fidelities: readonly Fidelity[];
  readonly eta?: number;
}

/** A search, checked. */
export interface TunePlan {
  readonly name: string;
  readonly base: RunConfigInput | undefined;
  readonly stage: string;
  readonly space: Tune['space'];
  readonly configs: readonly Readonly<Record<string, string | number | boolean>>[];
  readonly fidelities: readonly Required<Pick<Fidelity, 'keep'>>[] & readonly Fidelity[];
  /** The run of a config at a fidelity. */
  readonly runOf: (config: number, fidelity: number) => RunConfigInput;
}

const choice = z.union([z.string(), z.number(), z.boolean()]);
const range = z.tuple([z.number(), z.number()]).refine(([low, high]) => low < high, 'expected [low, high]');
const points = z.int().min(2).optional();
const axis = z.union(
  [
    z.array(choice).min(1),
    z.strictObject({ log: range.refine(([low]) => low > 0, 'expected a range above 0'), points }),
    z.strictObject({ linear: range, points }),
  ],
  { error: 'expected a list of values, {log: [low, high]} or {linear: [low, high]}' },
);
const trainable = z.union([z.enum(['all', 'added']), z.strictObject({ lastLayers: z.int().min(1) })], {
  error: 'expected all, added or {lastLayers: n}',
});
const fields = z.record(z.string(), z.unknown());
const schema = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, 'expected a name of letters, digits, "-", "_" and "."'),
  run: fields,
  base: fields.optional(),
  space: z.record(z.string(), axis).refine((axes) => Object.keys(axes).length > 0, 'expected at least one value'),
  search: z
    .union([z.literal('grid'), z.strictObject({ random: z.int().min(1), seed: z.int().min(0).default(1) })])
    .default('grid'),
  stage: z.string().optional(),
  fidelities: z
    .array(
      z.strictObject({
        trainable: trainable.optional(),
        tokens: z.union([z.number(), z.string()]).optional(),
        keep: z.int().min(1).optional(),
      }),
    )
    .min(1),
  eta: z.number().gt(1).default(3),
});

const DEFAULT_POINTS = 8;

/**
 * Checks a search and lists its configs.
 *
 * @param source The recipe, for messages.
 * @throws InputError naming the field; the runs are checked as far as their configs go.
 */
export function planTune(value: unknown, source: string): TunePlan {
  const tune = parseBySchema(schema, value, source);
  const run = tune.run as RunConfigInput;
  const stages = (run.stages ?? []).filter(({ kind }) => kind === 'train');
  const stage = tune.stage ?? stages.at(-1)?.name;
  if (stage === undefined || !stages.some(({ name }) => name === stage))
    throw new InputError(
      `${source}: field "stage": expected a train stage of the run, found ${JSON.stringify(stage)}.`,
    );
  const configs = tune.search === 'grid' ? gridOf(tune.space) : drawn(tune.space, tune.search);
  const fidelities = withCounts(tune.fidelities, configs.length, tune.eta, source);
  const runOf = (config: number, fidelity: number): RunConfigInput => {
    const { trainable: part, tokens } = fidelities[fidelity]!;
    const changed = structuredClone(run);
    const set = (path: string, to: unknown): void => {
      applySetting(changed, `${path}=${JSON.stringify(to)}`);
    };
    for (const [path, to] of Object.entries(configs[config]!)) set(path, to);
    if (part !== undefined) set(`stages.${stage}.trainable`, part);
    if (tokens !== undefined) set(`stages.${stage}.until`, { tokens });
    return changed;
  };
  fidelities.forEach((_fidelity, i) => parseConfig(runOf(0, i), [], `${source}: fidelity ${i + 1}`));
  const { name, space } = tune;
  return { name, base: tune.base as RunConfigInput | undefined, stage, space, configs, fidelities, runOf };
}

const tokenCount = new Intl.NumberFormat('en', { notation: 'compact' });

const TRAINED = { all: 'all layers', added: 'added layers' } as const;

/** A fidelity in words: "last 2 layers, 500K tokens". */
export function fidelityName({ trainable: part, tokens }: Fidelity): string {
  const named = typeof part === 'string' ? TRAINED[part] : 'as configured';
  const layers = typeof part === 'object' ? part.lastLayers : undefined;
  const trained = layers === undefined ? named : layers === 1 ? 'last layer' : `last ${layers} layers`;
  if (tokens === undefined) return trained;
  return `${trained}, ${typeof tokens === 'number' ? tokenCount.format(tokens) : tokens} tokens`;
}

/** How many configs run at each fidelity; the last one's are the result. */
function withCounts(
  fidelities: readonly z.output<typeof schema>['fidelities'][number][],
  configs: number,
  eta: number,
  source: string,
): TunePlan['fidelities'] {
  let left = configs;
  return fidelities.map(({ keep, trainable: part, tokens }, i) => {
    const kept = keep ?? Math.max(1, Math.ceil(left / eta));
    if (kept > left)
      throw new InputError(`${source}: field "fidelities.${i}.keep": expected at most ${left}, found ${kept}.`);
    left = kept;
    return {
      keep: kept,
      ...(part === undefined ? {} : { trainable: part }),
      ...(tokens === undefined ? {} : { tokens }),
    };
  });
}

type Axes = z.output<typeof schema>['space'];

/** Every combination; ranges are cut into points. */
function gridOf(space: Axes): Record<string, string | number | boolean>[] {
  return Object.entries(space).reduce<Record<string, string | number | boolean>[]>(
    (done, [path, values]) => done.flatMap((config) => choices(values).map((value) => ({ ...config, [path]: value }))),
    [{}],
  );
}

function choices(values: Axes[string]): readonly (string | number | boolean)[] {
  if (Array.isArray(values)) return values;
  const count = values.points ?? DEFAULT_POINTS;
  return Array.from({ length: count }, (_, i) => valueAt(values, i / (count - 1)));
}

/** Configs drawn one after the other: more of them begin with the same. */
function drawn(
  space: Axes,
  { random, seed }: { random: number; seed: number },
): Record<string, string | number | boolean>[] {
  const streams = Object.entries(space).map(([path, values]) => {
    const shares = new Float64Array(random);
    new RandomStream(seed, path).fillUniform(shares, 0, 1);
    return { path, values, shares };
  });
  return Array.from({ length: random }, (_, i) =>
    Object.fromEntries(
      streams.map(({ path, values, shares }) => [
        path,
        Array.isArray(values) ? values[Math.floor(shares[i]! * values.length)]! : valueAt(values, shares[i]!),
      ]),
    ),
  );
}

/** The value at a share of a range, to four digits: people read and repeat it. */
function valueAt(range: Exclude<Axes[string], readonly unknown[]>, share: number): number {
  const value =
    'log' in range
      ? range.log[0] * (range.log[1] / range.log[0]) ** share
      : range.linear[0] + (range.linear[1] - range.linear[0]) * share;
  return Number(value.toPrecision(4));
}
