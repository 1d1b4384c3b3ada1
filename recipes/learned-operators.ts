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
  /** A checkpoint to put predicted layers into, instead of bases trained here; LiGO is left out. */
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

/** FLOPs: of each base, and of each run of a comparison, base and learning included. */
const budgets = { base: 3e12, depth: 4.5e12, width: 5.5e12 };

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
  const { data, seeds = [1, 2, 3], lr = 4e-3, expansionRate = 0.01, from, layers = 8 } = setup;
  const common = (seed: number): Omit<RunInput, 'name' | 'stages'> => ({
    seed,
    data: { train: data, sequenceLength: SEQUENCE, batchTokens: BATCH },
    validation: { every: 50, tokens: 65536 },
    checkpoints: { every: 1000, keepLast: 1 },
  });
  const train = (until: { flops: number } | { steps: number }) =>
    ({ name: 'target', kind: 'train', until, optimizer: { lr }, schedule: { kind: 'wsd', warmup } }) as const;
  const ligo = { learningRate: expansionRate };
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
      cells: arms.map(({ arm, seed }) => cell(arm, seed, { num_hidden_layers: target }, { steps: 100 }, { from })),
    };
  }
  const bases = {
    'lesa-base': { ...shape, num_hidden_layers: layers },
    'depth-base': { ...shape, num_hidden_layers: 3 },
    'width-base': { ...shape, ...narrow, num_hidden_layers: DEEP },
  };
  const target = { ...shape, num_hidden_layers: DEEP };
  const compared = [
    { base: 'lesa-base', arms: insertedLayers(layers, DEEP), flops: budgets.depth },
    { base: 'depth-base', arms: depthArms, flops: budgets.width },
    { base: 'width-base', arms: widthArms, flops: budgets.width },
  ];
  return {
    name: 'learned-operators',
    bases: Object.fromEntries(
      grid({ base: Object.entries(bases), seed: seeds }).map(({ base: [name, model], seed }): [string, RunInput] => [
        `${name}-seed${seed}`,
        {
          ...common(seed),
          name,
          model,
          stages: [{ ...train({ flops: budgets.base }), name: 'base', schedule: { kind: 'constant', warmup } }],
        },
      ]),
    ),
    cells: grid({ compared, seed: seeds }).flatMap(({ compared: { base, arms, flops }, seed }) =>
      arms.map((arm) => cell(arm, seed, target, { flops }, { base: `${base}-seed${seed}` })),
    ),
  };
}

export default (): Sweep => learnedOperators({ data: 'runs/quickstart/data' });
