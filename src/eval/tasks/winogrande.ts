import { indexField, RowError, textField } from './row.js';
import type { ChoiceTask } from './types.js';

/** WinoGrande: which of two names fits a blank; the words behind the blank are scored after either name. */
export const winogrande: ChoiceTask = {
  kind: 'choice',
  name: 'winogrande',
  title: 'WinoGrande (xl)',
  citation: 'Sakaguchi et al., arXiv 1907.10641',
  dataset: { path: 'allenai/winogrande', name: 'winogrande_xl' },
  version: 1,
  metrics: ['acc'],
  split: {
    name: 'validation',
    file: {
      path: 'winogrande/winogrande_xl_validation.jsonl',
      rows: 1267,
      sha256: '69f3d7f3a900d775339b04c7de672609c40fca573e50f594f2ae66d8782505be',
    },
    parquet: { folder: 'winogrande', prefix: 'validation-' },
  },
  examples: {
    name: 'train',
    file: { path: 'winogrande/train_xl.jsonl', rows: 40398 },
    parquet: { folder: 'winogrande', prefix: 'train-' },
  },
  origin:
    'WinoGrande 1.1 of the Allen Institute for AI, or the Parquet files of allenai/winogrande on the Hugging Face hub',
  read(row) {
    const sentence = textField(row, 'sentence');
    const blank = sentence.indexOf('_');
    if (blank < 0) throw new RowError('field "sentence" must have a blank "_"');
    const options = [textField(row, 'option1'), textField(row, 'option2')];
    const continuation = ` ${sentence.slice(blank + 1).trim()}`;
    return {
      requests: options.map((option) => ({ context: sentence.slice(0, blank) + option, continuation })),
      choices: options,
      gold: indexField(row, 'answer', ['1', '2']),
    };
  },
};
