import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseHTML } from 'linkedom';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTuneReport } from './report.js';
import { findChromium, launchBrowser, NO_CHROMIUM, openOffline } from './testing/browser.js';
import { isLogarithmic, type PageTrial, type PageTune } from './tune-data.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-tune-page-'));
const executable = findChromium();
let browser: Browser | undefined;
beforeAll(async () => {
  if (executable !== undefined) browser = await launchBrowser(executable);
});
afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

const RATE = 'stages.target.optimizer.lr';
const rates = [1e-3, 2e-3, 4e-3, 8e-3, 16e-3];
const trial = (config: number, loss: number | undefined): PageTrial => ({
  ...{ config, values: { [RATE]: rates[config]! }, run: `f-00${config}` },
  ...(loss === undefined ? { status: 'failed', error: 'loss is <NaN>.' } : { status: 'done', loss }),
});
const first = [trial(2, 4.1), trial(1, 4.2), trial(3, 4.25), trial(0, 4.4), trial(4, undefined)];
const last = [trial(1, 3.1), trial(2, 3.15), trial(3, 3.4)];
const tune: PageTune = {
  ...{ name: 'rewarm <b>', stage: 'target', space: { [RATE]: { log: [1e-3, 16e-3] } }, complete: true },
  rungs: [
    {
      ...{ label: 'last layer, 1K tokens', trials: first, kept: [1, 2, 3] },
      cost: { flopsPerToken: 500, secondsPerToken: 2.2e-6, forecastBytes: 100e6, countedBytes: 104e6 },
    },
    {
      ...{ label: 'as configured', trials: last, kept: [1] },
      cost: { flopsPerToken: 1000, secondsPerToken: 4e-6, forecastBytes: 200e6, countedBytes: 200e6 },
    },
  ],
  correlations: [{ low: 1, high: 2, configs: 3, spearman: 0.5 }],
  ...{ winner: last[0]!, flops: 3e12, flopsWithoutHalving: 12e12 },
};

let pages = 0;
function pageOf(change: Partial<PageTune> = {}) {
  const path = join(folder, `page-${pages++}.html`);
  writeTuneReport(path, { ...tune, ...change }, folder);
  const html = readFileSync(path, 'utf8');
  const { document } = parseHTML(html);
  const rows = (id: string): string[][] =>
    [...document.querySelectorAll(`${id} tr`)].map((row) => [...row.children].map((cell) => cell.textContent ?? ''));
  return { path, html, document, rows, text: document.querySelector('main')?.textContent ?? '' };
}
const figure = (name = 'tune-loss-1'): string => readFileSync(join(folder, `${name}.svg`), 'utf8');

describe('the page of a search', () => {
  it('names the winner and what it cost, and escapes what others wrote', () => {
    const { document, html, text } = pageOf();
    expect(document.querySelector('h1')?.textContent).toBe('Search rewarm <b>');
    expect(document.querySelector('.headline code')?.textContent).toBe(`--set ${RATE}=0.002`);
    expect(text).toContain('25.0\u00a0% of the 1.200e13 that all 5 configs would have taken');
    expect(text).not.toContain('at the edge');
    expect(html).toContain('f-004: failed, loss is &lt;NaN&gt;.');
    expect(html).not.toMatch(/(?:src|href)="(?!data:)/);
  });

  it('shows which configs went on, correlations, and measurements beside their forecast', () => {
    const { rows } = pageOf();
    const tables = rows('#tune-tables');
    expect(rows('#tune').slice(1)).toEqual([
      ['1. last layer, 1K tokens', '5', '1', '3', '4.1000', 'lr 0.004'],
      ['2. as configured', '3', '0', '–', '3.1000', 'lr 0.002'],
    ]);
    expect(tables.slice(0, 2)).toEqual([
      ['', 'with 2. as configured'],
      ['1. last layer, 1K tokens', '0.5003 configs'],
    ]);
    // Half the FLOPs took 0.55 of the time, 10 % more than forecast.
    const [time, whole] = ['2.20\u00a0µs0.550 of the last', '4.00\u00a0µs1.000 of the last'];
    expect(tables.slice(3, 5)).toEqual([
      ['1. last layer, 1K tokens', '5.000e20.500 of the last', time, '+10.0\u00a0%'].concat(
        '100.0\u00a0MB',
        '104.0\u00a0MB',
        '+4.0\u00a0%',
      ),
      ['2. as configured', '1.000e31.000 of the last', whole, '–', '200.0\u00a0MB', '200.0\u00a0MB', '0.0\u00a0%'],
    ]);
    expect(tables.slice(5)).toEqual([
      ['lr', '1. last layer, 1K tokens', '2. as configured'],
      ['0.002', '4.2000\u00a0→', '3.1000'],
      ['0.004', '4.1000\u00a0→', '3.1500'],
      ['0.008', '4.2500\u00a0→', '3.4000'],
      ['0.001', '4.4000', ''],
      ['0.016', 'failed', ''],
    ]);
  });

  it('draws a curve for each fidelity with its best, its failures and a key', () => {
    pageOf();
    const { document } = parseHTML(figure());
    const points = (label: string): number => document.querySelectorAll(`g[aria-label="${label}"] path`).length;
    expect(points('line')).toBe(2);
    // Runs that ended, their two bests, one failure, two signs of the key.
    expect(document.querySelectorAll('g[aria-label="dot"] > *')).toHaveLength(7 + 2 + 1 + 2);
    const text = document.querySelector('svg')?.textContent ?? '';
    expect(text).toContain('1. last layer, 1K tokens: best 4.1000 at 0.004');
    expect(text).toContain('2. as configured: best 3.1000 at 0.002');
    const ticks = document.querySelector('g[aria-label="x-axis tick label"]')?.textContent;
    expect(ticks).toBe('0.0010.0020.0050.01');
  });

  it('has a figure for each value that was searched over', () => {
    const kind = 'stages.target.schedule.kind';
    const both = (one: PageTrial, i: number): PageTrial => ({
      ...one,
      values: { ...one.values, [kind]: i % 2 === 0 ? 'wsd' : 'cosine' },
    });
    const { document } = pageOf({
      space: { ...tune.space, [kind]: ['wsd', 'cosine'] },
      rungs: tune.rungs.map((rung) => ({ ...rung, trials: rung.trials.map(both) })),
    });
    const figures = [...document.querySelectorAll('figure')].map((one) => one.getAttribute('data-figure'));
    expect(figures).toEqual(['tune-loss-1', 'tune-loss-2']);
    const ticks = parseHTML(figure('tune-loss-2')).document.querySelector('g[aria-label="x-axis tick label"]');
    expect(ticks?.textContent).toBe('wsdcosine');
  });

  it('says so where the winner is at the edge, where there is none, and where ranks are not defined', () => {
    const edge = pageOf({ winner: trial(0, 3) });
    expect(edge.text).toContain(`The best ${RATE} lies at the edge of what was tried`);
    const { winner: _winner, flopsWithoutHalving: _full, ...open } = tune;
    writeTuneReport(join(folder, 'open.html'), { ...open, complete: false });
    expect(readFileSync(join(folder, 'open.html'), 'utf8')).toContain('the same command goes on where it stopped');
    writeTuneReport(join(folder, 'failed.html'), open);
    expect(readFileSync(join(folder, 'failed.html'), 'utf8')).toContain(
      'No config of the last fidelity ran to its end',
    );
    for (const spearman of [NaN, null])
      expect(pageOf({ correlations: [{ low: 1, high: 2, configs: 1, spearman }] }).text).toContain(
        'not defined1 config',
      );
    const nothing = pageOf({ rungs: [], correlations: [] }).document;
    expect(nothing.querySelectorAll('#tune table, #tune-tables table, figure')).toHaveLength(0);
  });

  it.each([
    [{ log: [1, 2] }, true],
    [{ linear: [1, 100] }, false],
    [[0.001, 0.004, 0.01], true],
    [[0, 0.1], false],
    [[2, 3], false],
    [['a', 'b'], false],
  ] as const)('reads %j on a logarithmic axis: %s', (axis, expected) => expect(isLogarithmic(axis)).toBe(expected));

  it('works in Chromium, wide and narrow, light and dark, without errors', async (context) => {
    if (browser === undefined) return context.skip(NO_CHROMIUM);
    const { page, errors } = await openOffline(browser);
    await page.goto(`file://${pageOf().path}`);
    await page.waitForSelector('#controls[data-ready]');
    expect(await page.locator('#controls input').count()).toBe(1);
    const chart = page.locator('[data-figure="tune-loss-1"] svg');
    const ticks = chart.locator('g[aria-label="x-axis tick label"]');
    const logarithmic = await ticks.textContent();
    await page.getByLabel('log x').uncheck();
    await expect.poll(() => ticks.textContent()).not.toBe(logarithmic);
    await chart.locator('g[aria-label="dot"] > *').first().hover({ force: true });
    await expect.poll(() => chart.locator('g[aria-label="tip"]').textContent()).toMatch(/loss \d\.\d{4}, number \d/);
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width: 400, height: 800 });
      await expect.poll(async () => (await chart.boundingBox())?.width).toBeLessThan(400);
      // Wide tables scroll by themselves; the page does not.
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(400);
    }
    expect(errors).toEqual([]);
    await page.context().close();
  });
});
