import { grid, type Sweep, type SweepCell } from '../src/experiments/sweep/index.js';
import type { RunInput } from '../src/index.js';

/** Exact FLOPs of each run, the base included. */
export const OPERATORS_BUDGET = 5e12;
/** Share of the budget that the base gets. */
const BASE_SHARE = 0.1;
const HEAD_SIZE = 16;

/** The target: 12 layers of width 64, 0.6 million parameters without embeddings. */
const target = {
  hidden_size: 64,
  num_hidden_layers: 12,
  num_attention_heads: 4,
  num_key_value_heads: 4,
  head_dim: HEAD_SIZE,
  intermediate_size: 176,
};
const half = { hidden_size: 32, num_attention_heads: 2, num_key_value_heads: 2, intermediate_size: 88 };

/** What is grown: a quarter or two thirds of the layers, half of the width, half of both. */
const bases = {
  'quarter-depth': { num_hidden_layers: 3 },
  'two-thirds-depth': { num_hidden_layers: 8 },
  'half-width': half,
  'half-both': { ...half, num_hidden_layers: 6 },
} as const;
type Base = keyof typeof bases;

/** An operator under comparison. */
interface Arm {
  readonly operator: string;
  readonly base: Base;
  readonly options?: Readonly<Record<string, unknown>>;
  readonly optimizerState?: 'fresh' | 'copy' | 'grow-linear' | 'pad-zero';
}

/** The eight atomic operators of Du et al. 2024 (arXiv 2405.15319): each direction, each way of making what is new. */
const atomic: readonly Arm[] = [
  { operator: 'stack', base: 'quarter-depth' },
  { operator: 'direct-width', base: 'half-width' },
  { operator: 'zero-depth', base: 'quarter-depth' },
  { operator: 'zero-width', base: 'half-width' },
  { operator: 'random-depth', base: 'quarter-depth' },
  { operator: 'random-width', base: 'half-width' },
  { operator: 'ligo-depth', base: 'quarter-depth', options: { learningRate: 0.01 } },
  { operator: 'ligo-width', base: 'half-width', options: { learningRate: 0.01 } },
];

/** Published methods beside them, each from the base that it reaches the target from. */
const methods: readonly Arm[] = [
  { operator: 'interpolate', base: 'quarter-depth' },
  { operator: 'midas', base: 'two-thirds-depth', options: { block: 4 } },
  { operator: 'expand', base: 'quarter-depth' },
  { operator: 'gradual-top', base: 'two-thirds-depth' },
  { operator: 'solar', base: 'two-thirds-depth' },
  { operator: 'block-expansion', base: 'two-thirds-depth', options: { groups: 4 } },
  { operator: 'dlo', base: 'two-thirds-depth' },
  { operator: 'average', base: 'two-thirds-depth' },
  { operator: 'opt-deus', base: 'two-thirds-depth' },
  { operator: 'lesa', base: 'two-thirds-depth' },
  { operator: 'fpi', base: 'half-width' },
  { operator: 'aki', base: 'half-width' },
  { operator: 'hypercloning', base: 'half-width' },
  { operator: 'lemon', base: 'half-width' },
  { operator: 'staged-width', base: 'half-width', optimizerState: 'pad-zero' },
  { operator: 'mean-field', base: 'half-width' },
  { operator: 'szp', base: 'half-width' },
  { operator: 'sparkling', base: 'half-width', optimizerState: 'pad-zero' },
  { operator: 'mup-width', base: 'half-width' },
  { operator: 'ligo', base: 'half-both', options: { learningRate: 0.01 } },
  { operator: 'staged', base: 'half-both', optimizerState: 'pad-zero' },
  { operator: 'msg', base: 'half-both', optimizerState: 'pad-zero' },
  { operator: 'aki-pro', base: 'half-both' },
];

/** How the comparison is set up. */
export interface CompareOperators {
  /** Folder of token shards; the quickstart makes one. */
  readonly data: string;
  readonly lr?: number;
  /** Seeds of the eight atomic operators and of scratch. */
  readonly seeds?: readonly number[];
  /** Methods that get all seeds, because their first result lies within the spread of the eight. */
  readonly again?: readonly string[];
  readonly budget?: number;
}

/**
 * The same small bases, grown by every operator and trained to the same FLOPs, beside the target from scratch at half, one and two budgets, and beside
 * the quarter of its layers from scratch at one: what growth has to beat where the target is too large for the budget.
 *
 * Every run ends with a cooldown, so that its last loss counts. One learning rate serves all arms: the best of scratch at one budget with a seed
 * of its own, of 2e-3 (4.668 nats per token), 4e-3 (4.559), 8e-3 (4.525) and 1.6e-2 (4.646).
 */
export function compareOperators(setup: CompareOperators): Sweep {
  const { data, lr = 8e-3, seeds = [1, 2, 3], again = [], budget = OPERATORS_BUDGET } = setup;
  const common = (seed: number): Omit<RunInput, 'name' | 'stages'> => ({
    seed,
    data: { train: data, sequenceLength: 256, batchTokens: 2048 },
    validation: { every: 20, tokens: 32768 },
    checkpoints: { every: 100, keepLast: 1 },
  });
  const train = (flops: number) =>
    ({
      name: 'target',
      kind: 'train',
      until: { flops },
      optimizer: { lr },
      schedule: { kind: 'wsd', warmup: 20 },
    }) as const;
  const scratch = grid({ seed: seeds, factor: [0.5, 1, 2] }).map(
    ({ seed, factor }): SweepCell => ({
      name: `scratch-x${factor}-seed${seed}`,
      coordinates: { operator: 'scratch', seed, budget: factor * budget },
      run: { ...common(seed), name: 'scratch', model: target, stages: [train(factor * budget)] },
    }),
  );
  const small = seeds.map(
    (seed): SweepCell => ({
      name: `scratch-3-layers-seed${seed}`,
      coordinates: { operator: 'scratch-3-layers', seed, budget },
      run: {
        ...common(seed),
        name: 'scratch-3-layers',
        model: { ...target, ...bases['quarter-depth'] },
        stages: [train(budget)],
      },
    }),
  );
  const arm = ({ operator, base, options, optimizerState = 'fresh' }: Arm, seed: number): SweepCell => ({
    name: `${operator}-seed${seed}`,
    base: `${base}-seed${seed}`,
    coordinates: { operator, seed, budget },
    run: {
      ...common(seed),
      name: operator,
      stages: [
        { name: 'grow', kind: 'grow', operator, model: target, options: { ...options }, optimizerState },
        train(budget),
      ],
    },
  });
  const grown = [
    ...grid({ arm: atomic, seed: seeds }),
    ...methods.flatMap((method) =>
      (again.includes(method.operator) ? seeds : seeds.slice(0, 1)).map((seed) => ({ arm: method, seed })),
    ),
  ].map(({ arm: one, seed }) => arm(one, seed));
  const needed = new Set(grown.map(({ base }) => base));
  const baseRuns = grid({ base: Object.keys(bases) as Base[], seed: seeds })
    .filter(({ base, seed }) => needed.has(`${base}-seed${seed}`))
    .map(({ base, seed }): [string, RunInput] => [
      `${base}-seed${seed}`,
      {
        ...common(seed),
        name: base,
        model: { ...target, ...bases[base] },
        stages: [
          {
            ...train(BASE_SHARE * budget),
            name: 'base',
            schedule: { kind: 'constant', warmup: 20 },
          },
        ],
      },
    ]);
  return { name: 'compare-operators', bases: Object.fromEntries(baseRuns), cells: [...scratch, ...small, ...grown] };
}

export default (): Sweep => compareOperators({ data: 'runs/quickstart/data', again: ['interpolate', 'midas'] });
