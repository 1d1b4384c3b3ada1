// Mutated files of every format that Strata reads: each is read, or refused with a sentence that names the file.
// `STRATA_FUZZ=1000000 npm test -- test/hostile-files.test.ts` tries more of them; case N is the same in every run.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getHeapStatistics } from 'node:v8';
import { afterAll, expect, test } from 'vitest';
import { familyOf } from '../src/architecture/index.js';
import { InputError } from '../src/errors.js';
import { exportLlama2c, inspectPath, openCheckpoint, writeSafetensors } from '../src/interop/index.js';
import { writeAtomically } from '../src/interop/atomic-file.js';
import { writeGguf } from '../src/interop/gguf/format.js';
import { mutateBytes, mutateJson, mutateText, type Random, randomFrom } from './support/mutate.js';
import { writeRandomCheckpoint } from './support/random-checkpoint.js';

const FILES = Number(process.env['STRATA_FUZZ'] ?? 20_000);
/** What reading a file of some kilobytes may take: the weight map of a thousand layers has a few megabytes. */
const MAX_BYTES = 64 << 20;
const MAX_MESSAGE = 600;
const TIMEOUT_MS = 60_000 * Math.max(1, FILES / 20_000);

const scratch = mkdtempSync(join(tmpdir(), 'strata-hostile-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** A file to mutate, and what is then read: the file, or the folder that it is part of. */
interface Subject {
  readonly file: string;
  readonly folder?: string;
  readonly mutate: (original: Buffer, random: Random) => Buffer;
}

const tiny = {
  vocab_size: 8,
  hidden_size: 4,
  intermediate_size: 8,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  max_position_embeddings: 8,
};

function makeFolder(name: string, fields: { model_type: string }, maxShardBytes = 1e9): string {
  const folder = join(scratch, name);
  writeRandomCheckpoint(folder, familyOf(fields.model_type).parse({ ...tiny, ...fields }, name), 1, { maxShardBytes });
  return folder;
}

const subjects: Readonly<Record<string, () => Subject[]>> = {
  'safetensors headers': () => {
    const file = join(scratch, 'model.safetensors');
    writeSafetensors(
      file,
      [
        { name: 'a', dtype: 'F32', shape: [2, 2], values: Float32Array.of(1, 2, 3, 4) },
        { name: 'b', dtype: 'BF16', shape: [3], values: Float32Array.of(5, 6, 7) },
        { name: 'c', dtype: 'F8_E4M3', shape: [1, 2], values: Float32Array.of(8, 9) },
      ],
      { format: 'pt' },
    );
    return [{ file, mutate: mutateSafetensors }];
  },
  'index files': () => {
    const folder = makeFolder('sharded', { model_type: 'llama' }, 200);
    return [{ file: join(folder, 'model.safetensors.index.json'), folder, mutate: mutateText }];
  },
  configs: () =>
    [
      { model_type: 'llama', rope_scaling: { rope_type: 'linear', factor: 2 } },
      { model_type: 'mistral', sliding_window: 4 },
      { model_type: 'qwen2' },
      { model_type: 'qwen3' },
      { model_type: 'gpt_neox', rotary_pct: 1 },
      { model_type: 'gpt2' },
      { model_type: 'olmo2' },
      { model_type: 'gemma2' },
    ].map((fields) => {
      const folder = makeFolder(fields.model_type, fields);
      return { file: join(folder, 'config.json'), folder, mutate: mutateText };
    }),
  GGUF: () => {
    const file = join(scratch, 'model.gguf');
    const metadata = new Map([
      ['general.architecture', { type: 'string', value: 'llama' }],
      ['general.alignment', { type: 'u32', value: 32 }],
      ['llama.rope.freq_base', { type: 'f32', value: 1e4 }],
      ['tokenizer.ggml.add_bos_token', { type: 'bool', value: true }],
      ['tokenizer.ggml.tokens', { type: 'strings', value: ['<unk>', '<s>', '', 'é'] }],
      ['tokenizer.ggml.scores', { type: 'f32s', value: [0, 1, 2, 3] }],
      ['tokenizer.ggml.token_type', { type: 'i32s', value: [2, 3, 1, 1] }],
    ] as const);
    const tensors = [
      { name: 'token_embd.weight', shape: [4, 32], type: 'Q8_0' },
      { name: 'output_norm.weight', shape: [4], type: 'F32' },
      { name: 'blk.0.attn_q.weight', shape: [2, 3], type: 'BF16' },
    ] as const;
    const bytes = [4 * 34, 16, 12];
    writeAtomically(file, (out) =>
      writeGguf(out, metadata, tensors, (tensor) => new Uint8Array(bytes[tensors.indexOf(tensor as never)]!)),
    );
    return [{ file, mutate: (original, random) => mutateBytes(original, random, 420) }];
  },
  'llama2.c files': () => {
    using checkpoint = openCheckpoint(makeFolder('for-llama2c', { model_type: 'llama', rms_norm_eps: 1e-5 } as never));
    const file = join(scratch, 'model.bin');
    exportLlama2c(checkpoint, file);
    return [{ file, mutate: (original, random) => mutateBytes(original, random, 28) }];
  },
};

/** Mutates the JSON of a header, whose length then still fits, or any bytes of the file. */
function mutateSafetensors(original: Buffer, random: Random): Buffer {
  if (random() < 0.5) return mutateBytes(original, random, original.length);
  const length = Number(original.readBigUInt64LE());
  const header = mutateJson(original.subarray(8, 8 + length), random);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([prefix, header, original.subarray(8 + length)]);
}

const kinds = Object.keys(subjects);

test.each(kinds)('%s: mutated ones are read or refused with a sentence', { timeout: TIMEOUT_MS }, (kind) => {
  const list = subjects[kind]!();
  const originals = list.map(({ file }) => readFileSync(file));
  list.forEach(({ file, folder }) => expect(() => readAll(file, folder)).not.toThrow());
  let refused = 0;
  const count = Math.ceil(FILES / kinds.length);
  for (let i = 0; i < count; i++) {
    const { file, folder, mutate } = list[i % list.length]!;
    const mutant = mutate(originals[i % list.length]!, randomFrom(i));
    writeFileSync(file, mutant);
    const before = memoryInUse();
    let error: unknown;
    try {
      readAll(file, folder);
    } catch (caught) {
      error = caught;
      refused++;
    }
    const grown = memoryInUse() - before;
    const complaint = grown > MAX_BYTES ? `it took ${grown} bytes` : complaintAbout(error, folder ?? file);
    if (complaint !== undefined) {
      const kept = join(tmpdir(), `strata-hostile-${i}`);
      writeFileSync(kept, mutant);
      throw new Error(`${kind}, case ${i} (kept as ${kept}): ${complaint}`, { cause: error });
    }
  }
  // Both ways are taken: a mutation that always or never breaks a file would test nothing.
  expect(refused / count).toBeGreaterThan(0.2);
  expect(refused / count).toBeLessThan(0.999);
});

test('the largest configs that are accepted take little memory before weights are missed', () => {
  for (const model_type of ['llama', 'gpt_neox', 'gemma2']) {
    const folder = makeFolder(`absurd-${model_type}`, { model_type });
    const file = join(folder, 'config.json');
    const config = JSON.parse(readFileSync(file, 'utf8')) as object;
    const sizes = { hidden_size: 20_000, num_attention_heads: 1e4, num_key_value_heads: 1e4, num_hidden_layers: 2000 };
    writeFileSync(
      file,
      JSON.stringify({ ...config, ...sizes, head_dim: 2, intermediate_size: 1e8, layer_types: undefined }),
    );
    const before = memoryInUse();
    expect(() => openCheckpoint(folder)).toThrow(InputError);
    expect(memoryInUse() - before).toBeLessThan(2 * MAX_BYTES);
    writeFileSync(file, JSON.stringify({ ...config, ...sizes, num_hidden_layers: 1e5 }));
    expect(() => openCheckpoint(folder)).toThrow('field "num_hidden_layers"');
  }
});

function readAll(file: string, folder: string | undefined): void {
  inspectPath(folder ?? file);
  if (folder === undefined) return;
  using checkpoint = openCheckpoint(folder);
  for (const { name } of checkpoint.weights) checkpoint.read(name);
}

/** What is wrong with an error: it has to be a short sentence on one line, without the file's own control characters, that names the file. */
function complaintAbout(error: unknown, path: string): string | undefined {
  if (error === undefined) return undefined;
  if (!(error instanceof InputError)) return `it threw ${error instanceof Error ? error.stack : String(error)}`;
  const { message } = error;
  if (!message.includes(path)) return `the message does not name the file: ${message}`;
  if (message.length > MAX_MESSAGE + path.length) return `the message has ${message.length} characters`;
  if (/\p{Cc}/u.test(message)) return `the message holds control characters: ${message}`;
  return message.endsWith('.') ? undefined : `the message is no sentence: ${message}`;
}

function memoryInUse(): number {
  const { used_heap_size, external_memory } = getHeapStatistics();
  return used_heap_size + external_memory;
}
