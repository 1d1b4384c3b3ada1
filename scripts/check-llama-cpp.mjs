// `npm run check:llama-cpp`: llama.cpp, built from its pip package's source, reads the GGUF files of `strata export` and writes on as Strata does.
//   node scripts/check-llama-cpp.mjs [--models a,b] [--keep FOLDER]
// F32 files: the same ids of texts, the same greedy text as `strata generate` prints, and logits.
// Other types: llama.cpp rounds weights and activations to the type before it multiplies, so that logits are compared with those of the unrounded
// model, within what roundings of that size add up to; the greedy text is shown, not asked for. `npm run check:formats` compares the files' bytes.
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { allLogits, askReference, built, floatsOf, strata, writeRandomModel } from './checks.mjs';
import { llamaCppPython } from './llama-cpp-python.mjs';
import { main, root, say, setup, SetupError } from './setup.mjs';

/** The largest error by which each type rounds a number, relative to it, or for Q8_0 to the largest of its block; in F32 sums in another order. */
const ROUNDING = { F32: 2 ** -20, F16: 2 ** -11, BF16: 2 ** -8, Q8_0: 1 / 254 };
const TYPES = Object.keys(ROUNDING);
/** A token passes about 13 matrix products one after the other, each with two rounded factors. */
const ROUNDINGS = 16;
/** ggml takes GELU from a table of float16 whatever the type of the weights. */
const GELU = new Set(['gpt_neox', 'gpt2', 'gemma2']);
const VOCABULARY = 512;
const LENGTH = 128;
/** Longer than Gemma's window below, so that it counts. */
const MADE = 48;
const TEXTS = 100;
const TOKENS = 64;
const STORIES = join(root, 'test', 'fixtures', 'models', 'stories260K');
const CORPUS = join(root, 'corpora', 'novels-small', 'validation.jsonl.gz');

const sizes = {
  vocab_size: VOCABULARY,
  hidden_size: 64,
  // Rows of 160 fill blocks of 32, those of stories260K (172) do not.
  intermediate_size: 160,
  num_hidden_layers: 3,
  num_attention_heads: 8,
  max_position_embeddings: LENGTH,
};
const grouped = { ...sizes, num_key_value_heads: 2 };
const CONFIGS = {
  llama: { ...grouped, model_type: 'llama' },
  'llama, RoPE scaling of Llama 3': {
    ...grouped,
    model_type: 'llama',
    rope_theta: 500000,
    rope_scaling: {
      rope_type: 'llama3',
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 32,
    },
    tie_word_embeddings: true,
  },
  'llama, linear RoPE scaling': { ...grouped, model_type: 'llama', rope_scaling: { rope_type: 'linear', factor: 2 } },
  mistral: { ...grouped, model_type: 'mistral' },
  qwen2: { ...grouped, model_type: 'qwen2' },
  qwen3: { ...grouped, model_type: 'qwen3', head_dim: 16, tie_word_embeddings: true },
  gpt_neox: { ...sizes, model_type: 'gpt_neox', rotary_pct: 0.25 },
  gpt2: { ...sizes, model_type: 'gpt2' },
  olmo2: { ...grouped, model_type: 'olmo2' },
  gemma2: { ...grouped, model_type: 'gemma2', head_dim: 16, query_pre_attn_scalar: 16, sliding_window: 16 },
};

const { values } = parseArgs({ options: { models: { type: 'string' }, keep: { type: 'string' } } });

await main(async () => {
  await setup();
  const python = await llamaCppPython();
  const folder = values.keep ?? mkdtempSync(join(tmpdir(), 'strata-check-llama-cpp-'));
  mkdirSync(folder, { recursive: true });
  try {
    const wrong = await check(python, folder);
    say(wrong === 0 ? 'llama.cpp and Strata agree.' : `${wrong} of the comparisons failed.`);
    process.exitCode = wrong === 0 ? 0 : 1;
  } finally {
    if (values.keep === undefined) rmSync(folder, { recursive: true, force: true });
  }
});

async function check(python, folder) {
  const models = await writeModels(folder);
  const texts = sampleTexts();
  const files = models.flatMap((model, i) =>
    TYPES.map((type) => {
      const path = join(folder, `${i}-${type}.gguf`);
      strata(['export', model.folder, '--format', 'gguf', '--dtype', type.toLowerCase(), '--out', path, '--quiet']);
      return { path, type, model, prompt: model.prompt, addBos: model.addBos, length: LENGTH, made: MADE, texts };
    }),
  );
  const ours = new Map();
  for (const model of models) ours.set(model, await answersOf(model, texts));
  const job = { files: files.map(({ model, ...file }) => ({ ...file, tokens: ours.get(model).tokens })) };
  const theirs = JSON.parse(askReference(python, 'check_llama_cpp.py', job));
  say(`Compared with llama.cpp of llama-cpp-python ${theirs.version}:`);
  let wrong = 0;
  files.forEach(({ type, model }, i) => (wrong += compare(model.name, type, ours.get(model), theirs.files[i])));
  return wrong;
}

/** A published model with its tokenizer, and a random one of every family with a tokenizer that Strata trained. */
async function writeModels(folder) {
  const tokenizer = join(folder, 'tokenizer.json');
  strata(['tokenizer', 'train', CORPUS, '--vocab-size', String(VOCABULARY), '--out', tokenizer, '--quiet']);
  const models = [{ name: 'stories260K', folder: STORIES, prompt: 'Once upon a time', addBos: true }];
  for (const [name, config] of Object.entries(CONFIGS)) {
    const place = join(folder, `model-${models.length}`);
    await writeRandomModel(place, config);
    copyFileSync(tokenizer, join(place, 'tokenizer.json'));
    models.push({ name, folder: place, prompt: 'It was the best of times, it was', addBos: false });
  }
  const wanted = values.models?.split(',') ?? models.map(({ name }) => name);
  const unknown = wanted.find((name) => !models.some((model) => model.name === name));
  if (unknown !== undefined)
    throw new SetupError(`There is no "${unknown}"; there are ${models.map(({ name }) => name).join(', ')}.`);
  return models.filter(({ name }) => wanted.includes(name));
}

function sampleTexts() {
  const novel = JSON.parse(gunzipSync(readFileSync(CORPUS)).toString('utf8').split('\n', 1)[0]).text;
  const lines = novel.split('\n').filter((line) => line !== '');
  return [...lines.slice(0, TEXTS), 'naïve café, 東京 🙂 and  two spaces\tand a tab', ' begins with a space'];
}

/** What Strata makes of a folder: its command's greedy text, and logits of the tokens of that text. */
async function answersOf({ folder, prompt }, texts) {
  const { loadModel } = await built('infer/index.js');
  const { loadTokenizer } = await built('data/index.js');
  const args = ['--prompt', prompt, '--max-tokens', String(MADE), '--ignore-eos', '--json', '--threads', '1'];
  const generated = JSON.parse(strata(['generate', folder, ...args]));
  const tokenizer = loadTokenizer(folder);
  const tokens = [...tokenizer.encode(texts.join('\n'))].slice(0, TOKENS);
  const model = loadModel(folder, { threads: 1 });
  try {
    const ids = texts.map((text) => [...tokenizer.encode(text)]);
    return { ...generated, tokens, texts: ids, logits: await allLogits(model, tokens) };
  } finally {
    model[Symbol.dispose]();
  }
}

/** Prints one line on a file; returns how many of its comparisons failed. Logits: root mean square difference over their standard deviation. */
function compare(name, type, ours, theirs) {
  const difference = relativeDifference(floatsOf(theirs.logits), ours.logits);
  const largest = GELU.has(name) ? Math.max(ROUNDING[type], ROUNDING.F16) : ROUNDING[type];
  const failures = difference <= ROUNDINGS * largest ? [] : [`at most ${(ROUNDINGS * largest).toExponential(1)}`];
  const same = ours.ids.findIndex((id, i) => id !== theirs.greedy[i]);
  const isEqual = same === -1 && ours.text === theirs.text;
  if (type === 'F32') {
    if (!isEqual) failures.push(`text ${JSON.stringify(theirs.text)} instead of ${JSON.stringify(ours.text)}`);
    const other = ours.texts.filter((ids, i) => JSON.stringify(ids) !== JSON.stringify(theirs.texts[i])).length;
    if (other > 0) failures.push(`ids of ${other} of ${ours.texts.length} texts`);
  }
  const text = isEqual ? `greedy text of ${ours.ids.length} tokens equal` : `greedy text equal for ${same} tokens`;
  say(
    `  ${failures.length === 0 ? 'same  ' : 'DIFFER'} ${name}, ${type}: logits differ by ${difference.toExponential(1)} of their spread, ${text}` +
      failures.map((failure) => `; ${failure}`).join(''),
  );
  return failures.length;
}

/** Root mean square of the difference over the standard deviation of b; NaN where lengths differ. */
function relativeDifference(a, b) {
  if (a.length !== b.length) return NaN;
  const mean = b.reduce((sum, value) => sum + value, 0) / b.length;
  let [difference, spread] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    difference += (a[i] - b[i]) ** 2;
    spread += (b[i] - mean) ** 2;
  }
  return Math.sqrt(difference / spread);
}
