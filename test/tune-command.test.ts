import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseHTML } from 'linkedom';
import { afterAll, describe, expect, it } from 'vitest';
import type { TuneResult } from '../src/experiments/tune/index.js';
import { strata } from './support/strata.js';
import { buildTinyData, tinyRun } from './support/tiny-run.js';

const root = mkdtempSync(join(tmpdir(), 'strata-tune-command-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe('strata tune', () => {
  it('searches in processes of its own and writes the page of what it found; memory is as forecast', async () => {
    const { stages, ...run } = tinyRun(await buildTinyData(join(root, 'data')), { base: 3, target: 3 });
    const recipe = join(root, 'recipe.js');
    const search = {
      name: 'search',
      run: { ...run, stages: stages.slice(0, 1) },
      space: { 'stages.base.optimizer.lr': [1e-6, 4e-3] },
      fidelities: [{ trainable: { lastLayers: 1 }, keep: 2 }, {}],
    };
    writeFileSync(recipe, `export default ${JSON.stringify(search)};\n`);
    const out = join(root, 'out');
    const { code, stdout, stderr } = await strata(['tune', recipe, '--out', out, '--threads', '1', '--json']);
    expect([code, stderr]).toEqual([0, expect.any(String)]);
    const result = JSON.parse(stdout) as TuneResult & { report: string };
    expect(result).toMatchObject({ out, report: join(out, 'report.html'), complete: true, stage: 'base' });
    expect(result.winner?.values).toEqual({ 'stages.base.optimizer.lr': 4e-3 });
    expect(result.correlations).toEqual([{ low: 1, high: 2, configs: 2, spearman: 1 }]);
    for (const { cost } of result.rungs) expect(cost!.countedBytes! / cost!.forecastBytes!).toBeCloseTo(1, 1);
    const { document } = parseHTML(readFileSync(result.report, 'utf8'));
    expect(document.querySelector('.headline code')?.textContent).toBe('--set stages.base.optimizer.lr=0.004');
    expect(document.querySelectorAll('figure[data-figure="tune-loss-1"] svg')).toHaveLength(1);
    expect(document.querySelector('#tune-tables')?.textContent).toContain('1.0002 configs');
  }, 120_000);
});
