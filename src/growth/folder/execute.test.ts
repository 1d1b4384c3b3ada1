import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { writeRandomCheckpoint } from '../../../test/support/random-checkpoint.js';
import { preset } from '../../architecture/index.js';
import { hashFile, openCheckpoint, readJsonObject, verifyManifest, writeManifest } from '../../interop/index.js';
import { planGrowth } from '../request.js';
import { executeOnFolder } from './execute.js';

const root = mkdtempSync(join(tmpdir(), 'strata-grow-'));
afterAll(() => rmSync(root, { recursive: true }));
const config = preset('test-tiny');
const base = join(root, 'base');
writeRandomCheckpoint(base, config);
writeFileSync(join(base, 'tokenizer.json'), '{}');
writeManifest(base, { step: 7, tokens: 1000, flops: 5e12, flopsExact: '5000000000001' });
const plan = planGrowth({ operator: 'stack', source: config, factor: 2 });

const layer = (folder: string, index: number): Record<string, Float32Array> => {
  using checkpoint = openCheckpoint(folder);
  const prefix = `model.layers.${index}.`;
  return Object.fromEntries(
    checkpoint.weights
      .filter(({ name }) => name.startsWith(prefix))
      .map(({ name }) => [name.slice(prefix.length), checkpoint.read(name)]),
  );
};

describe('executeOnFolder', () => {
  it('writes the grown model with what belongs to it', async () => {
    using source = openCheckpoint(base);
    const out = join(root, 'stacked');
    const { manifest } = await executeOnFolder(plan, source, out, { verify: true });
    expect(layer(out, 2)).toEqual(layer(base, 0));
    expect(layer(out, 3)).toEqual(layer(base, 1));
    expect(readdirSync(out).sort()).toEqual([
      'README.md',
      'config.json',
      'manifest.json',
      'model.safetensors',
      'strata.json',
      'tokenizer.json',
    ]);
    expect(verifyManifest(out, manifest)).toBeUndefined();
    expect(manifest).toMatchObject({
      step: 7,
      tokens: 1000,
      flops: 5e12,
      flopsExact: '5000000000001',
      operator: 'stack',
    });
    expect(manifest['parents']).toEqual([
      { name: 'base', manifestSha256: hashFile(join(base, 'manifest.json')).sha256 },
    ]);
    expect(readJsonObject(join(out, 'strata.json'))['growth']).toMatchObject({ addedLayers: [2, 3] });
    expect(readJsonObject(join(out, 'config.json'))).toMatchObject({ num_hidden_layers: 4, torch_dtype: 'float32' });
    expect(existsSync(`${out}.partial`)).toBe(false);
  });

  it('gives the same numbers in shards and in another dtype, within its rounding', async () => {
    using source = openCheckpoint(base);
    const out = join(root, 'bf16');
    await executeOnFolder(plan, source, out, { dtype: 'BF16', maxShardBytes: 20_000, verify: true });
    expect(existsSync(join(out, 'model.safetensors.index.json'))).toBe(true);
    expect(readJsonObject(join(out, 'config.json'))['torch_dtype']).toBe('bfloat16');
    const [ours, theirs] = [layer(out, 3), layer(base, 1)];
    const unit = 2 ** -8;
    for (const [name, values] of Object.entries(theirs))
      values.forEach((value, i) =>
        expect(Math.abs(ours[name]![i]! - value)).toBeLessThanOrEqual(unit * Math.abs(value)),
      );
  });

  it('goes on where an interruption left it and ends with the same bytes', async () => {
    using source = openCheckpoint(base);
    const whole = join(root, 'whole');
    await executeOnFolder(plan, source, whole, { maxShardBytes: 100_000 });
    for (const stopAt of [0, 50_000, 90_000, 150_000, 200_000]) {
      const out = join(root, `resumed-${stopAt}`);
      const options = { maxShardBytes: 100_000, journalBytes: 10_000 };
      const stop = (done: number): void => {
        if (done > stopAt) throw new Error('killed');
      };
      await expect(executeOnFolder(plan, source, out, { ...options, onProgress: stop })).rejects.toThrow('killed');
      expect(existsSync(out)).toBe(false);
      const { resumedBytes } = await executeOnFolder(plan, source, out, options);
      if (stopAt > 0) expect(resumedBytes).toBeGreaterThan(stopAt / 3);
      for (const file of readdirSync(whole).filter((name) => name.endsWith('.safetensors')))
        expect(hashFile(join(out, file))).toEqual(hashFile(join(whole, file)));
    }
  });

  it('starts anew when the plan has changed meanwhile', async () => {
    using source = openCheckpoint(base);
    const out = join(root, 'changed');
    const stop = (done: number): void => {
      if (done > 50_000) throw new Error('killed');
    };
    await expect(executeOnFolder(plan, source, out, { onProgress: stop, journalBytes: 1 })).rejects.toThrow('killed');
    const other = planGrowth({ operator: 'stack', source: config, factor: 3 });
    expect((await executeOnFolder(other, source, out, { verify: true })).resumedBytes).toBe(0);
  });

  it('does nothing when all is done, and never overwrites anything else', async () => {
    using source = openCheckpoint(base);
    const out = join(root, 'stacked');
    const before = hashFile(join(out, 'manifest.json'));
    await executeOnFolder(plan, source, out, {});
    expect(hashFile(join(out, 'manifest.json'))).toEqual(before);
    await expect(executeOnFolder(plan, source, base, {})).rejects.toThrow('already exists');
  });

  it('is kept from a folder that is being written, with or without a slash behind its name', async () => {
    using source = openCheckpoint(base);
    const out = join(root, 'both');
    const first = executeOnFolder(plan, source, out);
    await expect(executeOnFolder(plan, source, `${out}/`)).rejects.toThrow(`in use by process ${process.pid}`);
    const { manifest } = await first;
    expect(verifyManifest(out, manifest)).toBeUndefined();
    expect(readdirSync(root).filter((name) => name.endsWith('.lock'))).toEqual([]);
    expect((await executeOnFolder(plan, source, `${out}/`)).resumedBytes).toBeGreaterThan(0);
  });

  it('notices a grown folder that is not what the plan says', async () => {
    using source = openCheckpoint(base);
    const { verifyGrown } = await import('./verify.js');
    const out = join(root, 'stacked');
    const other = planGrowth({ operator: 'stack', source: config, factor: 2, options: { noise: 0.1 } });
    const manifest = openCheckpoint(out).manifest!;
    expect(() => verifyGrown(other, source, out, manifest)).toThrow('is not what the plan says');
    expect(() => verifyGrown(plan, source, out, manifest)).not.toThrow();
    const path = join(out, 'README.md');
    writeFileSync(path, readFileSync(path, 'utf8').replace('grown', 'grewn'));
    expect(() => verifyGrown(plan, source, out, manifest)).toThrow('SHA-256');
  });
});
