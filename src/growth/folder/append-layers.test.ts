import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { writeRandomCheckpoint } from '../../../test/support/random-checkpoint.js';
import { preset } from '../../architecture/index.js';
import { openCheckpoint, verifyManifest, writeManifest } from '../../interop/index.js';
import { appendLayers } from './append-layers.js';

const root = mkdtempSync(join(tmpdir(), 'strata-append-'));
afterAll(() => rmSync(root, { recursive: true }));
const folder = (name: string): string => join(root, name);
writeRandomCheckpoint(folder('reference'), preset('test-tiny', { num_hidden_layers: 4 }), 1);
writeRandomCheckpoint(folder('target'), preset('test-tiny', { num_hidden_layers: 2 }), 2);
writeFileSync(join(folder('target'), 'tokenizer.json'), '{}');
writeManifest(folder('target'), { step: 7, tokens: 1000, flops: 5e12, flopsExact: '5000000000001' });

it("puts the reference's next layers on the target, and keeps what was paid", () => {
  appendLayers(folder('target'), folder('reference'), 3, folder('out'));
  using made = openCheckpoint(folder('out'));
  using target = openCheckpoint(folder('target'));
  using reference = openCheckpoint(folder('reference'));
  expect(made.config.num_hidden_layers).toBe(3);
  for (const { name, layer } of made.weights)
    expect(made.read(name), name).toEqual((layer === 2 ? reference : target).read(name));
  expect(made.manifest).toMatchObject({ step: 7, tokens: 1000, flopsExact: '5000000000001' });
  expect(Object.keys(made.manifest!.files)).toContain('tokenizer.json');
  expect(verifyManifest(made.folder, made.manifest!)).toBeUndefined();
});

it('refuses a target of other sizes', () => {
  writeRandomCheckpoint(folder('wide'), preset('test-tiny', { num_hidden_layers: 2, intermediate_size: 96 }));
  expect(() => appendLayers(folder('wide'), folder('reference'), 3, folder('none'))).toThrow(
    /expected "model.layers.0.mlp.gate_proj.weight" of shape \[88,32\]/,
  );
});
