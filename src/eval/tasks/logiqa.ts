import { indexField, RowError, textField, textsField } from './row.js';
import type { ChoiceTask, Row } from './types.js';

const LINES_PER_BLOCK = 7;

/** Cuts the published text: blocks of label, context, question and four options, with an empty line between. */
export function cutLogiqa(text: string): Row[] {
  return text
    .trim()
    .split('\n\n')
    .map((block) => {
      const lines = block.split('\n');
      if (lines.length !== LINES_PER_BLOCK)
        throw new RowError(`a block must have ${LINES_PER_BLOCK} lines, found ${lines.length}`);
      const [label = '', context = '', question = '', ...options] = lines;
      return {
        label: label.trim(),
        context: normalize(context),
        question: normalize(question),
        options: options.map((option) => normalize(option.slice(2))),
      };
    });
}

/** The translation often lacks the space after a full stop. */
const normalize = (text: string): string => text.replaceAll('.', '. ').trim();

/** LogiQA: reading comprehension that needs deduction; the text of an option is scored, not its letter. */
export const logiqa: ChoiceTask = {
  kind: 'choice',
  name: 'logiqa',
  title: 'LogiQA',
  citation: 'Liu et al., arXiv 2007.08124',
  dataset: { path: 'EleutherAI/logiqa', name: 'logiqa' },
  version: 1,
  metrics: ['acc', 'acc_norm'],
  split: {
    name: 'test',
    file: {
      path: 'logiqa/Test.txt',
      rows: 651,
      sha256: '359acb78c37802208f7fde9e2f6574b8526527c63d6a336f90a53f1932cb4701',
    },
    cut: cutLogiqa,
    parquet: { folder: 'logiqa', prefix: 'test-' },
  },
  examples: {
    name: 'train',
    file: {
      path: 'logiqa/Train.txt',
      rows: 7376,
      sha256: '7d5bb1f58278e33b395744cd2ad8d7600faa0b3c4d615c659a44ec1181d759fa',
    },
    cut: cutLogiqa,
    parquet: { folder: 'logiqa', prefix: 'train-' },
  },
  origin:
    'the repository lgw863/LogiQA-dataset on GitHub, or the Parquet files of EleutherAI/logiqa on the Hugging Face hub',
  read(row) {
    const options = textsField(row, 'options');
    const listed = options.map((option, i) => `${'ABCD'.charAt(i)}. ${option}`).join('\n');
    const context =
      `Passage: ${textField(row, 'context')}\nQuestion: ${textField(row, 'question')}\n` +
      `Choices:\n${listed}\nAnswer:`;
    return {
      requests: options.map((option) => ({ context, continuation: ` ${option}` })),
      choices: options,
      gold: indexField(row, 'label', ['a', 'b', 'c', 'd']),
    };
  },
};
