import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { parseModelConfig } from '../architecture/index.js';
import { storedSpecs } from '../growth/index.js';
import { openCheckpoint, writeManifest } from '../interop/index.js';
import { findCheckpoint, rotateCheckpoints, saveCheckpoint, type TrainerState } from './checkpoint.js';
import { copyWeights, drawnWeights, type Floats, type Moments, storedWeights, type Weights } from './weights.js';

const root = mkdtempSync(join(tmpdir(), 'strata-checkpoint-'));
const run = join(root, 'run');
const checkpoints = join(run, 'checkpoints');
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => rmSync(run, { recursive: true, force: true }));

const config = parseModelConfig(
  { vocab_size: 16, hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 8 },
  'test',
);
const specs = storedSpecs(config);
const drawn = drawnWeights(config, specs, 3, 'paper');
const weights: Weights = {
  parameter: drawn.parameter,
  moments: (name) => ({ first: drawn.parameter(name), second: drawn.parameter(name).map((x) => x * x) }),
};

const stateAt = (step: number): TrainerState => ({
  format: 1,
  ...{
    stageIndex: 0,
    stage: 's',
    stageStep: step,
    stageSteps: null,
    step,
    sequences: 4 * step,
    optimizerStep: step,
    scheduleStart: 0,
  },
  // More than 2^53 in every sum.
  ledger: { tokens: 5, flopsExact: '28523899116101692293120', flops6ndExact: '7', flopsNonEmbeddingExact: '8' },
  recordsBytes: 17,
  validationLoss: null,
  environment: { cpu: 'c', libtorch: '2.13.0', kernels: 'off', threads: 2 },
});
const save = (step: number, manifest: Record<string, unknown> = {}): string =>
  saveCheckpoint(run, {
    config,
    specs,
    weights,
    state: stateAt(step),
    manifest: { step, ...manifest },
    tokenizerFiles: {},
  });

describe('a checkpoint', () => {
  it('gives back weights, moments and state, bit for bit', () => {
    const folder = save(3);
    expect(findCheckpoint(run, () => {})).toEqual({ folder, state: stateAt(3) });
    using checkpoint = openCheckpoint(folder);
    const parameters = new Map<string, Floats>();
    const moments = new Map<string, Moments>();
    for (const { name, axes } of specs) {
      const size = axes.reduce((product, axis) => product * axis.size, 1);
      parameters.set(name, new Float32Array(size));
      moments.set(name, { first: new Float32Array(size), second: new Float32Array(size) });
    }
    copyWeights(specs, storedWeights(checkpoint, join(folder, 'optimizer.safetensors')), {
      parameter: (name) => parameters.get(name)!,
      moments: (name) => moments.get(name),
    });
    for (const { name } of specs) {
      expect(parameters.get(name)).toEqual(weights.parameter(name));
      expect(moments.get(name)).toEqual(weights.moments(name));
    }
  });

  it.each([
    [
      'a cut file',
      (folder: string) => writeFileSync(join(folder, 'model.safetensors'), 'x'),
      /expected \d+ bytes, found 1/,
    ],
    ['a missing file', (folder: string) => rmSync(join(folder, 'optimizer.safetensors')), /is missing/],
    ['a damaged manifest', (folder: string) => writeFileSync(join(folder, 'manifest.json'), '{"for'), /manifest\.json/],
    [
      'a state of another format',
      (folder: string) => {
        writeFileSync(join(folder, 'trainer.json'), '{"format": 2}');
        writeManifest(folder, {});
      },
      /trainer\.json: field "format"/,
    ],
  ])('with %s is set aside with a sentence, and the one before is used', (_, damage, sentence) => {
    const before = save(10);
    damage(save(20));
    const said: string[] = [];
    expect(findCheckpoint(run, (line) => said.push(line))!.folder).toBe(before);
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(sentence);
    expect(existsSync(join(checkpoints, '20.damaged'))).toBe(true);
  });

  it('that a crash left half-written is removed', () => {
    const whole = save(1);
    cpSync(whole, join(checkpoints, '2.partial'), { recursive: true });
    mkdirSync(join(checkpoints, '3'));
    expect(findCheckpoint(run, () => {})!.folder).toBe(whole);
    expect(existsSync(join(checkpoints, '2.partial'))).toBe(false);
    expect(existsSync(join(checkpoints, '3'))).toBe(false);
  });

  it('stays if it is among the newest, at a kept multiple, or released', () => {
    for (const step of [2, 3, 4, 5, 6]) save(step, step === 3 ? { released: true } : {});
    rotateCheckpoints(run, { keepLast: 1, keepEvery: 4 });
    const left = [2, 3, 4, 5, 6].filter((step) => existsSync(join(checkpoints, String(step))));
    expect(left).toEqual([3, 4, 6]);
  });

  it('leaves nothing behind where it cannot be written', () => {
    save(1);
    const failing: Weights = {
      ...weights,
      moments() {
        throw Object.assign(new Error('write failed'), { code: 'ENOSPC' });
      },
    };
    const content = { config, specs, state: stateAt(2), manifest: {}, tokenizerFiles: {} };
    expect(() => saveCheckpoint(run, { ...content, weights: failing })).toThrow(
      /checkpoints\/2 could not be written: no space is left on the device;/,
    );
    expect(existsSync(join(checkpoints, '2.partial'))).toBe(false);
    expect(readFileSync(join(checkpoints, '1', 'manifest.json'), 'utf8')).toContain('sha256');
  });
});
