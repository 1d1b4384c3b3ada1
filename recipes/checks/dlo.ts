// The small check of DLO on the novels: node dist/recipes/checks/dlo.js [--out DIR] [--seeds 1,2,3] [--steps 300] [--threads 1]
import { join } from 'node:path';
import { type Dataset, openDataset } from '../../src/data/index.js';
import { readRun, type RunInput, type RunResult, train } from '../../src/index.js';
import { loadModel, PackedForward, type RoutedBranches } from '../../src/infer/index.js';
import { novelShards } from './corpus.js';
import { checkSettings, smallModel, spread, VOCABULARY } from './settings.js';
import { smallRun } from './small-run.js';

const INITS = ['zeros', 'copy', 'linear', 'slerp', 'random'] as const;
const CAPACITIES = [0.9, 0.7, 0.5] as const;
const LAYERS = 6;
const LENGTH = 128;
const PROBES = 64;

const settings = checkSettings({ out: 'runs/checks', steps: 300 });
const data = await novelShards(settings.out, VOCABULARY);
const shallow = { ...smallModel, num_hidden_layers: smallModel.num_hidden_layers / 2 };
/** A fifth of the base's steps, as fine-tuning is short. */
const steps = Math.round(settings.steps / 5);

const grown = (init: (typeof INITS)[number]): RunInput['stages'][number] => ({
  name: 'dlo',
  kind: 'grow',
  operator: 'dlo',
  model: { num_hidden_layers: LAYERS },
  options: { init },
});

/** How many branches a routed model computes on held-out text, by its own decision. */
function branchesOn(dataset: Dataset, folder: string): RoutedBranches {
  using model = loadModel(folder, { threads: settings.threads });
  using forward = new PackedForward(model, { rows: LENGTH, maxLength: LENGTH });
  const ids = new Int32Array(LENGTH);
  const positions = Int32Array.from({ length: LENGTH }, (_, i) => i);
  const runs = [{ first: 0, count: LENGTH, prefixStart: 0, prefixEnd: 0, ownStart: 0, ownLast: 0 }];
  for (let i = 0; i < PROBES; i++) {
    dataset.read(Math.floor((i * (dataset.tokens - LENGTH)) / PROBES), LENGTH, ids);
    forward.run({ ids, positions, runs });
  }
  return forward.branches!;
}

const table = new Map<string, number[]>();
const note = (row: string, value: number): void => {
  console.log(`${row.padEnd(36)} ${value.toFixed(4)}`);
  table.set(row, [...(table.get(row) ?? []), value]);
};

async function runSeed(seed: number): Promise<void> {
  const folder = join(settings.out, 'dlo', `seed-${seed}`);
  const go = (name: string, input: RunInput): Promise<RunResult> =>
    train(input, { out: join(folder, name), threads: settings.threads });
  // The shallow model of Inheritune's check, trained once for both.
  const scratch = smallRun({ name: 'inheritune-check', data, seed, steps: settings.steps, begin: { model: shallow } });
  const base = await train(scratch, {
    out: join(settings.out, 'inheritune', `seed-${seed}`, 'scratch'),
    threads: settings.threads,
  });
  const common = { name: 'dlo-check', data, seed, steps, lr: 2e-3, begin: { from: base.folder } };
  const growBy = async (init: (typeof INITS)[number]): Promise<void> => {
    const run = await go(init, smallRun({ ...common, grow: [grown(init)] }));
    note(`${init}, at growth`, readRun(run.folder).records.growth[0]!.lossAfter!);
    note(init, run.validationLoss!);
  };
  note('base', base.validationLoss!);
  note('base trained on', (await go('dense', smallRun(common))).validationLoss!);
  await growBy('zeros');
  using dataset = openDataset(join(data, 'validation'));
  for (const capacity of CAPACITIES) {
    const route = { name: 'route', kind: 'grow', operator: 'route', model: { num_hidden_layers: LAYERS } } as const;
    const stage = { routing: { capacity, anneal: '50%' } };
    const run = await go(`capacity-${capacity}`, smallRun({ ...common, grow: [grown('zeros'), route], stage }));
    const { computed, all } = branchesOn(dataset, run.folder);
    note(`routed, capacity ${capacity}`, run.validationLoss!);
    note(`routed, capacity ${capacity}, share computed`, computed / all);
  }
  for (const init of INITS) if (init !== 'zeros') await growBy(init);
}

for (const seed of settings.seeds) {
  await runSeed(seed);
  console.log(`seed ${seed} done`);
}
console.log(`\nvalidation losses in nats per token over seeds ${settings.seeds.join(', ')}`);
for (const [row, values] of table) console.log(`${row.padEnd(36)} ${spread(values)}`);
