// The small check of Inheritune on the novels: node dist/recipes/checks/inheritune.js [--out DIR] [--seeds 1,2,3] [--steps 300] [--threads 1]
import { join } from 'node:path';
import { measureAttention } from '../../src/eval/index.js';
import { type RunInput, type RunResult, openDataset, train } from '../../src/index.js';
import { loadModel } from '../../src/infer/index.js';
import { commonFields } from '../stackbert.js';
import { novelShards } from './corpus.js';
import { checkSettings, smallModel, spread, VOCABULARY } from './settings.js';

const ARMS = ['inherit first', 'inherit last', 'scratch', 'scratch, twice the steps'] as const;
const HALF = smallModel.num_hidden_layers / 2;
const LR = 4e-3;

const settings = checkSettings({ out: 'runs/checks', steps: 300 });
const data = await novelShards(settings.out, VOCABULARY);

/** A run of a stage that trains, after `inherit` where it begins with a reference. */
function runOf(seed: number, steps: number, begin: Partial<RunInput>, grow: RunInput['stages'] = []): RunInput {
  const common = commonFields(
    { data, model: smallModel, steps, seed, sequenceLength: 128, batchTokens: 2048 },
    'inheritune-check',
  );
  const { model, ...fields } = common;
  const schedule = { kind: 'cosine', warmup: '5%', floor: 0.05 } as const;
  return {
    ...fields,
    checkpoints: { every: steps, keepLast: 1 },
    validation: { every: steps, tokens: 65536 },
    ...('from' in begin ? {} : { model }),
    ...begin,
    stages: [...grow, { name: 'train', kind: 'train', until: { steps }, optimizer: { lr: LR }, schedule }],
  } as RunInput;
}

const inherit = (keep: 'first' | 'last'): RunInput['stages'] => [
  { name: 'inherit', kind: 'grow', operator: 'inherit', model: { num_hidden_layers: HALF }, options: { keep } },
];

async function runSeed(seed: number): Promise<Record<string, number>> {
  const folder = join(settings.out, 'inheritune', `seed-${seed}`);
  const go = (name: string, input: RunInput): Promise<RunResult> =>
    train(input, { out: join(folder, name), threads: settings.threads });
  const { steps } = settings;
  const reference = await go('reference', runOf(seed, steps, {}));
  const shallow = { model: { ...smallModel, num_hidden_layers: HALF } };
  const from = { from: reference.folder };
  const results: Record<(typeof ARMS)[number], RunResult> = {
    'inherit first': await go('first', runOf(seed, steps, from, inherit('first'))),
    'inherit last': await go('last', runOf(seed, steps, from, inherit('last'))),
    scratch: await go('scratch', runOf(seed, steps, shallow)),
    'scratch, twice the steps': await go('scratch-twice', runOf(seed, 2 * steps, shallow)),
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
