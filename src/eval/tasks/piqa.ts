import { indexField, textField } from './row.js';
import type { ChoiceTask } from './types.js';

/** PIQA: which of two ways to reach a goal works in the physical world. */
export const piqa: ChoiceTask = {
  kind: 'choice',
  name: 'piqa',
  title: 'PIQA',
  citation: 'Bisk et al., arXiv 1911.11641',
  dataset: { path: 'baber/piqa' },
  version: 1,
  metrics: ['acc', 'acc_norm'],
  split: {
    name: 'validation',
    file: {
      path: 'piqa/valid.jsonl',
      rows: 1838,
      sha256: '93503cc97c679e459b065c3d13e848282e44b2a25213985bed3e5d458abef72d',
    },
    labels: {
      path: 'piqa/valid-labels.lst',
      rows: 1838,
      sha256: 'b4192dc3a2a0363d9d60ccf79800cbbe2f32ebb17726efdde6970e0b8131bceb',
    },
    parquet: { folder: 'piqa', prefix: 'validation-' },
  },
  examples: {
    name: 'train',
    file: { path: 'piqa/train.jsonl', rows: 16113 },
    labels: { path: 'piqa/train-labels.lst', rows: 16113 },
    parquet: { folder: 'piqa', prefix: 'train-' },
  },
  origin: 'physicaliqa-train-dev.zip of Bisk et al., or the Parquet files of baber/piqa on the Hugging Face hub',
  read(row) {
    const choices = [textField(row, 'sol1'), textField(row, 'sol2')];
    const context = `Question: ${textField(row, 'goal')}\nAnswer:`;
    return {
      requests: choices.map((choice) => ({ context, continuation: ` ${choice}` })),
      choices,
      gold: indexField(row, 'label', ['0', '1']),
    };
  },
};
