import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseHTML } from 'linkedom';
import { afterAll, expect, it } from 'vitest';
import { writeStudyReport } from './report.js';
import type { PageStudy, PageStudyComparison } from './study-data.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-study-page-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const interval = (mean: number, half: number) => ({ mean, low: mean - half, high: mean + half });
const compared = (
  arm: string,
  role: string,
  mean: number,
  half: number,
  baseline = 'scratch',
): PageStudyComparison => ({
  ...{ part: 'tokens-5', arm, role, budget: 1, baseline },
  seeds: [1, 2, 3].map((seed) => ({
    ...{ seed, loss: 4 + seed / 1000, speedup: mean + (seed - 2) * 0.02, tokensRatio: 0.9, secondsRatio: 0.8 },
  })),
  speedup: interval(mean, half),
  saved: interval(mean / (1 + mean), half),
  sixND: interval(mean, half),
  sixNDNonEmbedding: interval(mean, half),
  verdict: mean - half > 0 ? 'faster' : 'undecided',
});
const ends = (arm: string, role: string, shift: number) =>
  [0.25, 0.5, 1, 2].flatMap((budget) =>
    [1, 2, 3].map((seed) => ({
      ...{ part: 'tokens-5', arm, role, seed, budget, flops: 2e13 * budget },
      loss: 4 - 0.3 * Math.log2(budget) + shift + seed / 200,
    })),
  );
const study: PageStudy = {
  ...{ study: 'stack <b>', hash: 'f'.repeat(64), hypothesis: 'Growth saves & wins.', stopRule: 'All seeds.' },
  parts: [{ name: 'tokens-5', nonEmbeddingParameters: 603_712, tokens: 3_018_752, flops: 2e13 }],
  tuning: [
    {
      ...{ part: 'tokens-5', name: 'scratch', lr: 8e-3, baseLr: 8e-3, atEdge: false, flops: 7e13 },
      trials: [
        { lr: 4e-3, baseLr: 4e-3, loss: 4.2 },
        { lr: 8e-3, baseLr: 8e-3, loss: 4.1 },
        { lr: 16e-3, baseLr: 16e-3, loss: null },
      ],
    },
  ],
  endPoints: [...ends('scratch', 'scratch', 0), ...ends('stack', 'arm', -0.1), ...ends('layers-6', 'size', -0.05)],
  comparisons: [compared('stack', 'arm', 0.23, 0.08), compared('again', 'again', 0.01, 0.05)],
  bestSize: [compared('stack', 'arm', 0.02, 0.06, 'layers-6')],
  ranking: [{ part: 'tokens-5', budget: 1, better: 'stack', worse: 'interpolate', p: 0.3, tie: true }],
  cost: { flops: 5e14, tuningFlops: 7e13 },
  unfinished: [{ run: 'tokens-5.stack-s3.1129', status: 'failed', error: 'no luck' }],
};

it('shows hypothesis, arms, best size, controls, ranking, rates and what is missing', () => {
  const path = join(folder, 'report.html');
  writeStudyReport(path, study, folder);
  const html = readFileSync(path, 'utf8');
  const { document } = parseHTML(html);
  const text = document.querySelector('#study')?.textContent ?? '';
  for (const words of [
    'Growth saves & wins.',
    'All seeds.',
    '+23.0\u00a0%[+15.0\u00a0%,\u00a0+31.0\u00a0%]',
    'best size: layers-6',
    'A/A, other seeds of scratch: the interval holds 0',
    'stack and interpolate: a tie',
    '0.0160: failed',
    'Tuning took 7.00e+13 FLOPs, which are not part of any arm',
    'tokens-5.stack-s3.1129: failed, no luck',
    'f'.repeat(64),
  ])
    expect(text).toContain(words);
  expect(document.querySelector('h1')?.textContent).toBe('Study stack <b>');
  expect([...document.querySelectorAll('figure')].map((figure) => figure.getAttribute('data-figure'))).toEqual([
    'study-ends',
    'study-speedups',
  ]);
  const dots = readFileSync(join(folder, 'study-ends.svg'), 'utf8').match(/<circle/g) ?? [];
  expect(dots).toHaveLength(study.endPoints.length);
});
