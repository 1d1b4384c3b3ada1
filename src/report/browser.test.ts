import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readRun, type Run } from '../records/index.js';
import { writeSyntheticRun } from '../records/testing/synthetic.js';
import { trainRecordsPerRun } from './data.js';
import { writeReport } from './report.js';
import { findChromium, launchBrowser, NO_CHROMIUM, openOffline } from './testing/browser.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-browser-'));
const executable = findChromium();
let browser: Browser | undefined;

beforeAll(async () => {
  writeSyntheticRun(join(folder, 'scratch'), { name: 'scratch', evals: true, noise: 0.05 });
  writeSyntheticRun(join(folder, 'grown'), { name: 'grown', growthStep: 100, cost: 0.8 });
  if (executable !== undefined) browser = await launchBrowser(executable);
});
afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach((context) => {
  if (browser === undefined) context.skip(NO_CHROMIUM);
});

function pathOfReport(name: string, runs: readonly Run[]): string {
  const path = join(folder, `${name}.html`);
  writeReport(path, { runs });
  return `file://${path}`;
}

async function open(url: string) {
  if (browser === undefined) throw new Error(NO_CHROMIUM);
  const { page, errors } = await openOffline(browser);
  await page.goto(url);
  await page.waitForSelector('#controls[data-ready]');
  return { page, errors };
}

describe('the report in Chromium', () => {
  const twoRuns = (): Run[] => ['scratch', 'grown'].map((name) => readRun(join(folder, name)));

  it('loads without network and without errors, shows and hides runs', async () => {
    const { page, errors } = await open(pathOfReport('toggle', twoRuns()));
    const lines = page.locator('[data-figure="loss-flops"] g[aria-label="line"] path');
    const before = await lines.count();
    await page.getByRole('checkbox', { name: 'grown' }).uncheck();
    await expect.poll(() => lines.count()).toBe(before / 2);
    await page.getByRole('button', { name: 'none' }).click();
    await expect.poll(() => lines.count()).toBe(0);
    await page.getByRole('button', { name: 'all' }).click();
    await expect.poll(() => lines.count()).toBe(before);
    await page.locator('#search').fill('scr');
    expect(await page.locator('.legend label:visible').count()).toBe(1);
    expect(errors).toEqual([]);
    await page.context().close();
  });

  it('answers the pointer and the arrow keys with a tip', async () => {
    const { page, errors } = await open(pathOfReport('tips', twoRuns()));
    const figure = page.locator('[data-figure="loss-flops"]');
    const tip = figure.locator('g[aria-label="tip"]');
    await figure.focus();
    await page.keyboard.press('ArrowRight');
    await expect.poll(() => tip.textContent()).toMatch(/validation loss \d\.\d{4}/);
    const first = await tip.textContent();
    await page.keyboard.press('ArrowRight');
    await expect.poll(() => tip.textContent()).not.toBe(first);
    const box = await figure.locator('svg').boundingBox();
    if (box === null) throw new Error('no chart');
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await expect.poll(() => tip.textContent()).toMatch(/FLOPs/);
    expect(errors).toEqual([]);
    await page.context().close();
  });

  it('redraws for linear axes, the whole run and smoothing', async () => {
    const { page, errors } = await open(pathOfReport('axes', twoRuns()));
    const training = page.locator('[data-figure="loss-flops"] g[aria-label="line"] path').first();
    const ticks = page.locator('[data-figure="loss-flops"] g[aria-label="x-axis tick label"]');
    const [path, labels] = [await training.getAttribute('d'), await ticks.textContent()];
    await page.getByLabel('smoothing').fill('0.9');
    await expect.poll(() => training.getAttribute('d')).not.toBe(path);
    await page.getByLabel('from the start').check();
    await expect.poll(() => ticks.textContent()).not.toBe(labels);
    const whole = await ticks.textContent();
    await page.getByLabel('log x').uncheck();
    await expect.poll(() => ticks.textContent()).not.toBe(whole);
    expect(errors).toEqual([]);
    await page.context().close();
  });

  it('has its figures without scripts', async () => {
    if (browser === undefined) throw new Error(NO_CHROMIUM);
    const context = await browser.newContext({ javaScriptEnabled: false });
    const page = await context.newPage();
    await page.goto(pathOfReport('plain', twoRuns()));
    expect(await page.locator('figure[data-figure] svg').count()).toBeGreaterThanOrEqual(3);
    expect(await page.locator('#controls').isVisible()).toBe(false);
    await context.close();
  });

  it('draws 200 runs of 10,000 records', async () => {
    const source = join(folder, 'long');
    writeSyntheticRun(source, { name: 'long', steps: 10_000, validationEvery: 500 });
    const folders = Array.from({ length: 200 }, (_, i) => join(folder, 'many', `run-${i}`));
    for (const run of folders) {
      mkdirSync(run, { recursive: true });
      for (const file of ['run.json', 'records.jsonl']) symlinkSync(join(source, file), join(run, file));
    }
    const maxTrainRecords = trainRecordsPerRun(200);
    const readStart = performance.now();
    const runs = folders.map((run) => readRun(run, { maxTrainRecords }));
    const readMs = performance.now() - readStart;
    const url = pathOfReport('many', runs);
    const openStart = performance.now();
    const { page, errors } = await open(url);
    const openMs = performance.now() - openStart;
    console.log(`200 runs of 10,000 records: read in ${readMs.toFixed(0)} ms, opened in ${openMs.toFixed(0)} ms`);
    expect(await page.locator('.legend label').count()).toBe(200);
    expect(await page.locator('[data-figure="loss-flops"] g[aria-label="line"] path').count()).toBe(400);
    expect(errors).toEqual([]);
    await page.context().close();
  });
});
