// The small check of Inheritune on the novels: node dist/recipes/checks/inheritune.js [--out DIR] [--seeds 1,2,3] [--steps 300] [--threads 1]
import { join } from 'node:path';
import { measureAttention } from '../../src/eval/index.js';
import { openDataset, type RunInput, type RunResult, train } from '../../src/index.js';
import { loadModel } from '../../src/infer/index.js';
import { novelShards } from './corpus.js';
import { checkSettings, smallModel, spread, VOCABULARY } from './settings.js';
import { smallRun } from './small-run.js';

const ARMS = ['inherit first', 'inherit last', 'scratch', 'scratch, twice the steps'] as const;
const HALF = smallModel.num_hidden_layers / 2;

const settings = checkSettings({ out: 'runs/checks', steps: 300 });
const data = await novelShards(settings.out, VOCABULARY);

const inherit = (keep: 'first' | 'last'): RunInput['stages'] => [
  { name: 'inherit', kind: 'grow', operator: 'inherit', model: { num_hidden_layers: HALF }, options: { keep } },
];

async function runSeed(seed: number): Promise<Record<string, number>> {
  const folder = join(settings.out, 'inheritune', `seed-${seed}`);
  const go = (name: string, input: RunInput): Promise<RunResult> =>
    train(input, { out: join(folder, name), threads: settings.threads });
  const { steps } = settings;
  const run = (count: number, begin: Partial<RunInput>, grow: RunInput['stages'] = []): RunInput =>
    smallRun({ data, name: 'inheritune-check', seed, steps: count, begin, grow });
  const reference = await go('reference', run(steps, {}));
  const shallow = { model: { ...smallModel, num_hidden_layers: HALF } };
  const from = { from: reference.folder };
  const results: Record<(typeof ARMS)[number], RunResult> = {
    'inherit first': await go('first', run(steps, from, inherit('first'))),
    'inherit last': await go('last', run(steps, from, inherit('last'))),
    scratch: await go('scratch', run(steps, shallow)),
    'scratch, twice the steps': await go('scratch-twice', run(2 * steps, shallow)),
  };
  using dataset = openDataset(join(data, 'validation'));
  using model = loadModel(reference.folder, { threads: settings.threads });
  const attention = await measureAttention(model, dataset);
  const ranks = attention.layers.map(({ maxRank }) => maxRank.toFixed(1)).join(' ');
  console.log(`seed ${seed}: max rank of the reference's layers ${ranks}`);
  const losses = { reference, ...results };
  for (const [name, { validationLoss, flops }] of Object.entries(losses))
    console.log(`seed ${seed}: ${name.padEnd(25)} ${validationLoss?.toFixed(4)}  ${flops.toExponential(3)} FLOPs`);
  return Object.fromEntries(Object.entries(losses).map(([name, { validationLoss }]) => [name, validationLoss ?? NaN]));
}

const all: Record<string, number>[] = [];
for (const seed of settings.seeds) all.push(await runSeed(seed));
console.log(`\n${settings.seeds.length} seeds, validation loss in nats per token`);
for (const name of ['reference', ...ARMS])
  console.log(`${name.padEnd(25)} ${spread(all.map((losses) => losses[name] ?? NaN))}`);
for (const name of ['inherit last', 'scratch', 'scratch, twice the steps'])
  console.log(
    `inherit first less ${name}: ${spread(all.map((losses) => (losses['inherit first'] ?? NaN) - (losses[name] ?? NaN)))}`,
  );
