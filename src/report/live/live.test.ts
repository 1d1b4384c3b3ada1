import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { recordsPath } from '../../records/index.js';
import { writeSyntheticRun } from '../../records/testing/synthetic.js';
import { findChromium, launchBrowser, NO_CHROMIUM } from '../testing/browser.js';
import { startLiveServer, type LiveServer } from './server.js';
import { LiveState } from './state.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-live-'));
let runs = '';
let server: LiveServer | undefined;
let browser: Browser | undefined;
let numFolders = 0;

beforeEach(() => {
  runs = join(folder, String(numFolders++));
  mkdirSync(runs);
  writeSyntheticRun(join(runs, 'scratch'), { name: 'scratch', steps: 100 });
});
afterEach(async () => {
  await server?.close();
  server = undefined;
});
afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

const start = (port = 0): Promise<LiveServer> =>
  startLiveServer({ roots: [runs], port, compare: () => undefined, title: 'Live' });

const grow = (name: string, step: number, loss: number): void => {
  const record = { stage: 'target', step, tokens: step * 4096, flops: step * 7e10, loss };
  appendFileSync(recordsPath(join(runs, name)), `${JSON.stringify({ kind: 'validation', ...record })}\n`);
};

describe('LiveState', () => {
  it('sends only what changed and keeps the order of known runs', () => {
    writeSyntheticRun(join(runs, 'other'), { name: 'other', steps: 50 });
    const state = new LiveState([runs], () => undefined);
    expect(state.refresh()?.order).toEqual([join(runs, 'other'), join(runs, 'scratch')]);
    expect(state.refresh()).toBeUndefined();
    grow('scratch', 101, 3.5);
    const message = state.refresh();
    expect(message?.runs.map(({ folder: path, finalLoss }) => [path, finalLoss])).toEqual([
      [join(runs, 'scratch'), 3.5],
    ]);
    expect(message?.runsChanged).toBe(false);
    writeSyntheticRun(join(runs, 'a-new-one'), { name: 'new', steps: 50 });
    expect(state.refresh()?.order.at(-1)).toBe(join(runs, 'a-new-one'));
    rmSync(join(runs, 'other'), { recursive: true });
    expect(state.refresh()?.order).toEqual([join(runs, 'scratch'), join(runs, 'a-new-one')]);
  });
});

describe('the server', () => {
  const ask = (
    path: string,
    options: { method?: string; headers?: Record<string, string>; body?: string } = {},
  ): Promise<{ status: number; body: string }> =>
    new Promise((resolve, reject) => {
      const { method = 'GET', headers = {}, body = '' } = options;
      const sent = request(new URL(path, server?.url), { method, headers }, (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
      });
      sent.on('error', reject);
      sent.end(body);
    });

  it('answers this machine only', async () => {
    server = await start();
    expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
    expect((await ask('/')).body).toMatch(/^<!doctype html>/);
    expect((await ask('/', { headers: { host: 'evil.example' } })).status).toBe(403);
    expect((await ask('/etc/passwd')).status).toBe(404);
  });

  it('writes notes beside known runs and nowhere else', async () => {
    server = await start();
    const json = { 'content-type': 'application/json' };
    const note = (run: string): string => JSON.stringify({ run, notes: 'looks fine' });
    expect((await ask('/notes', { method: 'POST', headers: json, body: note(join(runs, 'scratch')) })).status).toBe(
      204,
    );
    expect(readFileSync(join(runs, 'scratch', 'notes.txt'), 'utf8')).toBe('looks fine');
    expect((await ask('/notes', { method: 'POST', headers: json, body: note(folder) })).status).toBe(400);
    expect((await ask('/notes', { method: 'POST', headers: json, body: '{' })).status).toBe(400);
    expect(
      (await ask('/notes', { method: 'POST', headers: { 'content-type': 'text/plain' }, body: note(runs) })).status,
    ).toBe(415);
  });

  it('says in a sentence that a port is taken', async () => {
    server = await start();
    await expect(start(Number(new URL(server.url).port))).rejects.toThrow(/^Port \d+ cannot be opened/);
  });
});

describe('the live page in Chromium', () => {
  it('follows running and new runs, survives a restart, compares configs, keeps notes', async (context) => {
    const executable = findChromium();
    if (executable === undefined) return context.skip(NO_CHROMIUM);
    browser = await launchBrowser(executable);
    server = await start();
    const page = await browser.newPage();
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    await page.goto(server.url);
    await expect.poll(() => page.locator('#status').textContent()).toBe('live');
    const table = page.locator('#table');
    grow('scratch', 101, 3.4567);
    await expect.poll(() => table.textContent(), { timeout: 15_000 }).toContain('3.4567');

    writeSyntheticRun(join(runs, 'grown'), { name: 'grown', steps: 100, growthStep: 40 });
    await expect.poll(() => page.locator('.legend label').count(), { timeout: 15_000 }).toBe(2);
    await expect.poll(() => page.locator('#diff-table').textContent()).toMatch(/stages\.0\.name/);

    const port = Number(new URL(server.url).port);
    await server.close();
    await expect.poll(() => page.locator('#status').textContent(), { timeout: 15_000 }).toMatch(/connection lost/);
    server = await start(port);
    grow('scratch', 102, 3.3333);
    await expect.poll(() => table.textContent(), { timeout: 20_000 }).toContain('3.3333');

    await page.locator('summary').first().click();
    await page.locator('textarea').first().fill('a note');
    await page.locator('textarea').first().blur();
    await expect.poll(() => ['scratch', 'grown'].map((name) => readNote(name)).join('')).toBe('a note');
    expect(errors).toEqual([]);
    await page.close();
  });
});

const readNote = (name: string): string => {
  try {
    return readFileSync(join(runs, name, 'notes.txt'), 'utf8');
  } catch {
    return '';
  }
};
