import { existsSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildData, trainTokenizer } from '../../src/index.js';

/** The folder with package.json, from source and from the build. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}

/** Path of a file of the corpus, relative to the working folder. */
export const novels = (file: string): string =>
  join(relative(process.cwd(), packageRoot()), 'corpora', 'novels-small', file);

/** Token shards of the novels in the repository with a tokenizer of their own, made once; returns their folder. */
export async function novelShards(out: string, vocabSize: number): Promise<string> {
  const tokenizer = join(out, 'tokenizer.json');
  const data = join(out, 'data');
  if (!existsSync(tokenizer)) await trainTokenizer({ inputs: [novels('train.jsonl.gz')], vocabSize, out: tokenizer });
  await buildData({
    inputs: [novels('train.jsonl.gz')],
    validation: { inputs: [novels('validation.jsonl.gz')] },
    tokenizer,
    out: data,
  });
  return data;
}
