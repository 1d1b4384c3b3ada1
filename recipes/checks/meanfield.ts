// The small check of the mean-field ansatz on the novels: node dist/recipes/checks/meanfield.js [--out DIR] [--seeds 1,2,3] [--steps 300] [--threads 1]
import { join } from 'node:path';
import { compareMeanField, type MeanFieldReport } from '../../src/eval/index.js';
import { readRun, type RunInput, type RunResult, train } from '../../src/index.js';
import { novelShards } from './corpus.js';
import { checkSettings, smallModel, spread, VOCABULARY } from './settings.js';
import { smallRun } from './small-run.js';

const settings = checkSettings({ out: 'runs/checks', steps: 300 });
const data = await novelShards(settings.out, VOCABULARY);
const wide = { ...smallModel, num_hidden_layers: smallModel.num_hidden_layers / 2 };
const narrow = { ...wide, hidden_size: 32, num_attention_heads: 2, intermediate_size: 88 };

const table = new Map<string, number[]>();
const note = (row: string, value: number): void => void table.set(row, [...(table.get(row) ?? []), value]);

/** Ways to another width, each measured right after growth: half as wide again, and half as wide. */
const GROWTHS = {
  'to 3/2, fpi': { operator: 'fpi', options: { faithful: true }, factor: 1.5 },
  'to 3/2, sampling': { operator: 'mean-field', options: { faithful: true, scale: 'sampling' }, factor: 1.5 },
  'to 3/2, counts': { operator: 'mean-field', options: { faithful: true, scale: 'count' }, factor: 1.5 },
  'to 1/2, iid': { operator: 'mean-field', options: { faithful: true, map: 'iid' }, factor: 0.5 },
  'to 1/2, first units': { operator: 'mean-field', options: { faithful: true, map: 'tile' }, factor: 0.5 },
} as const;

async function runSeed(seed: number): Promise<void> {
  const folder = join(settings.out, 'meanfield', `seed-${seed}`);
  const go = (out: string, input: RunInput): Promise<RunResult> => train(input, { out, threads: settings.threads });
  const begun = (model: object, steps: number) =>
    smallRun({ name: 'meanfield-check', data, seed, steps, begin: { model: { ...model } } });
  // The shallow model of Inheritune's check, trained once for both.
  const base = await go(
    join(settings.out, 'inheritune', `seed-${seed}`, 'scratch'),
    smallRun({ name: 'inheritune-check', data, seed, steps: settings.steps, begin: { model: wide } }),
  );
  const small = await go(join(folder, 'narrow'), begun(narrow, settings.steps));
  noteReport('trained', compareMeanField(small.folder, base.folder));
  // One step is nearly no training: what the initialisation alone looks like.
  const [drawnNarrow, drawnWide] = [
    await go(join(folder, 'drawn-narrow'), begun(narrow, 1)),
    await go(join(folder, 'drawn-wide'), begun(wide, 1)),
  ];
  noteReport('drawn', compareMeanField(drawnNarrow.folder, drawnWide.folder));
  note('loss of the wide model', base.validationLoss!);
  for (const [name, { operator, options, factor }] of Object.entries(GROWTHS)) {
    const model = {
      hidden_size: 64 * factor,
      num_attention_heads: 4 * factor,
      num_key_value_heads: 4 * factor,
      intermediate_size: 176 * factor,
    };
    const grow = [{ name: 'grow', kind: 'grow', operator, options, model }] as RunInput['stages'];
    const run = smallRun({
      name: 'meanfield-check',
      data,
      seed,
      steps: 1,
      lr: 1e-6,
      begin: { from: base.folder },
      grow,
    });
    const { folder: made } = await go(join(folder, name.replaceAll(/[^a-z0-9]+/g, '-')), run);
    note(`${name}: loss at growth`, readRun(made).records.growth[0]!.lossAfter!);
  }
}

function noteReport(what: string, report: MeanFieldReport): void {
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const { spreads, shared } = report;
  note(`${what}: cosine of spreads`, report.meanCosine);
  note(`${what}: cosine of spreads, entries shuffled`, report.meanControl);
  note(`${what}: dispersion, narrow`, mean(spreads.map(({ dispersion }) => dispersion.a)));
  note(`${what}: dispersion, wide`, mean(spreads.map(({ dispersion }) => dispersion.b)));
  note(`${what}: dispersion, shuffled`, mean(spreads.map(({ dispersion }) => dispersion.control)));
  note(`${what}: correlation along shared axes, narrow`, mean(shared.map(({ a }) => a)));
  note(`${what}: correlation along shared axes, wide`, mean(shared.map(({ b }) => b)));
  note(`${what}: correlation along shared axes, units shuffled`, mean(shared.map(({ control }) => control)));
  note(`${what}: agreement of the patterns`, report.patternAgreement);
  note(`${what}: agreement with the shuffled pattern`, report.patternControl);
}

for (const seed of settings.seeds) {
  await runSeed(seed);
  console.log(`seed ${seed} done`);
}
console.log(`\nover seeds ${settings.seeds.join(', ')}`);
for (const [row, values] of table) console.log(`${row.padEnd(60)} ${spread(values)}`);
