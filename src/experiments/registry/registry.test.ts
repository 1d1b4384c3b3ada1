import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readRun } from '../../records/index.js';
import { writeSyntheticRun } from '../../records/testing/synthetic.js';
import { changeTags, diffRuns, listRuns, removeRun } from './registry.js';

const root = mkdtempSync(join(tmpdir(), 'strata-registry-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeAll(() => {
  writeSyntheticRun(join(root, 'a'), { name: 'a', steps: 50 });
  writeSyntheticRun(join(root, 'deep', 'er', 'b'), { name: 'b', seed: 2, steps: 50, growthStep: 20, ends: false });
});

describe('the registry', () => {
  it('finds runs, says how they stand, and keeps an index that may be lost or damaged', () => {
    const runs = listRuns(root);
    expect(runs).toMatchObject([
      { name: 'a', seed: 1, step: 50, tokens: 50 * 4096, growth: [], state: 'ended' },
      { name: 'b', seed: 2, growth: ['stack'], state: 'unfinished' },
    ]);
    const index = join(root, '.strata-runs.json');
    expect(JSON.parse(readFileSync(index, 'utf8'))).toMatchObject({ runs: [{ name: 'a' }, { name: 'b' }] });
    writeFileSync(index, 'damaged');
    expect(listRuns(root)).toEqual(runs);
    rmSync(index);
    expect(listRuns(root)).toEqual(runs);
  });

  it('uses the index only for runs that have not changed', () => {
    listRuns(root);
    writeSyntheticRun(join(root, 'a'), { name: 'a', steps: 60 });
    expect(listRuns(root)[0]?.step).toBe(60);
  });

  it('tags runs', () => {
    expect(changeTags(join(root, 'a'), ['tuned', 'best'])).toEqual(['best', 'tuned']);
    expect(changeTags(join(root, 'a'), [], ['best'])).toEqual(['tuned']);
    expect(listRuns(root)[0]?.tags).toEqual(['tuned']);
    expect(() => changeTags(root, ['x'])).toThrow(/no run folder/);
  });

  it('names the values in which two configs differ', () => {
    const [a, b] = [readRun(join(root, 'a')), readRun(join(root, 'deep', 'er', 'b'))];
    const differences = diffRuns(a, b);
    expect(differences).toContainEqual({ path: 'seed', a: 1, b: 2 });
    expect(differences.map(({ path }) => path)).not.toContain('model.hidden_size');
  });

  it('removes run folders and nothing else', () => {
    expect(() => removeRun(root)).toThrow(/not removed/);
    removeRun(join(root, 'a'));
    expect(existsSync(join(root, 'a'))).toBe(false);
    expect(listRuns(root)).toHaveLength(1);
  });
});
