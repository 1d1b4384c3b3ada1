import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parseModelConfig, preset, RandomStream, weightSize } from '../../architecture/index.js';
import { saveModel } from '../../interop/index.js';
import { compareMeanField, matchingLayer } from './compare.js';
import { columnNorms, correlation, cosine, dispersion, relativeHistogram, rowNorms, shuffled } from './norms.js';

describe('norms of rows and columns', () => {
  const matrix = Float32Array.of(3, 4, 0, 0, 5, 12);

  it('are root mean squares', () => {
    // Rows [3, 4], [0, 0], [5, 12]: sqrt(25 / 2), 0, sqrt(169 / 2). Columns [3, 0, 5], [4, 0, 12]: sqrt(34 / 3), sqrt(160 / 3).
    expect([...rowNorms(matrix, 3, 2)]).toEqual([Math.sqrt(12.5), 0, Math.sqrt(84.5)]);
    expect([...columnNorms(matrix, 3, 2)]).toEqual([Math.sqrt(34 / 3), Math.sqrt(160 / 3)]);
  });

  it('spread relative to their mean', () => {
    // Mean 2: half of the mean is bin 5, the mean bin 10, one and a half bin 15, five times it the last.
    expect([...relativeHistogram(Float64Array.of(1, 2, 3, 2)).entries()].filter(([, share]) => share > 0)).toEqual([
      [5, 0.25],
      [10, 0.5],
      [15, 0.25],
    ]);
    const far = relativeHistogram(Float64Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 10));
    expect(far[39]).toBeCloseTo(0.1, 14);
    // Mean 2, variance (1 + 0 + 1 + 0) / 4.
    expect(dispersion(Float64Array.of(1, 2, 3, 2))).toBeCloseTo(Math.sqrt(0.5) / 2, 14);
  });

  it('are compared by cosine and correlation', () => {
    expect(cosine(Float64Array.of(3, 4), Float64Array.of(4, 3))).toBeCloseTo(24 / 25, 14);
    // Around their means [-1, 0, 1] and [-1, 1, 0]: 1 / 2.
    expect(correlation(Float64Array.of(1, 2, 3), Float64Array.of(4, 6, 5))).toBeCloseTo(0.5, 14);
    expect(correlation(Float64Array.of(1, 1), Float64Array.of(2, 5))).toBe(0);
  });

  it('have a control that keeps the entries and depends on seed and name alone', () => {
    const values = Float32Array.from({ length: 200 }, (_, i) => i);
    const mixed = shuffled(values, 1, 'w');
    expect(mixed).toEqual(shuffled(values, 1, 'w'));
    expect(mixed).not.toEqual(shuffled(values, 2, 'w'));
    expect(mixed.toSorted()).toEqual(values);
    expect(Math.abs(correlation(Float64Array.from(values), Float64Array.from(mixed)))).toBeLessThan(0.25);
  });

  it('match layers by relative depth', () => {
    expect([0, 1, 2, 3].map((layer) => matchingLayer(layer, 4, 8))).toEqual([0, 2, 5, 7]);
    expect(matchingLayer(0, 1, 5)).toBe(0);
  });
});

describe('two models of different width', () => {
  const root = mkdtempSync(join(tmpdir(), 'strata-meanfield-'));
  afterAll(() => rmSync(root, { recursive: true }));

  /** Entries times what its row and its column say, drawn once per axis: with 0 as `strength` plain noise. */
  function write(name: string, hidden: number, strength: number): string {
    const config = preset('test-tiny', { hidden_size: hidden, intermediate_size: 4 * hidden, num_hidden_layers: 2 });
    const factors = (axis: string, size: number): Float64Array => {
      const out = new Float64Array(size);
      new RandomStream(3, `${name} ${axis}`).fillNormal(out);
      return out.map((value) => Math.exp(strength * value));
    };
    saveModel(join(root, name), config, ({ name: weight, layer, axes: [rows, columns] }) => {
      const [r, c] = [rows, columns].map((axis) =>
        axis === undefined
          ? undefined
          : factors(axis.role === 'hidden' ? 'hidden' : `${axis.role} ${layer}`, axis.size),
      );
      const out = new Float32Array(r!.length * (c?.length ?? 1));
      new RandomStream(4, `${name} ${weight}`).fillNormal(out);
      return out.map((value, i) => value * r![Math.floor(i / (c?.length ?? 1))]! * (c?.[i % c.length] ?? 1));
    });
    return join(root, name);
  }

  it('made of one measure spread alike and go together along shared axes; shuffled ones do not', () => {
    const found = compareMeanField(write('narrow', 64, 0.5), write('wide', 128, 0.5));
    expect(found.widths).toEqual([64, 128]);
    expect(found.meanCosine).toBeGreaterThan(0.85);
    expect(found.meanControl).toBeLessThan(0.7);
    expect(found.spreads.find(({ role, side }) => role === 'gate' && side === 'column')).toMatchObject({
      axis: 'hidden',
      pairs: 2,
    });
    const gates = found.shared.find(({ axis, roles }) => axis === 'ffn' && String(roles) === 'gate,up');
    expect(Math.min(gates!.a, gates!.b)).toBeGreaterThan(0.8);
    expect(Math.abs(gates!.control)).toBeLessThan(0.3);
  });

  it('of noise look alike by spread whether shuffled or not, and nothing goes together', () => {
    const found = compareMeanField(write('noise', 64, 0), write('wide-noise', 128, 0));
    expect(Math.abs(found.meanCosine - found.meanControl)).toBeLessThan(0.05);
    // Correlations of 64 and 128 units that have nothing to do with each other are about 1 / 8 and 1 / 11 in size.
    const hidden = found.shared.filter(({ axis }) => axis === 'hidden').flatMap(({ a, b }) => [a ** 2, b ** 2]);
    expect(Math.sqrt(hidden.reduce((sum, square) => sum + square, 0) / hidden.length)).toBeLessThan(1 / 8);
  });

  it('need to be of one family', () => {
    const other = join(root, 'gpt2');
    const sizes = { hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 8, vocab_size: 8 };
    const config = parseModelConfig({ model_type: 'gpt2', ...sizes }, 'gpt2');
    saveModel(other, config, (spec) => new Float32Array(weightSize(spec)));
    expect(() => compareMeanField(join(root, 'noise'), other)).toThrow(/model_type/);
  });
});
