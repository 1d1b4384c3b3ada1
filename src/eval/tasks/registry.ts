import { InputError } from '../../errors.js';
import { suggestion } from '../../architecture/index.js';
import { arcChallenge } from './arc-challenge.js';
import { arcEasy } from './arc-easy.js';
import { lambadaOpenai } from './lambada-openai.js';
import { logiqa } from './logiqa.js';
import { piqa } from './piqa.js';
import { sciq } from './sciq.js';
import type { Task } from './types.js';
import { wikitext } from './wikitext.js';
import { winogrande } from './winogrande.js';

/** Every task, in the order of the paper's table. */
export const tasks: ReadonlyMap<string, Task> = new Map(
  [lambadaOpenai, arcChallenge, arcEasy, logiqa, piqa, sciq, winogrande, wikitext].map((task: Task) => [
    task.name,
    task,
  ]),
);

/** Groups of tasks by name. `paper` is what Du et al. (arXiv 2405.15319) report. */
export const taskGroups: Readonly<Record<string, readonly string[]>> = { paper: [...tasks.keys()] };

/**
 * The tasks that a list of names means.
 *
 * @param names Separated by commas; groups may stand among them.
 * @throws InputError naming what is unknown, with the nearest name.
 */
export function parseTasks(names: string): Task[] {
  const wanted = names.split(',').flatMap((name) => taskGroups[name.trim()] ?? [name.trim()]);
  const known = [...Object.keys(taskGroups), ...tasks.keys()];
  return [...new Set(wanted)].map((name) => {
    const task = tasks.get(name);
    if (task !== undefined) return task;
    throw new InputError(`Unknown task "${name}"${suggestion(name, known)}; there are ${known.join(', ')}.`);
  });
}
