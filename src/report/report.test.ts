import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseHTML } from 'linkedom';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fitRuns } from '../planner/index.js';
import { readRun, recordsPath, type Run } from '../records/index.js';
import { writeSyntheticRun } from '../records/testing/synthetic.js';
import { pageRuns, shortLabels, type PageComparison, type PageData } from './data.js';
import { figuresFor } from './figures.js';
import { figureSvg, renderPage } from './page.js';
import { writeFigures, writeReport } from './report.js';
import { thin } from './thin.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-report-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let runs: Run[];
let comparison: PageComparison;
beforeAll(() => {
  writeSyntheticRun(join(folder, 'scratch'), { name: 'scratch', evals: true, noise: 0.05 });
  writeSyntheticRun(join(folder, 'grown'), { name: 'grown', growthStep: 100, cost: 0.8, evals: true });
  runs = ['scratch', 'grown'].map((name) => readRun(join(folder, name)));
  comparison = {
    baseline: join(folder, 'scratch'),
    mode: 'validation',
    runs: [
      {
        run: join(folder, 'grown'),
        finalLoss: 4.7,
        flops: 3.7e13,
        annealed: true,
        atEqualLoss: { loss: 4.74, baselineFlops: 4.25e13, runFlops: 3.4e13, speedup: 0.25, saved: 0.2 },
        curve: [
          { loss: 5, baselineFlops: 2e13, runFlops: 1.6e13, speedup: 0.25 },
          { loss: 4.74, baselineFlops: 4.25e13, runFlops: 3.4e13, speedup: 0.25 },
        ],
      },
    ],
    conventions: [
      { run: join(folder, 'grown'), exact: 0.25, sixND: 0.24, sixNDNonEmbedding: -0.1, verdict: 'undecided' },
    ],
    notes: ['A note with <b>marks</b> & "quotes".'],
  };
});
const dataOf = (): PageData => ({ runs: pageRuns(runs), comparison, fit: null });

describe('the page', () => {
  it('needs nothing from outside and escapes what runs are called', () => {
    const hostile = '</script><script>alert(1)</script>';
    const data = dataOf();
    const [first] = data.runs;
    if (first === undefined) throw new Error('no run');
    const html = renderPage({ ...data, runs: [{ ...first, label: hostile, folder: hostile }] }, { title: hostile });
    expect(html).not.toContain('<script>alert');
    expect(html).not.toMatch(/(?:src|href)="(?!data:)/);
    expect(html.match(/<script>/g)).toHaveLength(3);
  });

  it('shows speedup, saved, conventions, notes, configs and machine', () => {
    const { document } = parseHTML(renderPage(dataOf(), { title: 'Test' }));
    const text = (selector: string): string => document.querySelector(selector)?.textContent ?? '';
    expect(text('#headline')).toMatch(/\+25\.0 % speedup, \+20\.0 % of the FLOPs saved at validation loss 4\.7400/);
    expect(text('#table')).toMatch(/scratch.*baseline/s);
    expect(text('#conventions')).toMatch(/\+25\.0 %\+24\.0 %-10\.0 %undecided/);
    expect(text('#notes')).toContain('A note with <b>marks</b> & "quotes".');
    expect(text('#details')).toMatch(/seed: 1/);
    expect(text('#details')).toMatch(/CPUinvented/);
    expect([...document.querySelectorAll('figure[data-figure] svg')].length).toBeGreaterThanOrEqual(4);
  });

  it('says what was wrong with the records and shows the rest', () => {
    const path = join(folder, 'hostile');
    writeSyntheticRun(path, { name: 'hostile', steps: 50 });
    appendFileSync(
      recordsPath(path),
      '{"kind":"train","time":1,"stage":"target","step":51,"tokens":1,"flops":1e12,"loss":null}\n{"kind":"memory"}\nnonsense\n{"kind":"tr',
    );
    const { document } = parseHTML(
      renderPage({ runs: pageRuns([readRun(path)]), comparison: null, fit: null }, { title: 'Test' }),
    );
    const notes = document.querySelector('#notes')?.textContent ?? '';
    for (const expected of [
      /1 damaged record/,
      /1 record\(s\) of a kind/,
      /1 record\(s\) with a loss that is not finite/,
      /1 record\(s\) stamped earlier/,
      /unfinished last line/,
    ])
      expect(notes).toMatch(expected);
    expect(document.querySelector('[data-figure="loss-flops"] svg path')).not.toBeNull();
  });
});

describe('figures', () => {
  it('draws one mark of each kind for what the data hold', () => {
    const data = dataOf();
    expect(figuresFor(data).map(({ id }) => id)).toEqual(['loss-flops', 'loss-tokens', 'speedup', 'evals']);
    for (const figure of figuresFor(data)) {
      const svg = figureSvg(figure, data, true);
      expect(svg).toMatch(/^<svg [^>]*xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
      expect(svg).not.toContain('NaN');
      // Coordinates with two digits do not depend on the platform's last bit.
      expect(svg.replace(/\d+\.\d+/g, (number) => Number(number).toFixed(2))).toMatchSnapshot(figure.id);
    }
  });

  it('draws benchmarks by what they measure; at chance they are hollow beside a dashed line', () => {
    const path = join(folder, 'evaluated');
    writeSyntheticRun(path, { name: 'evaluated' });
    const write = (flops: number, task: string, metric: string, value: number, more: object = {}): void =>
      appendFileSync(
        recordsPath(path),
        `${JSON.stringify({ kind: 'eval', time: 1, step: 1, tokens: 1, flops, task, metric, value, ...more })}\n`,
      );
    write(1e12, 'piqa', 'acc', 0.51, { stderr: 0.01, chance: 0.5, nearChance: true });
    write(2e12, 'piqa', 'acc', 0.6, { stderr: 0.01, chance: 0.5, nearChance: false });
    write(1e12, 'piqa', 'nats_per_byte', 1.2);
    write(1e12, 'wikitext', 'word_perplexity', 900);
    const data: PageData = { runs: pageRuns([readRun(path)]), comparison: null, fit: null };
    const figures = figuresFor(data).filter(({ chart }) => chart === 'evals');
    expect(figures.map(({ id }) => id)).toEqual(['evals', 'evals-nats', 'evals-perplexity']);
    const svg = figureSvg(figures[0]!, data, false);
    expect(svg.match(/<circle[^>]*fill="var\(--ground, white\)"/g)).toHaveLength(1);
    expect(svg.match(/<circle/g)).toHaveLength(2);
    expect(svg).toContain('stroke-dasharray="4,3"');
    expect(svg).not.toMatch(/nats_per_byte|wikitext/);
  });

  it('marks the growth and the speedup at equal loss', () => {
    const data = dataOf();
    const [figure] = figuresFor(data);
    if (figure === undefined) throw new Error('no figure');
    const svg = figureSvg(figure, data, true);
    expect(svg).toContain('+25.0 % speedup, 20.0 % saved');
    expect(svg).toContain('>stack<');
  });

  it('writes SVG and PNG files and a page', () => {
    const paths = writeFigures(join(folder, 'figures'), { runs, comparison });
    expect(paths).toHaveLength(8);
    const png = readFileSync(join(folder, 'figures', 'loss-flops.png'));
    expect(png.subarray(1, 4).toString()).toBe('PNG');
    expect(png.readUInt32BE(16)).toBe(2000);
    writeReport(join(folder, 'report.html'), { runs });
    expect(readFileSync(join(folder, 'report.html'), 'utf8')).toMatch(/^<!doctype html>/);
  });
});

describe('figures of a sweep', () => {
  it('draws operators, timing and factor, iso-FLOP curves and laws', () => {
    const swept: Run[] = [runs[0]!];
    for (const growthStep of [50, 100, 200])
      for (const [operator, factor] of [
        ['stack', 4],
        ['interpolate', 2],
      ] as const) {
        const path = join(folder, `sweep-${growthStep}-${operator}`);
        const shift = 0.1 * Math.log10(growthStep / 100) ** 2;
        writeSyntheticRun(path, { name: operator, growthStep, operator, factor, budget: 4e13, shift });
        swept.push(readRun(path));
      }
    const results = swept.slice(1).map((run, i) => ({
      ...comparison.runs[0]!,
      run: run.name,
      atEqualLoss: { ...comparison.runs[0]!.atEqualLoss!, speedup: 0.1 * i },
    }));
    const data: PageData = { runs: pageRuns(swept), comparison: { ...comparison, runs: results }, fit: fitRuns(swept) };
    const figures = figuresFor(data);
    expect(figures.map(({ id }) => id).slice(4)).toEqual(['ranking', 'heat-map', 'iso-flop', 'scaling', 'residuals']);
    for (const figure of figures.slice(4)) {
      const svg = figureSvg(figure, data, true);
      expect(svg).not.toContain('NaN');
      expect(svg.replace(/\d+\.\d+/g, (number) => Number(number).toFixed(1))).toMatchSnapshot(figure.id);
    }
  });
});

describe('thin', () => {
  it('keeps all of a short run and the mean and end of a long one', () => {
    const columns = runs[0]?.records.train;
    if (columns === undefined) throw new Error('no run');
    expect(thin(columns, 1000)).toHaveLength(600);
    const thinned = thin(columns, 50);
    expect(thinned.length).toBeGreaterThan(25);
    expect(thinned.length).toBeLessThanOrEqual(50);
    expect(thinned.at(-1)?.[0]).toBe(columns.flops[599]);
    const losses = [...columns.loss];
    for (const [, , loss] of thinned) {
      expect(loss).toBeGreaterThanOrEqual(Math.min(...losses) - 1e-5);
      expect(loss).toBeLessThanOrEqual(Math.max(...losses) + 1e-5);
    }
  });
});

it('labels runs by what differs', () => {
  expect(shortLabels(['runs/a/x', 'runs/a/y'])).toEqual(['x', 'y']);
  expect(shortLabels(['runs/a/x', 'runs/b/x'])).toEqual(['a/x', 'b/x']);
  expect(shortLabels(['x'])).toEqual(['x']);
});
