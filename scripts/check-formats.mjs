// `npm run check:formats`: what `strata export` writes is read by pip's gguf and TensorBoard, tensor for tensor and point for point.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { askReference, built, strata } from './checks.mjs';
import { main, root, say, setup } from './setup.mjs';

const PACKAGES = ['gguf==0.19.0', 'tensorboard==2.21.0', 'safetensors'];
const TYPES = ['F32', 'F16', 'BF16', 'Q8_0'];

const sizes = {
  vocab_size: 96,
  hidden_size: 64,
  // Rows of 80 do not fill Q8_0's blocks.
  intermediate_size: 80,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  max_position_embeddings: 64,
};
const grouped = { ...sizes, num_key_value_heads: 2 };
const CONFIGS = [
  { ...grouped, model_type: 'llama' },
  { ...grouped, model_type: 'mistral', tie_word_embeddings: true },
  { ...grouped, model_type: 'qwen2' },
  { ...grouped, model_type: 'qwen3', head_dim: 32 },
  { ...sizes, model_type: 'gpt_neox' },
  { ...sizes, model_type: 'gpt2' },
  { ...grouped, model_type: 'olmo2' },
  { ...grouped, model_type: 'gemma2', head_dim: 32 },
];

await main(async () => {
  await setup();
  const { peerPython } = await import(join(root, 'dist', 'bench', 'venv.js'));
  const python = peerPython(PACKAGES, say);
  const folder = mkdtempSync(join(tmpdir(), 'strata-check-formats-'));
  try {
    const job = { gguf: await writeModels(folder), events: [writeEvents(folder)] };
    const stdout = askReference(python, 'check_formats.py', job);
    say(stdout.trimEnd());
    const wrong = stdout.split('\n').filter((line) => line.includes('DIFFER')).length;
    say(wrong === 0 ? 'All files are read as they were meant.' : `${wrong} files differ.`);
    process.exitCode = wrong === 0 ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

async function writeModels(folder) {
  const { familyOf, RandomStream, weightSize } = await built('architecture/index.js');
  const { saveModel } = await built('interop/index.js');
  const files = [];
  for (const config of CONFIGS) {
    const name = config.model_type;
    const source = join(folder, name);
    saveModel(source, familyOf(name).parse(config, name), (spec) => {
      const numbers = new Float32Array(weightSize(spec));
      new RandomStream(1, spec.name).fillNormal(numbers, 0.5);
      return numbers;
    });
    for (const type of TYPES) {
      const path = join(folder, `${name}-${type}.gguf`);
      strata(['export', source, '--format', 'gguf', '--dtype', type.toLowerCase(), '--out', path, '--quiet']);
      files.push({ name, type, path, folder: source });
    }
  }
  return files;
}

function writeEvents(folder) {
  const run = join(folder, 'run');
  mkdirSync(run);
  const lines = Array.from({ length: 300 }, (_, i) => {
    const position = {
      stage: 'base',
      step: i + 1,
      tokens: 4096 * (i + 1),
      flops: 1.5e12 * (i + 1),
      time: 1.7e9 + i / 3,
    };
    const train = {
      kind: 'train',
      ...position,
      loss: 8 / (i + 2),
      lr: 1e-3,
      gradNorm: 1 / (i + 1),
      tokensPerSecond: 5e4,
    };
    return i % 100 === 99 ? [train, { kind: 'validation', ...position, loss: 9 / (i + 2) }] : [train];
  }).flat();
  writeFileSync(join(run, 'records.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const path = join(folder, 'events');
  strata(['export', run, '--format', 'tensorboard', '--out', path, '--quiet']);
  return { path, run };
}
