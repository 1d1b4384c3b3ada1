import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { RandomStream } from '../../src/architecture/index.js';
import { buildData, trainTokenizer } from '../../src/index.js';
import { novels } from './corpus.js';

/** Text of one document: a passage of a novel. */
const PASSAGE = 600;
/** Share of the passages whose words are shuffled. */
export const NOISE = 0.15;
const VOCABULARY = 512;
/** Passages that are asked for their weight. */
const PROBES = 400;

/** The words of a text in an order drawn at random: frequencies stay, everything else is gone. */
export function shuffleWords(text: string, stream: RandomStream, start: number): string {
  const words = text.split(/\s+/).filter((word) => word !== '');
  const keys = new Float64Array(words.length);
  stream.fillUniform(keys, 0, 1, start);
  return words
    .map((word, i) => ({ word, key: keys[i]! }))
    .sort((a, b) => a.key - b.key)
    .map(({ word }) => word)
    .join(' ');
}

/** A novel cut at line ends into passages of about equal length. */
export function passages(text: string, length = PASSAGE): string[] {
  const cut: string[] = [];
  let part = '';
  for (const line of text.split('\n')) {
    part += `${line}\n`;
    if (part.length < length) continue;
    cut.push(part);
    part = '';
  }
  return part.trim() === '' ? cut : [...cut, part];
}

/** The kinds of shards: to train on, and the same passages once in order and once shuffled, to ask what weight a model gives to each. */
export type NoisyNovels = Readonly<Record<'data' | 'clean' | 'noise', string>>;

/** Shards of passages of the novels, 15 % of them shuffled, made once; validation stays clean. */
export async function noisyNovels(out: string): Promise<NoisyNovels> {
  mkdirSync(out, { recursive: true });
  const clean = read('train.jsonl.gz');
  const draws = new Float64Array(clean.length);
  new RandomStream(1, 'noisy-novels/which').fillUniform(draws);
  const stream = new RandomStream(1, 'noisy-novels');
  const noise = clean.map((text, i) => shuffleWords(text, stream, i * PASSAGE));
  const write = (name: string, texts: readonly string[]): string => {
    const path = join(out, `${name}.jsonl`);
    if (!existsSync(path)) writeFileSync(path, texts.map((text) => `${JSON.stringify({ text })}\n`).join(''));
    return path;
  };
  const mixed = write(
    'train',
    clean.map((text, i) => (draws[i]! < NOISE ? noise[i]! : text)),
  );
  const validation = { inputs: [write('validation', read('validation.jsonl.gz'))] };
  const tokenizer = join(out, 'tokenizer.json');
  if (!existsSync(tokenizer)) await trainTokenizer({ inputs: [mixed], vocabSize: VOCABULARY, out: tokenizer });
  const build = async (input: string, name: string): Promise<string> => {
    await buildData({ inputs: [input], validation, tokenizer, out: join(out, name) });
    return join(out, name);
  };
  return {
    data: await build(mixed, 'data'),
    clean: await build(write('clean', clean.slice(0, PROBES)), 'probe-clean'),
    noise: await build(write('noise', noise.slice(0, PROBES)), 'probe-noise'),
  };
}

/** Passages of a file of the corpus. */
const read = (file: string): string[] =>
  gunzipSync(readFileSync(novels(file)))
    .toString()
    .trimEnd()
    .split('\n')
    .flatMap((line) => passages((JSON.parse(line) as { text: string }).text));
