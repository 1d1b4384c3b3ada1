// The small check of frozen layers as a fidelity, on the novels: node dist/recipes/checks/frozen-layers.js [--out DIR] [--seeds 1,2,3] [--steps 60] [--threads 1]
import { join } from 'node:path';
import { measuredCost, spearman } from '../../src/experiments/tune/index.js';
import { train } from '../../src/index.js';
import { novelShards } from './corpus.js';
import { checkSettings, smallModel, spread, VOCABULARY } from './settings.js';

const RATES = [3e-4, 1e-3, 3e-3, 6e-3, 1e-2, 3e-2];
const LAYERS = smallModel.num_hidden_layers;
const TRAINED = [1, 2, 4, LAYERS];
const BATCH_TOKENS = 1024;

const settings = checkSettings({ out: 'runs/checks', steps: 60 });
const data = await novelShards(settings.out, VOCABULARY);
const rhos = new Map<number, number[]>();
const best = new Map<number, number[]>();
const add = (table: Map<number, number[]>, z: number, value: number): void =>
  void table.set(z, [...(table.get(z) ?? []), value]);

for (const seed of settings.seeds) {
  const losses = new Map<number, number[]>();
  const costs = new Map<number, ReturnType<typeof measuredCost>>();
  for (const z of TRAINED)
    for (const lr of RATES) {
      const run = await train(
        {
          ...{ name: `z${z}-${lr}`, seed },
          // Untied, so that the head is not the embedding and belongs to the last layers.
          model: { ...smallModel, tie_word_embeddings: false },
          data: { train: data, sequenceLength: 128, batchTokens: BATCH_TOKENS },
          validation: { every: 100000, tokens: 32768 },
          checkpoints: { every: 100000, keepLast: 1 },
          nonFinite: 'skip',
          stages: [
            {
              ...{ name: 'train', kind: 'train', until: { steps: settings.steps }, optimizer: { lr } },
              ...(z === LAYERS ? {} : { trainable: { lastLayers: z } }),
            },
          ],
        },
        { out: join(settings.out, 'frozen-layers', `seed-${seed}`, `z${z}-${lr}`), threads: settings.threads },
      );
      losses.set(z, [...(losses.get(z) ?? []), run.validationLoss ?? NaN]);
      costs.set(z, measuredCost(run.folder, 'train'));
    }
  const full = losses.get(LAYERS)!;
  const cost = costs.get(LAYERS)!;
  console.log(`seed ${seed}: losses over rates ${RATES.join(' ')}`);
  for (const z of TRAINED) {
    const own = losses.get(z)!;
    const rho = spearman(own, full);
    const rate = RATES[own.indexOf(Math.min(...own))]!;
    add(rhos, z, rho);
    add(best, z, rate);
    const { flopsPerToken = NaN, secondsPerToken = NaN, forecastBytes = NaN, countedBytes = NaN } = costs.get(z) ?? {};
    console.log(
      `  z=${z}  ${own.map((loss) => loss.toFixed(3)).join(' ')}  best ${rate}  Spearman ${rho.toFixed(3)}  ` +
        `FLOPs ${(flopsPerToken / cost.flopsPerToken).toFixed(3)}  time ${(secondsPerToken / cost.secondsPerToken!).toFixed(3)}  ` +
        `bytes ${(countedBytes / 1e6).toFixed(2)} MB of ${(forecastBytes / 1e6).toFixed(2)} MB forecast`,
    );
  }
}
console.log(`\nover seeds ${settings.seeds.join(', ')}`);
for (const z of TRAINED)
  console.log(`z=${z}  Spearman with all layers ${spread(rhos.get(z)!)}  best rates ${best.get(z)!.join(' ')}`);
