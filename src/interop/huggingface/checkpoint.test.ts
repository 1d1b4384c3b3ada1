import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { writeRandomCheckpoint } from '../../../test/support/random-checkpoint.js';
import { preset, RandomStream } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import { writeSafetensors } from '../safetensors/index.js';
import { openCheckpoint, resolveCheckpoint } from './checkpoint.js';
import { copyExtraFiles } from './folder.js';
import { readManifest, verifyManifest, writeManifest } from './manifest.js';

const root = mkdtempSync(join(tmpdir(), 'strata-checkpoint-'));
afterAll(() => rmSync(root, { recursive: true }));
const config = preset('test-tiny');
const single = join(root, 'single');
const sharded = join(root, 'sharded');
writeRandomCheckpoint(single, config);
writeRandomCheckpoint(sharded, config, 1, { maxShardBytes: 20_000 });
const down = 'model.layers.1.mlp.down_proj.weight';

const copyOf = (folder: string, name: string): string => {
  const target = join(root, name);
  cpSync(folder, target, { recursive: true });
  return target;
};

describe('openCheckpoint', () => {
  it('reads single files and shards alike, whole and by rows', () => {
    const expected = new Float32Array(32 * 88);
    new RandomStream(1, down).fillNormal(expected, 0.3);
    for (const folder of [single, sharded]) {
      using checkpoint = openCheckpoint(folder);
      expect(checkpoint.config).toEqual(config);
      expect(checkpoint.read(down)).toEqual(expected);
      const rows = new Float64Array(2 * 88);
      checkpoint.readRows(down, 3, rows);
      expect(rows).toEqual(Float64Array.from(expected.subarray(3 * 88, 5 * 88)));
    }
  });

  it('resolves a tied head', () => {
    const folder = join(root, 'tied');
    writeRandomCheckpoint(folder, preset('test-tiny', { tie_word_embeddings: true }));
    using checkpoint = openCheckpoint(folder);
    expect(checkpoint.tensors.has('lm_head.weight')).toBe(false);
    expect(checkpoint.read('lm_head.weight')).toEqual(checkpoint.read('model.embed_tokens.weight'));
  });

  it('refuses an index that points outside the folder', () => {
    const folder = copyOf(sharded, 'outside');
    const index = { weight_map: { [down]: '../single/model.safetensors' } };
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify(index));
    expect(() => openCheckpoint(folder)).toThrow('must lie in a .safetensors file of this folder');
  });

  it('names what the index promises and the shard does not have', () => {
    const folder = copyOf(sharded, 'promised');
    const path = join(folder, 'model.safetensors.index.json');
    const index = JSON.parse(readFileSync(path, 'utf8')) as { weight_map: Record<string, string> };
    index.weight_map['extra'] = Object.values(index.weight_map)[0]!;
    writeFileSync(path, JSON.stringify(index));
    expect(() => openCheckpoint(folder)).toThrow('tensor "extra" is not in model-00001-of-');
  });

  it('refuses pickles with a way to convert them', () => {
    const folder = join(root, 'pickle');
    mkdirSync(folder);
    cpSync(join(single, 'config.json'), join(folder, 'config.json'));
    writeFileSync(join(folder, 'pytorch_model.bin'), '');
    expect(() => openCheckpoint(folder)).toThrow(InputError);
    expect(() => openCheckpoint(folder)).toThrow('save_pretrained');
  });

  it('names a tensor that is missing or has another shape', () => {
    const folder = copyOf(single, 'misshapen');
    const path = join(folder, 'config.json');
    const json = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    writeFileSync(path, JSON.stringify({ ...json, intermediate_size: 80 }));
    expect(() => openCheckpoint(folder)).toThrow(
      'tensor "model.layers.0.mlp.gate_proj.weight" must have shape [80,32] by config.json, found [88,32]',
    );
    writeFileSync(path, JSON.stringify({ ...json, num_hidden_layers: 3 }));
    expect(() => openCheckpoint(folder)).toThrow('tensor "model.layers.2.input_layernorm.weight" is missing');
    writeFileSync(path, JSON.stringify({ ...json, model_type: 'lama' }));
    expect(() => openCheckpoint(folder)).toThrow('did you mean "llama"?');
    writeFileSync(path, '{');
    expect(() => openCheckpoint(folder)).toThrow('not valid JSON');
  });
});

describe('resolveCheckpoint', () => {
  it('takes a run folder as its last whole checkpoint, and RUN@step', () => {
    const run = join(root, 'run');
    for (const step of ['5', '20', '100']) cpSync(single, join(run, 'checkpoints', step), { recursive: true });
    for (const step of ['5', '20']) writeManifest(join(run, 'checkpoints', step), { step: Number(step) });
    expect(resolveCheckpoint(run)).toBe(join(run, 'checkpoints', '20'));
    expect(resolveCheckpoint(`${run}@5`)).toBe(join(run, 'checkpoints', '5'));
    expect(() => resolveCheckpoint(`${run}@100`)).toThrow('there is no checkpoint of step 100; there are 5, 20.');
    expect(() => resolveCheckpoint(join(root, 'nowhere'))).toThrow('there is no such checkpoint');
    expect(() => resolveCheckpoint(root)).toThrow('neither a Hugging Face folder');
    expect(openCheckpoint(run).manifest?.step).toBe(20);
  });
});

describe('manifest', () => {
  it('finds a changed, a cut and a missing file', () => {
    const folder = copyOf(single, 'manifested');
    writeManifest(folder, { tokens: 5 });
    const manifest = readManifest(folder)!;
    expect(manifest.tokens).toBe(5);
    expect(Object.keys(manifest.files)).toEqual(['config.json', 'model.safetensors']);
    expect(verifyManifest(folder, manifest)).toBeUndefined();
    const path = join(folder, 'model.safetensors');
    const bytes = readFileSync(path);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(path, bytes);
    expect(verifyManifest(folder, manifest)).toContain('SHA-256');
    writeFileSync(path, bytes.subarray(1));
    expect(verifyManifest(folder, manifest)).toContain('bytes');
    rmSync(path);
    expect(verifyManifest(folder, manifest)).toContain('missing');
    writeFileSync(join(folder, 'manifest.json'), '{"format": 2}');
    expect(() => readManifest(folder)).toThrow('format');
  });
});

describe('copyExtraFiles', () => {
  it('keeps tokenizer files, also behind links, and leaves weights', () => {
    const folder = copyOf(single, 'extra');
    for (const name of ['tokenizer.json', 'chat_template.jinja', 'README.md', 'pytorch_model.bin', '.hidden'])
      writeFileSync(join(folder, name), name);
    symlinkSync(join(folder, 'tokenizer.json'), join(folder, 'vocab.json'));
    const target = join(root, 'extra-target');
    mkdirSync(target);
    expect(copyExtraFiles(folder, target).sort()).toEqual(['chat_template.jinja', 'tokenizer.json', 'vocab.json']);
  });
});

it('reads weights that another program wrote in any dtype', () => {
  const folder = copyOf(single, 'mixed');
  const specs = openCheckpoint(folder).weights;
  writeSafetensors(
    join(folder, 'model.safetensors'),
    specs.map(({ name, stored }) => ({
      name,
      dtype: name === down ? ('BF16' as const) : ('F16' as const),
      shape: stored.shape,
      values: new Float32Array(stored.shape.reduce((a, b) => a * b, 1)).fill(0.5),
    })),
  );
  using checkpoint = openCheckpoint(folder);
  expect(checkpoint.dtype(down)).toBe('BF16');
  expect(new Set(checkpoint.read(down))).toEqual(new Set([0.5]));
});
