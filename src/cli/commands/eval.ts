import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Command, Option } from 'commander';
import { countParameters } from '../../architecture/index.js';
import { loadTokenizer, type Tokenizer } from '../../data/index.js';
import { InputError } from '../../errors.js';
import {
  type AddBos,
  averageAccuracy,
  evalRecords,
  evaluateTask,
  harnessLayout,
  loadTask,
  type LoadedTask,
  ModelScorer,
  parseTasks,
  sampleLines,
  type TaskResult,
} from '../../eval/index.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { type LoadedModel, loadModel } from '../../infer/index.js';
import { checkpointSteps, type Manifest, readManifest, resolveCheckpoint } from '../../interop/index.js';
import { isRunFolder, readRecords, RecordWriter, recordsPath } from '../../records/index.js';
import { lockFolder } from '../../train/lock.js';
import { type CommonOptions, defineCommand, parsePositiveInteger, terminalFor, withCommonOptions } from '../command.js';
import { formatTable, type Terminal } from '../terminal.js';

interface EvalOptions extends CommonOptions {
  tasks: string;
  data: string;
  limit?: number;
  samples?: boolean;
  addBos: 'auto' | 'true' | 'false';
  maxLength?: number;
  numFewshot?: number;
  allCheckpoints?: boolean;
  tokenizer?: string;
  anyData?: boolean;
  out?: string;
}

/** `strata eval`: the paper's benchmarks. */
export function create(): Command {
  const command = defineCommand('eval', "Score a checkpoint on benchmarks, with lm-evaluation-harness's own numbers.", [
    ['strata eval runs/grown --tasks paper --data eval-data --out results.json', "the paper's eight, zero-shot"],
    ['strata eval ./llama --tasks piqa,sciq --data eval-data --limit 100', 'the first 100 documents of two tasks'],
    ['strata eval runs/grown --tasks arc_easy --data eval-data --all-checkpoints', 'a curve over training'],
  ])
    .argument('<ckpt>', 'a Hugging Face folder, a run folder (its last checkpoint) or RUN@step')
    .requiredOption('--tasks <names>', 'tasks separated by commas, or "paper" for all eight')
    .requiredOption('--data <dir>', "folder with the benchmarks' published files")
    .option('--limit <n>', 'only the first documents of each task', parsePositiveInteger)
    .option('--num-fewshot <k>', 'solved examples before each prompt (default: none)', parsePositiveInteger)
    .option('--samples', 'write samples_TASK.jsonl beside --out, one line per document')
    .addOption(
      new Option(
        '--add-bos <which>',
        "special tokens: what the tokenizer adds, a BOS, or none (as in the paper's time)",
      )
        .choices(['auto', 'true', 'false'])
        .default('auto'),
    )
    .option('--max-length <n>', "tokens that the model reads at most (default: the model's)", parsePositiveInteger)
    .option('--all-checkpoints', 'evaluate every checkpoint of a run that has no records of these tasks yet')
    .option('--tokenizer <file>', 'tokenizer.json, or a folder with one (default: that of the checkpoint)')
    .option('--any-data', 'take data files that are not the recorded ones')
    .option('--out <file>', 'write the results, in the layout of lm-evaluation-harness');
  return withCommonOptions(command).action(evaluate);
}

async function evaluate(reference: string, options: EvalOptions): Promise<void> {
  if (options.samples === true && options.out === undefined)
    throw new InputError('--samples needs --out: its files are written beside that one.');
  const terminal = terminalFor(options);
  const loaded: LoadedTask[] = [];
  for (const task of parseTasks(options.tasks))
    loaded.push(
      await loadTask(task, options.data, {
        limit: options.limit,
        fewShot: options.numFewshot,
        acceptAny: options.anyData ?? false,
      }),
    );
  if (options.allCheckpoints === true) return evaluateRun(reference, loaded, options, terminal);
  const run = runOf(reference);
  const { document, results } = await evaluateCheckpoint(reference, loaded, options, terminal, run);
  terminal.result(document, () => describe(results));
}

/** Every checkpoint of a run whose records lack one of the tasks, oldest first. */
async function evaluateRun(
  run: string,
  loaded: readonly LoadedTask[],
  options: EvalOptions,
  terminal: Terminal,
): Promise<void> {
  if (!isRunFolder(run)) throw new InputError(`${run}: --all-checkpoints needs a run folder.`);
  const steps = checkpointSteps(run);
  if (steps.length === 0) throw new InputError(`${run}: the run has no checkpoint yet.`);
  const documents: Record<string, unknown> = {};
  for (const step of steps) {
    const missing = loaded.filter((task) => !isRecorded(run, step, task));
    if (missing.length === 0) {
      terminal.say(`${run}@${step}: in the records already`);
      continue;
    }
    const { document, results } = await evaluateCheckpoint(`${run}@${step}`, missing, options, terminal, run);
    documents[String(step)] = document;
    terminal.say(`${run}@${step}\n${describe(results)}`);
  }
  terminal.result(
    { run, checkpoints: documents },
    () => `${Object.keys(documents).length} of ${steps.length} checkpoints evaluated`,
  );
}

async function evaluateCheckpoint(
  reference: string,
  loaded: readonly LoadedTask[],
  options: EvalOptions,
  terminal: Terminal,
  run: string | undefined,
): Promise<{ document: Record<string, unknown>; results: TaskResult[] }> {
  const folder = resolveCheckpoint(reference);
  const tokenizer = loadTokenizer(options.tokenizer ?? folder);
  if (tokenizer.note !== undefined) terminal.say(tokenizer.note);
  using model = loadModel(reference, { threads: options.threads });
  checkVocabulary(model, tokenizer);
  using scorer = new ModelScorer(model, options.maxLength);
  const addBos: AddBos = options.addBos === 'auto' ? 'auto' : options.addBos === 'true';
  const results: TaskResult[] = [];
  for (const task of loaded) {
    const progress = terminal.progress(task.task.name);
    const start = performance.now();
    const onProgress = (done: number, total: number): void =>
      progress.update(done, total, `${((1000 * done) / (performance.now() - start)).toFixed(0)} scored tokens/s`);
    results.push(await evaluateTask(task, tokenizer, scorer, { addBos, onProgress }));
    progress.finish();
  }
  const document = harnessLayout(results, {
    model: reference,
    addBos,
    maxLength: scorer.maxLength,
    parameters: countParameters(model.config).total,
    limit: options.limit,
  });
  if (options.out !== undefined)
    writeResults(resultPath(options, reference), document, results, options.samples ?? false);
  if (run !== undefined) appendRecords(run, readManifest(folder), results, terminal);
  return { document, results };
}

function checkVocabulary({ config, folder }: LoadedModel, tokenizer: Tokenizer): void {
  if (tokenizer.vocabSize > config.vocab_size)
    throw new InputError(
      `${tokenizer.file}: has ${tokenizer.vocabSize} tokens, but the model in ${folder} only ${config.vocab_size}.`,
    );
}

/** With all checkpoints, each has its own file: the step goes before the ending. */
function resultPath({ out = '', allCheckpoints }: EvalOptions, reference: string): string {
  const step = /@(\d+)$/.exec(reference)?.[1];
  return allCheckpoints === true && step !== undefined ? out.replace(/(\.json)?$/, `-${step}.json`) : out;
}

function writeResults(
  path: string,
  document: Record<string, unknown>,
  results: readonly TaskResult[],
  samples: boolean,
): void {
  writeFileAtomic(path, `${JSON.stringify(document, null, 2)}\n`);
  if (!samples) return;
  for (const result of results)
    writeFileAtomic(join(dirname(path), `samples_${result.task.task.name}.jsonl`), sampleLines(result));
}

/** The run that a reference names; undefined for other checkpoints. */
function runOf(reference: string): string | undefined {
  const folder = existsSync(reference) ? reference : reference.replace(/@\d+$/, '');
  return !existsSync(join(folder, 'config.json')) && isRunFolder(folder) ? folder : undefined;
}

function isRecorded(run: string, step: number, { task, documents, fewShot }: LoadedTask): boolean {
  if (!existsSync(recordsPath(run))) return false;
  return readRecords(recordsPath(run)).evals.some(
    (record) =>
      record.step === step &&
      record.task === task.name &&
      record['documents'] === documents.length &&
      (record['fewShot'] ?? 0) === fewShot,
  );
}

function appendRecords(
  run: string,
  manifest: Manifest | undefined,
  results: readonly TaskResult[],
  terminal: Terminal,
): void {
  if (manifest?.step === undefined || manifest.tokens === undefined || manifest.flops === undefined) {
    terminal.warn(
      `${run}: its checkpoint does not say its step, tokens and FLOPs, so nothing is added to the records.`,
    );
    return;
  }
  const position = {
    step: manifest.step,
    tokens: manifest.tokens,
    flops: manifest.flops,
    flopsExact: manifest.flopsExact,
  };
  const lock = lockFolder(run);
  try {
    using writer = RecordWriter.open(recordsPath(run), { chain: true });
    for (const result of results) for (const record of evalRecords(result, position)) writer.append(record);
  } finally {
    lock.release();
  }
}

const figure = (value: number): string =>
  Math.abs(value) >= 1e5 ? value.toExponential(4) : value.toFixed(Math.abs(value) >= 100 ? 2 : 4);

function describe(results: readonly TaskResult[]): string {
  const rows = results.flatMap(({ task, metrics, nearChance, chance, documents }) =>
    Object.entries(metrics).map(([name, { value, stderr }], i) => [
      i === 0 ? task.task.name : '',
      i === 0 ? String(documents.length) : '',
      name,
      figure(value),
      stderr === undefined || Number.isNaN(stderr) ? '' : `±${figure(stderr)}`,
      nearChance.includes(name) ? `within two standard errors of chance (${(chance ?? 0).toFixed(3)})` : '',
    ]),
  );
  const lines = [formatTable([['task', 'documents', 'metric', 'value', 'stderr', ''], ...rows])];
  const average = averageAccuracy(results);
  if (average !== undefined)
    lines.push(`Average acc of the paper's seven tasks: ${figure(average.value)} ±${figure(average.stderr)}`);
  return lines.join('\n');
}
