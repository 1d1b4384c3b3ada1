import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readSplit } from '../src/eval/data/rows.js';
import { tasks } from '../src/eval/tasks/registry.js';
import type { Row, Split, Task } from '../src/eval/tasks/types.js';

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
 * @param withExamples Also the split that few-shot examples are drawn from.
 */
export async function writeHarnessTasks(
  folder: string,
  harness: string,
  data: string,
  names: readonly string[],
  withExamples = false,
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (const name of names) {
    const task = tasks.get(name) as Task;
    const form = HUB_FORMS[name] ?? ((row: Row) => row);
    const files = new Map<Split['name'], string>();
    for (const split of [task.split, ...(withExamples && task.examples !== undefined ? [task.examples] : [])]) {
      const { rows } = await readSplit(task, split, data);
      const file = join(folder, `${name}-${split.name}.jsonl`);
      writeFileSync(file, rows.map((row) => `${JSON.stringify(form(row))}\n`).join(''));
      files.set(split.name, file);
    }
    writeFileSync(join(folder, `${name}.yaml`), definition(name, harness, files));
  }
}

/** YAML, of which JSON is a part: the harness's own task over local rows. */
const definition = (name: string, harness: string, files: ReadonlyMap<Split['name'], string>): string =>
  JSON.stringify({
    include: join(harness, 'tasks', DEFINITIONS[name] ?? ''),
    task: `${name}${LOCAL_SUFFIX}`,
    tag: null,
    dataset_path: 'json',
    dataset_name: null,
    dataset_kwargs: { data_files: Object.fromEntries(files) },
    training_split: files.has('train') ? 'train' : null,
    validation_split: files.has('validation') ? 'validation' : null,
    test_split: files.has('test') ? 'test' : null,
  });
