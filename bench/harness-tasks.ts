import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readSplit } from '../src/eval/data/rows.js';
import { tasks } from '../src/eval/tasks/registry.js';
import type { Row, Task } from '../src/eval/tasks/types.js';

/** What pip gets for lm-evaluation-harness with its Hugging Face models and its completions client. */
export const LM_EVAL = ['lm_eval[hf,api]==0.4.13', 'transformers==5.18.0'];

/** The harness's own definition of each task, below its folder of tasks. */
const DEFINITIONS: Readonly<Record<string, string>> = {
  lambada_openai: 'lambada/lambada_openai.yaml',
  arc_easy: 'arc/arc_easy.yaml',
  arc_challenge: 'arc/arc_challenge.yaml',
  logiqa: 'logiqa/logiqa.yaml',
  piqa: 'piqa/piqa.yaml',
  sciq: 'sciq/sciq.yaml',
  winogrande: 'winogrande/default.yaml',
  wikitext: 'wikitext/wikitext.yaml',
};

/** Appended to a task's name, so that the harness does not take its own task, which would download. */
export const LOCAL_SUFFIX = '_local';

/** Forms that the published files and the hub's rows have differently. */
const HUB_FORMS: Readonly<Record<string, (row: Row) => Row>> = {
  arc_easy: arcRow,
  arc_challenge: arcRow,
  piqa: (row) => ({ ...row, label: Number(row['label']) }),
};

function arcRow(row: Row): Row {
  if (typeof row['question'] === 'string') return row;
  const { stem, choices } = row['question'] as { stem: string; choices: { text: string; label: string }[] };
  return {
    question: stem,
    choices: { text: choices.map(({ text }) => text), label: choices.map(({ label }) => label) },
    answerKey: row['answerKey'],
  };
}

/**
 * Writes tasks for lm-evaluation-harness that are its own but read local rows: one YAML and one JSONL file each.
 *
 * @param folder Where to write them; goes to `--include_path`.
 * @param harness Folder of the installed `lm_eval` package.
 */
export async function writeHarnessTasks(
  folder: string,
  harness: string,
  data: string,
  names: readonly string[],
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (const name of names) {
    const task = tasks.get(name) as Task;
    const { rows } = await readSplit(task, task.split, data);
    const file = join(folder, `${name}.jsonl`);
    const form = HUB_FORMS[name] ?? ((row: Row) => row);
    writeFileSync(file, rows.map((row) => `${JSON.stringify(form(row))}\n`).join(''));
    writeFileSync(join(folder, `${name}.yaml`), definition(name, task, harness, file));
  }
}

const definition = (name: string, task: Task, harness: string, file: string): string => `\
include: ${join(harness, 'tasks', DEFINITIONS[name] ?? '')}
task: ${name}${LOCAL_SUFFIX}
tag: null
dataset_path: json
dataset_name: null
dataset_kwargs:
  data_files:
    ${task.split.name}: ${file}
training_split: null
validation_split: ${task.split.name === 'validation' ? 'validation' : 'null'}
test_split: ${task.split.name === 'test' ? 'test' : 'null'}
`;
