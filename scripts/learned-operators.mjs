// `node scripts/learned-operators.mjs [OUT]`: learned growth operators against their own beginning and against untrained ones, on held-out text.
// Makes the quickstart's data where they are missing, runs recipes/learned-operators.ts, prints a table; the same command goes on where it stopped.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { main, root, setup, SetupError } from './setup.mjs';

const out = process.argv[2] ?? join('runs', 'learned-operators');
const data = join('runs', 'quickstart', 'data');
const corpus = (file) => join(root, 'corpora', 'novels-small', file);

function strata(...args) {
  const { status } = spawnSync(process.execPath, [join(root, 'dist/src/cli/main.js'), ...args], { stdio: 'inherit' });
  if (status === 130) process.exit(130);
  if (status !== 0) throw new SetupError(`strata ${args[0]} failed.`);
}

function prepareData() {
  const tokenizer = join('runs', 'quickstart', 'tokenizer.json');
  if (!existsSync(tokenizer))
    strata('tokenizer', 'train', corpus('train.jsonl.gz'), '--vocab-size', '2048', '--out', tokenizer);
  strata(
    ...['data', 'build', corpus('train.jsonl.gz'), '--val', corpus('validation.jsonl.gz')],
    ...['--tokenizer', tokenizer, '--out', data, '--quiet'],
  );
}

const recordsOf = (name) =>
  readFileSync(join(out, name, 'records.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

/** Mean and standard deviation over seeds. */
function spread(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const deviation = values.length > 1 ? ` ± ${Math.sqrt(squares / (values.length - 1)).toFixed(4)}` : '';
  return `${mean.toFixed(4)}${deviation}`;
}

function table() {
  const arms = new Map();
  for (const line of readFileSync(join(out, 'sweep.jsonl'), 'utf8').trimEnd().split('\n')) {
    const { run, role, status, coordinates, startsFrom } = JSON.parse(line);
    if (status !== 'done' || role === 'base') continue;
    const records = recordsOf(run);
    const growth = records.find(({ kind }) => kind === 'growth');
    const base = startsFrom && recordsOf(startsFrom).findLast(({ kind }) => kind === 'validation');
    const last = records.findLast(({ kind }) => kind === 'validation');
    const prepare = records.find(({ kind, name }) => kind === 'event' && name === 'prepare');
    const arm = arms.get(coordinates.operator) ?? [];
    arm.push({
      base: base?.loss,
      after: growth.lossAfter,
      final: last.loss,
      learning: Number(prepare?.flopsExact ?? 0),
    });
    arms.set(coordinates.operator, arm);
  }
  const rows = [['operator', 'seeds', 'base', 'after growth', 'at equal FLOPs', 'FLOPs of learning']];
  for (const [name, seeds] of arms)
    rows.push([
      name,
      String(seeds.length),
      seeds.some(({ base }) => base === undefined) ? '-' : spread(seeds.map(({ base }) => base)),
      spread(seeds.map(({ after }) => after)),
      spread(seeds.map(({ final }) => final)),
      (seeds[0].learning || 0).toExponential(2),
    ]);
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  for (const row of rows)
    console.log(
      row
        .map((text, i) => text.padEnd(widths[i]))
        .join('  ')
        .trimEnd(),
    );
}

await main(async () => {
  await setup();
  prepareData();
  strata('sweep', join(root, 'recipes', 'learned-operators.ts'), '--out', out);
  table();
});
