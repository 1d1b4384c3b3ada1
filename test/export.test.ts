import { createHash } from 'node:crypto';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { InputError } from '../src/errors.js';
import {
  exportGguf,
  exportHuggingFace,
  exportLlama2c,
  exportTensorboard,
  type GgmlType,
  importLlama2c,
  openCheckpoint,
  writeManifest,
} from '../src/interop/index.js';
import { crc32c } from '../src/interop/tensorboard/crc32c.js';
import { readFamilyGolden, readStoredTensors } from './golden/read.js';
import { readGguf } from './support/gguf.js';

const scratch = mkdtempSync(join(tmpdir(), 'strata-export-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const stories = new URL('./fixtures/models/stories260K', import.meta.url).pathname;
const exportTo = (name: string, folder: string, type: GgmlType) => {
  using checkpoint = openCheckpoint(folder);
  const path = join(scratch, name);
  exportGguf(checkpoint, path, { type, name: 'stories' });
  return readGguf(path);
};

describe('GGUF', () => {
  test('has the names and metadata of llama.cpp', () => {
    const { metadata, tensors } = exportTo('stories.gguf', stories, 'F32');
    expect(Object.fromEntries(metadata)).toMatchObject({
      'general.architecture': 'llama',
      'general.file_type': 0,
      'llama.block_count': 5,
      'llama.embedding_length': 64,
      'llama.feed_forward_length': 172,
      'llama.attention.head_count': 8,
      'llama.attention.head_count_kv': 4,
      'llama.attention.layer_norm_rms_epsilon': Math.fround(1e-5),
      'llama.rope.dimension_count': 8,
      'llama.rope.freq_base': 10000,
      'llama.context_length': 512,
      'tokenizer.ggml.model': 'llama',
      'tokenizer.ggml.bos_token_id': 1,
    });
    const names = [
      'attn_norm',
      'attn_q',
      'attn_k',
      'attn_v',
      'attn_output',
      'ffn_norm',
      'ffn_gate',
      'ffn_up',
      'ffn_down',
    ];
    const layers = [0, 1, 2, 3, 4].flatMap((layer) => names.map((name) => `blk.${layer}.${name}.weight`));
    expect([...tensors.keys()]).toEqual(['token_embd.weight', ...layers, 'output_norm.weight']);
    const tokens = metadata.get('tokenizer.ggml.tokens') as string[];
    expect([tokens.length, tokens.slice(0, 4), tokens[259]]).toEqual([512, ['<unk>', '<s>', '</s>', '<0x00>'], '▁t']);
    expect((metadata.get('tokenizer.ggml.token_type') as number[]).slice(0, 4)).toEqual([2, 3, 3, 6]);
    // The first merge makes the piece that joins first.
    const scores = metadata.get('tokenizer.ggml.scores') as number[];
    expect(Math.max(...scores.slice(259))).toBe(scores[tokens.indexOf('▁t')]);
  });

  test('turns the pairs of q and k to neighbours, and nothing else', () => {
    const { tensors } = exportTo('pairs.gguf', stories, 'F32');
    const stored = readStoredTensors(join(stories, 'model.safetensors'));
    const theirs = stored.get('model.layers.3.self_attn.k_proj.weight')!.data;
    const ours = tensors.get('blk.3.attn_k.weight')!.floats();
    // Head of 8 rows: Hugging Face's 0 1 2 3 | 4 5 6 7 are the pairs (0, 4), (1, 5), ...
    [0, 4, 1, 5, 2, 6, 3, 7].forEach((from, row) => {
      expect(ours.slice((8 + row) * 64, (9 + row) * 64)).toEqual(theirs.slice((8 + from) * 64, (9 + from) * 64));
    });
    for (const [gguf, huggingFace] of [
      ['blk.3.attn_v.weight', 'model.layers.3.self_attn.v_proj.weight'],
      ['blk.0.ffn_down.weight', 'model.layers.0.mlp.down_proj.weight'],
      ['token_embd.weight', 'model.embed_tokens.weight'],
    ] as const)
      expect(tensors.get(gguf)!.floats()).toEqual(stored.get(huggingFace)!.data);
    expect(tensors.get('blk.0.ffn_down.weight')!.dims).toEqual([172, 64]);
  });

  test('fuses q, k and v of GPT-2 and GPT-NeoX, and stores Gemma’s gains whole', () => {
    const gpt2 = readFamilyGolden('gpt2');
    const fused = exportTo('gpt2.gguf', gpt2.folder, 'F32').tensors.get('blk.1.attn_qkv.weight')!;
    const conv1d = gpt2.weights.get('transformer.h.1.attn.c_attn.weight')!;
    expect(fused.dims).toEqual([16, 48]);
    expect(fused.floats()[5 * 16 + 3]).toBe(conv1d.data[3 * 48 + 5]);
    const neox = readFamilyGolden('gpt_neox');
    const bias = exportTo('neox.gguf', neox.folder, 'F32').tensors.get('blk.0.attn_qkv.bias')!.floats();
    const interleaved = neox.weights.get('gpt_neox.layers.0.attention.query_key_value.bias')!.data;
    // Keys of the second head: behind 16 queries and 4 keys there, behind its own 4 queries (and a head of 12) here.
    expect(bias.slice(20, 24)).toEqual(interleaved.slice(16, 20));
    const gemma = readFamilyGolden('gemma2');
    const gains = exportTo('gemma.gguf', gemma.folder, 'F32').tensors.get('output_norm.weight')!.floats();
    expect(gains).toEqual((gemma.weights.get('model.norm.weight')!.data as Float32Array).map((gain) => gain + 1));
  });

  test('quantizes to Q8_0 by blocks of 32, others to F16', () => {
    const { tensors } = exportTo('q8.gguf', stories, 'Q8_0');
    expect(tensors.get('blk.0.attn_norm.weight')!.type).toBe('F32');
    // Rows of 172 do not fill blocks of 32.
    expect(tensors.get('blk.0.ffn_down.weight')!.type).toBe('F16');
    const exact = exportTo('exact.gguf', stories, 'F32').tensors.get('blk.0.ffn_up.weight')!.floats();
    const found = tensors.get('blk.0.ffn_up.weight')!;
    expect(found.type).toBe('Q8_0');
    found.floats().forEach((value, i) => {
      const block = exact.slice(i - (i % 32), i - (i % 32) + 32);
      const step = Math.max(...block.map(Math.abs)) / 127;
      // Half a step by rounding, and what the scale loses as f16.
      expect(Math.abs(value - exact[i]!)).toBeLessThanOrEqual(step * (0.5 + 127 * 2 ** -11) * 1.0001);
    });
  });
});

describe('llama2.c', () => {
  test('gets the bytes of the file that its author published', () => {
    using checkpoint = openCheckpoint(stories);
    const path = join(scratch, 'stories.bin');
    exportLlama2c(checkpoint, path);
    // SHA-256 of A. Karpathy's stories260K.bin, its tables of rotary angles (bytes 1040156 to 1056540; never read) set to zero.
    expect(createHash('sha256').update(readFileSync(path)).digest('hex')).toBe(
      '9ff58ba3dece3aba57cf0d540d3d59e2aebaff86b7d20469b795217c826dd355',
    );
  });

  test('comes back as the folder it was made of', () => {
    const folder = join(scratch, 'imported');
    importLlama2c(join(scratch, 'stories.bin'), folder);
    expect(readStoredTensors(join(folder, 'model.safetensors'))).toEqual(
      readStoredTensors(join(stories, 'model.safetensors')),
    );
    const [ours, theirs] = [folder, stories].map((place) => {
      using checkpoint = openCheckpoint(place);
      return checkpoint.config;
    });
    for (const field of [
      'hidden_size',
      'intermediate_size',
      'num_key_value_heads',
      'rms_norm_eps',
      'tie_word_embeddings',
    ])
      expect(ours![field], field).toEqual(theirs![field]);
  });

  test('refuses what run.c would compute otherwise, and files that are cut', () => {
    using checkpoint = openCheckpoint(readFamilyGolden('qwen2').folder);
    expect(() => exportLlama2c(checkpoint, join(scratch, 'no.bin'))).toThrow(
      'field "model_type" must be "llama", found "qwen2"',
    );
    const cut = join(scratch, 'cut.bin');
    writeFileSync(cut, readFileSync(join(scratch, 'stories.bin')));
    truncateSync(cut, 1000);
    expect(() => importLlama2c(cut, join(scratch, 'cut'))).toThrow(InputError);
    writeFileSync(cut, Buffer.alloc(40, 0xff));
    expect(() => importLlama2c(cut, join(scratch, 'cut'))).toThrow(InputError);
  });
});

describe('Hugging Face folders', () => {
  test('are written in another type, without trainer state', () => {
    using checkpoint = openCheckpoint(stories);
    const folder = join(scratch, 'bf16');
    exportHuggingFace(checkpoint, folder, { dtype: 'BF16' });
    using exported = openCheckpoint(folder);
    expect(exported.dtype('model.norm.weight')).toBe('BF16');
    expect(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))).toMatchObject({ torch_dtype: 'bfloat16' });
    const [found, exact] = [exported, checkpoint].map((one) => one.read('model.layers.2.mlp.up_proj.weight'));
    found!.forEach((value, i) =>
      expect(Math.abs(value - exact![i]!)).toBeLessThanOrEqual(2 ** -8 * Math.abs(exact![i]!)),
    );
  });
});

test('f8 folders name a type that transformers computes in', () => {
  using checkpoint = openCheckpoint(stories);
  const folder = join(scratch, 'f8');
  exportHuggingFace(checkpoint, folder, { dtype: 'F8_E4M3' });
  using exported = openCheckpoint(folder);
  expect(exported.dtype('model.norm.weight')).toBe('F8_E4M3');
  expect(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))).toMatchObject({ torch_dtype: 'bfloat16' });
});

describe('the model card of an exported folder', () => {
  /** A run of two stages and a growth between them, whose checkpoint of step 20 lies within the last stage. */
  function writeRun(): string {
    const run = join(scratch, 'grown');
    const checkpoint = join(run, 'checkpoints', '20');
    mkdirSync(checkpoint, { recursive: true });
    for (const name of ['config.json', 'model.safetensors', 'tokenizer.json'])
      copyFileSync(join(stories, name), join(checkpoint, name));
    writeManifest(checkpoint, { step: 20, tokens: 700, flops: 1100 });
    writeFileSync(join(run, 'run.json'), JSON.stringify({ format: 1, name: 'grown', config: {} }));
    const train = (stage: string, step: number, tokens: number, flops: number) => ({
      ...{ kind: 'train', time: step, stage, step, tokens, flops, flopsExact: String(flops), loss: 3, lr: 1e-3 },
    });
    const growth = { stage: 'stack', step: 10, tokens: 400, flops: 300, flopsExact: '300', operator: 'stack' };
    const records = [
      train('base', 5, 200, 100),
      train('base', 10, 400, 200),
      { kind: 'growth', time: 11, planHash: 'abc', ...growth },
      train('target', 20, 700, 1100),
      train('target', 30, 1000, 1900),
    ];
    writeFileSync(join(run, 'records.jsonl'), records.map((record) => `${JSON.stringify(record)}\n`).join(''));
    return run;
  }

  test('says what each stage cost up to its step, and hands that on', () => {
    const run = writeRun();
    const folder = join(scratch, 'card');
    using checkpoint = openCheckpoint(`${run}@20`);
    exportHuggingFace(checkpoint, folder, { dtype: 'F16' });
    const card = readFileSync(join(folder, 'README.md'), 'utf8');
    expect(card).toMatch(/^---\nbase_model: "grown@20"\n/);
    expect(card).toContain('tags: [strata, model-growth, stack]');
    expect(card).toContain('| base | training | 400 | 2.0000e+2 |');
    expect(card).toContain('| stack | growth by `stack`, plan `abc` | 0 | 1.0000e+2 |');
    expect(card).toContain('| target | training | 300 | 8.0000e+2 |');
    const again = join(scratch, 'card-again');
    using exported = openCheckpoint(folder);
    exportHuggingFace(exported, again);
    expect(readFileSync(join(again, 'README.md'), 'utf8')).toContain('| target | training | 300 | 8.0000e+2 |');
  });
});

describe('TensorBoard event files', () => {
  test('have the checksums of RFC 3720', () => {
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  });

  test('hold the curves of a run', () => {
    const run = join(scratch, 'run');
    mkdirSync(run);
    const position = { stage: 'base', tokens: 100, flops: 2e9, time: 1.5 };
    const records = [
      { kind: 'event', name: 'start', time: 1 },
      { kind: 'train', step: 1, loss: 3.5, lr: 1e-3, ...position },
      { kind: 'validation', step: 300, loss: 3.25, ...position },
      { kind: 'eval', step: 300, tokens: 100, flops: 2e9, task: 'piqa', metric: 'acc', value: 0.5, time: 2 },
    ];
    writeFileSync(join(run, 'records.jsonl'), records.map((record) => `${JSON.stringify(record)}\n`).join(''));
    const { path, scalars } = exportTensorboard(run, join(scratch, 'events'));
    expect(scalars).toBe(6);
    const bytes = readFileSync(path);
    // `npm run check:formats` reads a whole file by TensorBoard itself.
    expect(bytes.includes(Buffer.from('validation/loss'))).toBe(true);
    expect(bytes.subarray(12, 12 + 24)).toEqual(
      Buffer.concat([
        Buffer.of(0x09),
        Buffer.from(Float64Array.of(1).buffer),
        Buffer.of(0x1a, 0x0d),
        Buffer.from('brain.Event:2'),
      ]),
    );
  });
});
