import { textField } from './row.js';
import type { ChoiceTask } from './types.js';

const CHOICES = ['distractor1', 'distractor2', 'distractor3', 'correct_answer'] as const;

/** SciQ: science questions with a supporting passage; the right answer is always the last choice. */
export const sciq: ChoiceTask = {
  kind: 'choice',
  name: 'sciq',
  title: 'SciQ',
  citation: 'Welbl et al., arXiv 1707.06209',
  dataset: { path: 'allenai/sciq' },
  version: 1,
  metrics: ['acc', 'acc_norm'],
  split: {
    name: 'test',
    file: {
      path: 'sciq/test.jsonl',
      rows: 1000,
      sha256: 'd8adc0eba261b024de79d3efa13b7e95d47d0ad06b76d1f93f8fd92eff7bc3a4',
    },
    parquet: { folder: 'sciq', prefix: 'test-' },
  },
  examples: {
    name: 'train',
    file: { path: 'sciq/train.jsonl', rows: 11679 },
    parquet: { folder: 'sciq', prefix: 'train-' },
  },
  origin: 'SciQ of the Allen Institute for AI, or the Parquet files of allenai/sciq on the Hugging Face hub',
  read(row) {
    const choices = CHOICES.map((field) => textField(row, field));
    const context = `${textField(row, 'support').trimStart()}\nQuestion: ${textField(row, 'question')}\nAnswer:`;
    return {
      requests: choices.map((choice) => ({ context, continuation: ` ${choice}` })),
      choices,
      gold: CHOICES.length - 1,
    };
  },
};
