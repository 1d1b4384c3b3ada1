// The small check of reference models on noisy novels: node dist/recipes/checks/reference-models.js [--out DIR] [--seeds 1,2,3] [--threads 1]
import { join } from 'node:path';
import { type RunResult, train } from '../../src/index.js';
import { scoreData } from '../../src/train/index.js';
import { Scores } from '../../src/train/objective/scores.js';
import { type Arm, arms, referenceRun, targetRun } from '../reference-models.js';
import { noisyNovels, NOISE } from './noisy-novels.js';
import { checkSettings, spread } from './settings.js';

const BUDGETS = [1e10, 2e10, 4e10, 8e10];
/** Arms that run at every budget; the others at the largest. */
const SCALED: readonly Arm[] = ['plain', 'kl-1'];
const LENGTH = 64;

const settings = checkSettings({ out: 'runs/checks', steps: 1 });
const text = await noisyNovels(join(settings.out, 'noisy'));

/** Mean losses of a model on each sequence of a probe. */
async function sequenceLosses(checkpoint: string, data: string, out: string): Promise<number[]> {
  await scoreData({ reference: checkpoint, data, out, sequenceLength: LENGTH, threads: settings.threads });
  using scores = new Scores(out);
  const losses = new Float32Array(LENGTH);
  return Array.from({ length: scores.index.sequences }, (_, i) => {
    scores.read(i, losses);
    return losses.reduce((sum, loss) => sum + loss, 0) / LENGTH;
  });
}

/** Mean weight at tau 1 that a target would give to noise now, in units of the mean weight of the mixture. */
async function noiseWeight(target: RunResult, reference: RunResult): Promise<number> {
  const mean = async (probe: 'clean' | 'noise'): Promise<number> => {
    const at = (run: RunResult) => sequenceLosses(run.folder, text[probe], join(run.folder, 'scores', probe));
    const [losses, before] = [await at(target), await at(reference)];
    return losses.reduce((sum, loss, i) => sum + Math.exp(loss - before[i]!), 0) / losses.length;
  };
  const [clean, noise] = [await mean('clean'), await mean('noise')];
  return noise / (NOISE * noise + (1 - NOISE) * clean);
}

const table = new Map<string, number[]>();
const note = (row: string, value: number): void => void table.set(row, [...(table.get(row) ?? []), value]);

for (const seed of settings.seeds) {
  const folder = join(settings.out, 'reference-models', `seed-${seed}`);
  const options = (name: string) => ({ out: join(folder, name), threads: settings.threads });
  const reference = await train(referenceRun(text.data, seed), options('reference'));
  note('reference', reference.validationLoss!);
  for (const arm of Object.keys(arms) as Arm[])
    for (const flops of SCALED.includes(arm) ? BUDGETS : BUDGETS.slice(-1)) {
      const name = `${arm}-${flops.toExponential(1)}`;
      const run = await train(targetRun(text.data, arm, flops, seed, reference.folder), options(name));
      note(name, run.validationLoss!);
      const weight = SCALED.includes(arm) ? await noiseWeight(run, reference) : undefined;
      if (weight !== undefined) note(`${name}, weight of noise`, weight);
      const ends = weight === undefined ? '' : `, weight of noise ${weight.toFixed(3)}`;
      console.log(`seed ${seed}: ${name.padEnd(22)} clean validation loss ${run.validationLoss!.toFixed(4)}${ends}`);
    }
}
console.log(`\nover seeds ${settings.seeds.join(', ')}`);
for (const [row, values] of table) console.log(`${row.padEnd(40)} ${spread(values)}`);
console.log(
  "\nThe exponents: strata compare --baseline 'OUT/reference-models/seed-*/plain-*' --grown 'OUT/reference-models/seed-*/kl-1-*' --exponents",
);
