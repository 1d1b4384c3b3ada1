import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { writeRandomCheckpoint } from '../../test/support/random-checkpoint.js';
import { preset, RandomStream, weightSize } from '../architecture/index.js';
import { inspectPath } from './inspect.js';
import { exportGguf, exportLlama2c, openCheckpoint, saveModel, writeSafetensors } from './index.js';

const root = mkdtempSync(join(tmpdir(), 'strata-inspect-'));
afterAll(() => rmSync(root, { recursive: true }));
const config = preset('test-tiny', { num_hidden_layers: 4 });
const base = join(root, 'base');
writeRandomCheckpoint(base, config, 1, { maxShardBytes: 100_000 });

describe('inspectPath', () => {
  it('describes a sound folder', () => {
    writeFileSync(join(base, 'tokenizer.json'), '{}');
    const found = inspectPath(base);
    expect(found).toMatchObject({
      modelType: 'llama',
      architecture: 'LlamaForCausalLM',
      sound: true,
      otherFiles: ['tokenizer.json'],
    });
    expect(found.checks).toEqual({ missing: [], extra: [], misshapen: [], nonFinite: [], equalLayers: [] });
    expect(found.dtypes).toEqual({ F32: { tensors: 3 + 4 * 9, bytes: 4 * found.parameters!.total } });
    expect(found.files.length).toBeGreaterThan(1);
  });

  it('sees that a model was stacked', () => {
    const folder = join(root, 'stacked');
    saveModel(folder, config, (spec) => {
      const values = new Float32Array(weightSize(spec));
      new RandomStream(
        1,
        spec.name.replace(/layers\.(\d)/, (_, layer) => `layers.${Number(layer) % 2}`),
      ).fillNormal(values);
      return values;
    });
    expect(inspectPath(folder).checks.equalLayers).toEqual([
      [0, 2],
      [1, 3],
    ]);
    expect(inspectPath(folder, { readWeights: false }).checks.equalLayers).toBeUndefined();
  });

  it('names what is missing, extra, misshapen and not finite', () => {
    const folder = join(root, 'broken');
    cpSync(base, folder, { recursive: true });
    const json = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>;
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...json, num_hidden_layers: 5, vocab_size: 250 }));
    const { checks, sound } = inspectPath(folder);
    expect(sound).toBe(false);
    expect(checks.missing).toHaveLength(9);
    expect(checks.misshapen.map(({ name }) => name)).toEqual(['model.embed_tokens.weight', 'lm_head.weight']);
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...json, num_hidden_layers: 3 }));
    expect(inspectPath(folder).checks.extra).toHaveLength(9);
  });

  it.each(['F32', 'F64', 'F16', 'BF16', 'F8_E5M2', 'F8_E4M3'] as const)('counts what is not finite in %s', (dtype) => {
    const file = join(root, `${dtype}.safetensors`);
    const values = Float32Array.of(1, NaN, -2, 448, 0, NaN, 1e-3);
    writeSafetensors(file, [{ name: 'a', dtype, shape: [7], values }]);
    expect(inspectPath(file).checks.nonFinite).toEqual([{ name: 'a', count: 2 }]);
  });

  it('describes GGUF and llama2.c files', () => {
    const plain = join(root, 'plain');
    writeRandomCheckpoint(plain, preset('test-tiny', { num_hidden_layers: 2, rms_norm_eps: 1e-5, rope_theta: 10000 }));
    using source = openCheckpoint(plain);
    const gguf = join(root, 'model.gguf');
    exportGguf(source, gguf, { type: 'Q8_0' });
    const found = inspectPath(gguf);
    expect(found.architecture).toBe('GGUF llama');
    expect(found.files[0]!.metadata).toMatchObject({ 'general.file_type': '7', 'llama.block_count': '2' });
    expect(found.dtypes['F32']!.tensors).toBe(2 * 2 + 1);
    expect(found.dtypes['Q8_0']!.tensors + (found.dtypes['F16']?.tensors ?? 0)).toBe(2 * 7 + 2);
    const bin = join(root, 'model.bin');
    exportLlama2c(source, bin);
    const llama2c = inspectPath(bin);
    expect(llama2c.parameters).toEqual(inspectPath(plain).parameters);
    expect(llama2c).toMatchObject({ sound: true, checks: { equalLayers: [], nonFinite: [] } });
  });

  it.each([
    ['weights.pt', Buffer.from('PK\u0003\u0004rest')],
    ['pytorch_model.bin', Buffer.of(0x80, 2, 0x8a)],
  ])('refuses the pickle %s and says how to convert it', (name, bytes) => {
    const file = join(root, name);
    writeFileSync(file, bytes);
    expect(() => inspectPath(file)).toThrow(/PyTorch pickle, which can run code .* convert it with python -c/);
  });

  it('says so where nothing is', () => {
    expect(() => inspectPath(join(root, 'nowhere'))).toThrow('there is no such file or folder');
  });
});
