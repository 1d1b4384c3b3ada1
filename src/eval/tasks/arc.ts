import { objectField, objectsField, RowError, textField, textsField } from './row.js';
import type { ChoiceTask, Question, Row, SourceFile, Split } from './types.js';

/**
 * A question of ARC: `Question: {question}`, `Answer:` on the next line, then the text of a choice.
 *
 * The authors' files have `question.stem` and `question.choices[]`, the hub's Parquet `question` and `choices.text[]`.
 */
function read(row: Row): Question {
  const hub = typeof row['question'] === 'string';
  const stem = hub ? textField(row, 'question') : textField(objectField(row, 'question'), 'stem');
  const choices = hub ? hubChoices(objectField(row, 'choices')) : authorsChoices(objectField(row, 'question'));
  const answerKey = textField(row, 'answerKey');
  // Labels are letters or digits, so they are compared and never turned into an index.
  const gold = choices.findIndex(({ label }) => label === answerKey);
  if (gold < 0) throw new RowError(`field "answerKey" must be the label of a choice, found "${answerKey}"`);
  const context = `Question: ${stem}\nAnswer:`;
  return {
    requests: choices.map(({ text }) => ({ context, continuation: ` ${text}` })),
    choices: choices.map(({ text }) => text),
    gold,
  };
}

interface Choice {
  readonly text: string;
  readonly label: string;
}

const authorsChoices = (question: Row): Choice[] =>
  objectsField(question, 'choices').map((choice) => ({
    text: textField(choice, 'text'),
    label: textField(choice, 'label'),
  }));

function hubChoices(choices: Row): Choice[] {
  const labels = textsField(choices, 'label');
  return textsField(choices, 'text').map((text, i) => ({ text, label: labels[i] ?? '' }));
}

/** ARC-Easy and ARC-Challenge differ only in their files. */
export function arcTask(
  name: string,
  config: string,
  test: Omit<SourceFile, 'path'>,
  train: Omit<SourceFile, 'path'>,
): ChoiceTask {
  const split = (of: 'test' | 'train', file: string, known: Omit<SourceFile, 'path'>): Split => ({
    name: of,
    file: { path: `${name}/${config}-${file}.jsonl`, ...known },
    parquet: { folder: name, prefix: `${of}-` },
  });
  return {
    kind: 'choice',
    name,
    title: config,
    citation: 'Clark et al., arXiv 1803.05457',
    dataset: { path: 'allenai/ai2_arc', name: config },
    version: 1,
    metrics: ['acc', 'acc_norm'],
    split: split('test', 'Test', test),
    examples: split('train', 'Train', train),
    origin:
      'ARC-V1-Feb2018 of the Allen Institute for AI, or the Parquet files of allenai/ai2_arc on the Hugging Face hub',
    read,
  };
}
