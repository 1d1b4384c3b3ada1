// `npm run check:transformers`: folders that Strata wrote, of every family, before and after growth by stack, give in pip's transformers the same
// logits and the same greedy tokens; a tokenizer that Strata trained gives the same ids in pip's tokenizers.
//   node scripts/check-transformers.mjs [--families a,b] [--keep FOLDER]
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { allLogits, askReference, built, floatsOf, largestDifference, strata, writeRandomModel } from './checks.mjs';
import { main, root, say, setup, SetupError } from './setup.mjs';

/** Absolute. */
const LOGITS_TOLERANCE = 1e-4;
const PACKAGES = ['transformers==5.23.0', 'tokenizers', 'safetensors', 'sentencepiece'];
const VOCABULARY = 512;
/** Longer than the windows below, so that they count. */
const TOKENS = 48;
const PROMPT = 20;
const MADE = 24;
const TEXTS = 400;

const { values } = parseArgs({ options: { families: { type: 'string' }, keep: { type: 'string' } } });

const sizes = {
  vocab_size: VOCABULARY,
  hidden_size: 64,
  intermediate_size: 160,
  num_hidden_layers: 3,
  num_attention_heads: 8,
  max_position_embeddings: 128,
};
const grouped = { ...sizes, num_key_value_heads: 2 };
/** By family, and variants that differ in what is computed. */
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
  mistral: { ...grouped, model_type: 'mistral', sliding_window: 16 },
  qwen2: { ...grouped, model_type: 'qwen2', use_sliding_window: true, sliding_window: 16, max_window_layers: 1 },
  qwen3: { ...grouped, model_type: 'qwen3', head_dim: 16, tie_word_embeddings: true },
  gpt_neox: { ...sizes, model_type: 'gpt_neox', rotary_pct: 0.25 },
  gpt2: { ...sizes, model_type: 'gpt2' },
  olmo2: { ...grouped, model_type: 'olmo2' },
  gemma2: { ...grouped, model_type: 'gemma2', head_dim: 16, query_pre_attn_scalar: 16, sliding_window: 16 },
};

await main(async () => {
  await setup();
  const { peerPython } = await import(join(root, 'dist', 'bench', 'venv.js'));
  const python = peerPython(PACKAGES, say);
  const folder = values.keep ?? mkdtempSync(join(tmpdir(), 'strata-check-transformers-'));
  mkdirSync(folder, { recursive: true });
  try {
    const wrong = await check(python, folder);
    say(wrong === 0 ? 'transformers and Strata agree.' : `${wrong} of the comparisons failed.`);
    process.exitCode = wrong === 0 ? 0 : 1;
  } finally {
    if (values.keep === undefined) rmSync(folder, { recursive: true, force: true });
  }
});

async function check(python, folder) {
  const names = values.families?.split(',') ?? Object.keys(CONFIGS);
  const { RandomStream } = await built('architecture/index.js');
  const models = [];
  for (const name of names) {
    const config = CONFIGS[name];
    if (config === undefined)
      throw new SetupError(`There is no "${name}"; there are ${Object.keys(CONFIGS).join(', ')}.`);
    const source = join(folder, `${models.length}`);
    await writeRandomModel(source, config);
    const grown = `${source}-grown`;
    strata(['grow', source, '--operator', 'stack', '--factor', '2', '--out', grown, '--quiet']);
    models.push({ name, folder: source }, { name: `${name}, grown by stack`, folder: grown });
  }
  const tokens = [...new RandomStream(3, 'tokens').integers(TOKENS, VOCABULARY)];
  const tokenizer = join(folder, 'tokenizer.json');
  const corpus = join(root, 'corpora', 'novels-small', 'validation.jsonl.gz');
  strata(['tokenizer', 'train', corpus, '--vocab-size', '1000', '--out', tokenizer, '--quiet']);
  const novel = JSON.parse(gunzipSync(readFileSync(corpus)).toString('utf8').split('\n', 1)[0]).text;
  const texts = novel
    .split('\n')
    .filter((line) => line !== '')
    .slice(0, TEXTS);
  const job = { models, tokens, prompt: PROMPT, made: MADE, tokenizer, texts };
  const theirs = JSON.parse(askReference(python, 'check_transformers.py', job));
  say(
    `Compared with ${Object.entries(theirs.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}:`,
  );
  let wrong = 0;
  for (const [i, model] of models.entries()) wrong += await compare(model, job, theirs.models[i]);
  return wrong + (await compareTokenizer(tokenizer, texts, theirs.ids));
}

/** Compares logits and greedy tokens of one folder; returns how many of the two differ. */
async function compare({ name, folder }, { tokens, prompt, made }, theirs) {
  const { generate, loadModel } = await built('infer/index.js');
  const model = loadModel(folder, { threads: 2 });
  try {
    const difference = largestDifference(await allLogits(model, tokens), floatsOf(theirs.logits));
    const greedy = [];
    const ids = Int32Array.from(tokens.slice(0, prompt));
    for await (const { token } of generate(model, ids, { temperature: 0, maxTokens: made })) greedy.push(token);
    const equal = JSON.stringify(greedy) === JSON.stringify(theirs.greedy);
    const close = difference <= LOGITS_TOLERANCE;
    say(
      `  ${close && equal ? 'same  ' : 'DIFFER'} ${name} (${theirs.class}): logits differ by ${difference.toExponential(1)}, ` +
        `${made} greedy tokens ${equal ? 'equal' : `${greedy} instead of ${theirs.greedy}`}`,
    );
    return (close ? 0 : 1) + (equal ? 0 : 1);
  } finally {
    model[Symbol.dispose]();
  }
}

async function compareTokenizer(path, texts, theirs) {
  const { loadTokenizer } = await built('data/index.js');
  const tokenizer = loadTokenizer(path);
  const wrong = texts.filter((text, i) => JSON.stringify([...tokenizer.encode(text)]) !== JSON.stringify(theirs[i]));
  say(`  ${wrong.length === 0 ? 'same  ' : 'DIFFER'} ids of ${texts.length} lines by a tokenizer that Strata trained`);
  return wrong.length;
}
