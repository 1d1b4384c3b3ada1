import { textField } from './row.js';
import type { LastWordTask } from './types.js';

/** LAMBADA in OpenAI's untokenized copy: the last word of a passage that needs all of it. */
export const lambadaOpenai: LastWordTask = {
  kind: 'lastWord',
  name: 'lambada_openai',
  title: 'LAMBADA (OpenAI)',
  citation: 'Paperno et al., arXiv 1606.06031; Radford et al. 2019',
  dataset: { path: 'EleutherAI/lambada_openai', name: 'default' },
  version: 1,
  metrics: ['perplexity', 'acc'],
  split: {
    name: 'test',
    file: {
      path: 'lambada_openai/lambada_test.jsonl',
      rows: 5153,
      sha256: '4aa8d02cd17c719165fc8a7887fddd641f43fcafa4b1c806ca8abc31fabdb226',
    },
    parquet: { folder: 'lambada_openai', prefix: 'test-' },
  },
  origin:
    'lambada_test.jsonl of the GPT-2 release, or the Parquet file of EleutherAI/lambada_openai on the Hugging Face hub',
  read(row) {
    // Only spaces separate words: some last words contain newlines.
    const text = textField(row, 'text');
    const border = text.lastIndexOf(' ');
    return {
      request: { context: text.slice(0, Math.max(0, border)), continuation: ` ${text.slice(border + 1)}` },
    };
  },
};
