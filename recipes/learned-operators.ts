import { grid, type Sweep, type SweepCell } from '../src/experiments/sweep/index.js';
import type { RunInput } from '../src/index.js';

/** How learned operators are held against their own beginning and against untrained ones. */
export interface LearnedOperators {
  /** Folder of token shards; the quickstart makes one. */
  readonly data: string;
  readonly seeds?: readonly number[];
  readonly lr?: number;
  /** Learning rate of LiGO's expansion; its authors' 2e-4 hardly moves it in 100 steps. */
  readonly expansionRate?: number;
  /** Steps in which LiGO learns; its authors' 100 would be more than half of what these runs add. */
  readonly expansionSteps?: number;
  /** Multiplies all budgets. */
  readonly scale?: number;
  /** A checkpoint to put predicted layers into, instead of bases trained here: only the losses right after growth count, and LiGO is left out. */
  readonly from?: string;
  /** Its layers. */
  readonly layers?: number;
}

const shape = { hidden_size: 64, num_attention_heads: 4, num_key_value_heads: 4, head_dim: 16, intermediate_size: 176 };
const narrow = { hidden_size: 32, num_attention_heads: 2, num_key_value_heads: 2, intermediate_size: 88 };
const DEEP = 12;
const SEQUENCE = 256;
const BATCH = 2048;
const warmup = 20;

/** FLOPs of each comparison: its base, and what each run adds to it, learning included. */
const budgets = { lesa: { before: 1.5e12, after: 5e11 }, ligo: { before: 1e12, after: 1.2e12 } };

interface Arm {
  readonly name: string;
  readonly operator: string;
  readonly options?: Readonly<Record<string, unknown>>;
}

/** One new layer in each of the topmost gaps of a model: predicted, the mean of its neighbours, a copy of the one below, and a copy that adds nothing. */
export function insertedLayers(count: number, target: number): readonly Arm[] {
  const first = count - 1 - (target - count);
  const doubled = Array.from({ length: target - count }, (_, i) => [first + i, first + i + 2]);
  const ranges = [[0, first + 1], ...doubled];
  return [
    { name: 'lesa', operator: 'lesa' },
    { name: 'average', operator: 'average' },
    { name: 'copy', operator: 'dlo', options: { arrangement: 'manual', ranges, init: 'copy' } },
    { name: 'identity', operator: 'dlo', options: { arrangement: 'manual', ranges, init: 'zeros' } },
  ];
}

/**
 * LESA beside untrained layers at the same places; LiGO beside its own beginning and beside `stack` and `direct-width`.
 *
 * Held-out losses stand in each run's records: right after growth (`growth`, `lossAfter`), and at equal FLOPs, learning included, after a cooldown.
 */
export function learnedOperators(setup: LearnedOperators): Sweep {
  const { data, seeds = [1, 2, 3], lr = 4e-3, scale = 1, from, layers = 8 } = setup;
  const common = (seed: number): Omit<RunInput, 'name' | 'stages'> => ({
    seed,
    data: { train: data, sequenceLength: SEQUENCE, batchTokens: BATCH },
    validation: { every: 50, tokens: 65536 },
    checkpoints: { every: 1000, keepLast: 1 },
  });
  const train = (until: { flops: number } | { steps: number }) => {
    const schedule = 'steps' in until ? ({ kind: 'constant', warmup: 0 } as const) : ({ kind: 'wsd', warmup } as const);
    return { name: 'target', kind: 'train', until, optimizer: { lr }, schedule } as const;
  };
  const { expansionRate: learningRate = 0.01, expansionSteps: steps = 50 } = setup;
  const ligo = { learningRate, steps };
  const depthArms: readonly Arm[] = [
    { name: 'stack', operator: 'stack' },
    { name: 'ligo-depth', operator: 'ligo-depth', options: ligo },
  ];
  const widthArms: readonly Arm[] = [
    { name: 'direct-width', operator: 'direct-width' },
    { name: 'ligo-width-untrained', operator: 'ligo-width', options: { ...ligo, steps: 0 } },
    { name: 'ligo-width', operator: 'ligo-width', options: ligo },
  ];
  const cell = (
    { name, operator, options = {} }: Arm,
    seed: number,
    model: Record<string, number>,
    until: { flops: number } | { steps: number },
    start: { base: string } | { from: string },
  ): SweepCell => ({
    name: `${name}-seed${seed}`,
    coordinates: { operator: name, seed },
    ...('base' in start ? start : {}),
    run: {
      ...common(seed),
      ...('from' in start ? start : {}),
      name,
      stages: [{ name: 'grow', kind: 'grow', operator, model, options: { seed, ...options } }, train(until)],
    },
  });
  if (from !== undefined) {
    const target = layers + Math.floor(layers / 2);
    const arms = grid({ arm: insertedLayers(layers, target), seed: seeds });
    return {
      name: 'learned-operators',
      cells: arms.map(({ arm, seed }) => cell(arm, seed, { num_hidden_layers: target }, { steps: 1 }, { from })),
    };
  }
  const target = { ...shape, num_hidden_layers: DEEP };
  const compared = [
    { base: 'lesa-base', model: { num_hidden_layers: layers }, arms: insertedLayers(layers, DEEP), ...budgets.lesa },
    { base: 'depth-base', model: { num_hidden_layers: 3 }, arms: depthArms, ...budgets.ligo },
    { base: 'width-base', model: narrow, arms: widthArms, ...budgets.ligo },
  ].map((one) => ({ ...one, flops: { base: scale * one.before, all: scale * (one.before + one.after) } }));
  const points = grid({ compared, seed: seeds });
  return {
    name: 'learned-operators',
    bases: Object.fromEntries(
      points.map(({ compared: { base, model, flops }, seed }): [string, RunInput] => [
        `${base}-seed${seed}`,
        {
          ...common(seed),
          name: base,
          model: { ...target, ...model },
          stages: [{ ...train({ flops: flops.base }), name: 'base', schedule: { kind: 'constant', warmup } }],
        },
      ]),
    ),
    cells: points.flatMap(({ compared: { base, arms, flops }, seed }) =>
      arms.map((arm) => cell(arm, seed, target, { flops: flops.all }, { base: `${base}-seed${seed}` })),
    ),
  };
}

export default (): Sweep => learnedOperators({ data: 'runs/quickstart/data' });
