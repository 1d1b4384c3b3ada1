// `npm run check:lm-eval`: an unmodified lm_eval, as a client of `strata serve`, gives the numbers of `strata eval`.
//   node scripts/check-lm-eval.mjs [--model FOLDER] [--tasks a,b] [--limit N] [--num-fewshot K] [--add-bos]
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { root, say, setup, SetupError } from './setup.mjs';

/** Absolute, in nats per request; relative for whole pages. */
const TOLERANCE = 1e-3;
const PAGE_TOLERANCE = 1e-6;
const COMMAND = join(root, 'dist', 'src', 'cli', 'main.js');

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: join(root, 'test', 'fixtures', 'models', 'stories260K') },
    tasks: { type: 'string', default: 'lambada_openai,arc_challenge,arc_easy,logiqa,piqa,sciq,winogrande,wikitext' },
    limit: { type: 'string', default: '20' },
    'num-fewshot': { type: 'string', default: '0' },
    'add-bos': { type: 'boolean', default: false },
  },
});
const SHOTS = values['num-fewshot'];
/** WikiText has no questions. */
const NAMES = values.tasks.split(',').filter((name) => SHOTS === '0' || name !== 'wikitext');
const BOS = values['add-bos'];

async function main() {
  await setup();
  const data = process.env.STRATA_EVAL_DATA;
  if (data === undefined || !existsSync(data))
    throw new SetupError('This check needs STRATA_EVAL_DATA, a folder with the published benchmark files.');
  const { peerPython } = await import(join(root, 'dist', 'bench', 'venv.js'));
  const { LM_EVAL, LOCAL_SUFFIX, writeHarnessTasks } = await import(join(root, 'dist', 'bench', 'harness-tasks.js'));
  const python = peerPython(LM_EVAL, say);
  const folder = mkdtempSync(join(tmpdir(), 'strata-check-lm-eval-'));
  const server = await startServer();
  let wrong = 0;
  try {
    const harness = capture(python, ['-c', 'import lm_eval; print(lm_eval.__path__[0])']).trim();
    await writeHarnessTasks(join(folder, 'tasks'), harness, data, NAMES, SHOTS !== '0');
    // One page of wikitext has thousands of tokens.
    for (const [tasks, limit] of [
      [NAMES.filter((name) => name !== 'wikitext'), values.limit],
      [NAMES.filter((name) => name === 'wikitext'), '2'],
    ]) {
      if (tasks.length === 0) continue;
      const theirs = runHarness(python, server, folder, tasks, LOCAL_SUFFIX, limit);
      const ours = runStrata(data, folder, tasks, limit);
      for (const name of tasks) wrong += compare(name, ours(name), theirs(name));
    }
  } finally {
    server.process.kill('SIGTERM');
    await once(server.process, 'exit');
    rmSync(folder, { recursive: true, force: true });
  }
  say(wrong === 0 ? 'lm_eval and strata eval agree.' : `${wrong} values differ.`);
  process.exitCode = wrong === 0 ? 0 : 1;
}

async function startServer() {
  const child = spawn(process.execPath, [COMMAND, 'serve', values.model, '--port', '0', '--name', 'served', '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, STRATA_SERVE_TOKEN: '' },
  });
  for await (const line of createInterface({ input: child.stdout }))
    return { process: child, url: JSON.parse(line).url };
  throw new SetupError('strata serve ended before it listened (see above).');
}

function capture(command, args, env = {}) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 2 ** 28,
  });
  if (status === 0) return stdout;
  throw new SetupError(`${[command, ...args].join(' ')} failed:\n${stderr.split('\n').slice(-15).join('\n')}`);
}

/** The harness's command line as a user types it; two more than the model's length give exactly its windows. */
function runHarness(python, { url }, folder, names, suffix, limit) {
  const { max_position_embeddings: length } = JSON.parse(readFileSync(join(values.model, 'config.json'), 'utf8'));
  const out = mkdtempSync(join(folder, 'lm_eval-'));
  const model = [
    'model=served',
    `base_url=${url}/v1/completions`,
    `tokenizer=${values.model}`,
    'tokenizer_backend=huggingface',
    `max_length=${length + 2}`,
    'num_concurrent=4',
    ...(BOS ? ['add_bos_token=True'] : []),
  ].join(',');
  say(`lm_eval: ${names.join(', ')}; ${limit} documents each, ${SHOTS} examples, ${BOS ? 'with' : 'without'} BOS ...`);
  capture(
    python,
    [
      ...['-m', 'lm_eval', 'run', '--model', 'local-completions', '--model_args', model, '--batch_size', '8'],
      ...['--tasks', names.map((name) => name + suffix).join(','), '--include_path', join(folder, 'tasks')],
      ...['--limit', limit, '--num_fewshot', SHOTS, '--log_samples', '--output_path', out],
    ],
    { HF_DATASETS_OFFLINE: '1', HF_HUB_OFFLINE: '1' },
  );
  const inner = join(out, readdirSync(out)[0]);
  const file = (start) =>
    join(
      inner,
      readdirSync(inner).find((name) => name.startsWith(start)),
    );
  const { results } = JSON.parse(readFileSync(file('results_'), 'utf8'));
  return (name) => ({ metrics: results[name + suffix], samples: readSamples(file(`samples_${name}${suffix}_`)) });
}

function runStrata(data, folder, names, limit) {
  const out = join(folder, 'strata', 'results.json');
  capture(process.execPath, [
    ...[COMMAND, 'eval', values.model, '--tasks', names.join(','), '--data', data, '--limit', limit],
    ...['--num-fewshot', SHOTS, '--add-bos', BOS ? 'auto' : 'false', '--samples', '--out', out, '--quiet'],
  ]);
  const { results } = JSON.parse(readFileSync(out, 'utf8'));
  return (name) => ({
    metrics: results[name],
    samples: readSamples(join(folder, 'strata', `samples_${name}.jsonl`)),
  });
}

function readSamples(path) {
  const lines = readFileSync(path, 'utf8').trim().split('\n');
  const samples = lines.map((line) => JSON.parse(line)).sort((a, b) => a.doc_id - b.doc_id);
  return samples.map(({ filtered_resps: responses }) => responses.map((response) => [response].flat()));
}

/** Compares every log-likelihood and metric; returns how many differ. */
function compare(task, ours, theirs) {
  let wrong = ours.samples.length === theirs.samples.length ? 0 : 1;
  let largest = 0;
  ours.samples.forEach((responses, i) =>
    responses.forEach(([logLikelihood, greedy], j) => {
      const [expected, expectedGreedy] = theirs.samples[i]?.[j] ?? [NaN];
      const difference = Math.abs(Number(logLikelihood) - Number(expected));
      const allowed = greedy === undefined ? PAGE_TOLERANCE * Math.abs(Number(expected)) : TOLERANCE;
      if (!(difference <= allowed) || (greedy !== undefined && greedy !== String(expectedGreedy))) wrong++;
      largest = Math.max(largest, difference);
    }),
  );
  for (const [metric, value] of Object.entries(theirs.metrics)) {
    if (typeof value !== 'number' || metric.includes('stderr') || !(metric in ours.metrics)) continue;
    const difference = Math.abs(ours.metrics[metric] - value);
    if (!(difference <= 1e-4 * Math.max(1, Math.abs(value)))) wrong++;
    say(`  ${task} ${metric}: lm_eval ${value}, strata ${ours.metrics[metric]}`);
  }
  say(
    `  ${task}: ${ours.samples.length} documents, largest difference of a log-likelihood ${largest.toExponential(1)}`,
  );
  return wrong;
}

main().catch((error) => {
  if (!(error instanceof SetupError) && !['InputError', 'WorkError'].includes(error?.name)) throw error;
  say(`failed: ${error.message}`);
  process.exitCode = 1;
});
