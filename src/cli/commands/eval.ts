import { type Command, Option } from 'commander';
import type { TaskResult } from '../../eval/index.js';
import {
  evaluate,
  evaluateCheckpoints,
  type EvaluateOptions,
  type Evaluation,
} from '../../experiments/evaluation/index.js';
import {
  type CommonOptions,
  defineCommand,
  parsePositiveInteger,
  parseWholeNumber,
  terminalFor,
  withCommonOptions,
} from '../command.js';
import { formatTable, type Progress, type Terminal } from '../terminal.js';

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
    .option('--num-fewshot <k>', 'solved examples before each prompt (default: none)', parseWholeNumber)
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
  return withCommonOptions(command).action(run);
}

async function run(reference: string, options: EvalOptions): Promise<void> {
  const terminal = terminalFor(options);
  const evaluation = evaluationOptions(options, terminal);
  if (options.allCheckpoints === true) return await runAll(reference, evaluation, terminal);
  const result = await evaluate(reference, evaluation);
  terminal.result(result.document, () => describe(result));
}

/** Every checkpoint of a run, a table after each. */
async function runAll(folder: string, options: EvaluateOptions, terminal: Terminal): Promise<void> {
  const documents: Record<string, unknown> = {};
  let seen = 0;
  for await (const { step, evaluation } of evaluateCheckpoints(folder, options)) {
    seen++;
    if (evaluation === undefined) terminal.say(`${folder}@${step}: in the records already`);
    else {
      documents[String(step)] = evaluation.document;
      terminal.say(`${folder}@${step}\n${describe(evaluation)}`);
    }
  }
  terminal.result(
    { run: folder, checkpoints: documents },
    () => `${Object.keys(documents).length} of ${seen} checkpoints evaluated`,
  );
}

function evaluationOptions(options: EvalOptions, terminal: Terminal): EvaluateOptions {
  const { addBos, numFewshot, anyData, ...others } = options;
  let current: { readonly task: string; readonly progress: Progress; readonly start: number } | undefined;
  return {
    ...others,
    addBos: addBos === 'auto' ? 'auto' : addBos === 'true',
    fewShot: numFewshot,
    acceptAny: anyData ?? false,
    onNote: (sentence) => terminal.say(sentence),
    onProgress(task, done, total) {
      if (current?.task !== task) current = { task, progress: terminal.progress(task), start: performance.now() };
      const perSecond = (1000 * done) / (performance.now() - current.start);
      current.progress.update(done, total, `${perSecond.toFixed(0)} scored tokens/s`);
      if (done < total) return;
      current.progress.finish();
      current = undefined;
    },
  };
}

const figure = (value: number): string =>
  Math.abs(value) >= 1e5 ? value.toExponential(4) : value.toFixed(Math.abs(value) >= 100 ? 2 : 4);

function describe({ tasks, average }: Evaluation): string {
  const rows = Object.values(tasks).flatMap(({ task, metrics, nearChance, chance, documents }: TaskResult) =>
    Object.entries(metrics).map(([name, { value, stderr }], i) => [
      i === 0 ? task.task.name : '',
      i > 0 ? '' : documents.length < task.total ? `${documents.length} of ${task.total}` : String(task.total),
      name,
      figure(value),
      stderr === undefined || Number.isNaN(stderr) ? '' : `±${figure(stderr)}`,
      nearChance.includes(name) ? `within two standard errors of chance (${(chance ?? 0).toFixed(3)})` : '',
    ]),
  );
  const lines = [formatTable([['task', 'documents', 'metric', 'value', 'stderr', ''], ...rows])];
  if (average !== undefined)
    lines.push(`Average acc of the paper's seven tasks: ${figure(average.value)} ±${figure(average.stderr)}`);
  return lines.join('\n');
}
