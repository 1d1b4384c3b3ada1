import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { loadConfig } from '../../train/config/index.js';
import { create as createCard } from './card.js';
import { create as createCompare } from './compare.js';
import { create as createFit } from './fit.js';
import { create as createPlan } from './plan.js';
import { create as createReport } from './report.js';
import { create as createRuns } from './runs.js';

const records = new URL('../../../test/fixtures/records/', import.meta.url).pathname;
const [scratch, grown, hostile] = ['scratch', 'grown', 'hostile'].map((name) => join(records, name)) as [
  string,
  string,
  string,
];
const folder = mkdtempSync(join(tmpdir(), 'strata-planning-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a command and returns what it printed on standard output. */
async function output(command: Command, ...args: string[]): Promise<string> {
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  try {
    await command.exitOverride().parseAsync(args, { from: 'user' });
    return write.mock.calls.map(([text]) => String(text)).join('');
  } finally {
    write.mockRestore();
  }
}
const json = async (command: Command, ...args: string[]): Promise<Record<string, unknown>> =>
  JSON.parse(await output(command, ...args, '--json')) as Record<string, unknown>;

describe('strata plan', () => {
  it('prints the fields that scripts read', async () => {
    const plan = await json(createPlan(), '--params', '8e9', '--tokens', '15e12');
    for (const field of [
      'growthTokens',
      'growthFactor',
      'inFittedRange',
      'target',
      'base',
      'flops',
      'sources',
      'warnings',
    ])
      expect(plan).toHaveProperty(field);
    expect((plan['growthTokens'] as number) / 6.5814e9).toBeCloseTo(1, 4);
    expect(plan['inFittedRange']).toBe(false);
  });

  it('writes a config that train takes', async () => {
    const out = join(folder, 'grown.yaml');
    await output(createPlan(), '--params', '1e7', '--tokens', '2e8', '--sequence-length', '256', '--out', out);
    const { config } = await loadConfig(out);
    expect(config).toMatchObject({
      name: 'grown',
      stages: [{ kind: 'train' }, { kind: 'grow', operator: 'stack', factor: 4 }, { kind: 'train' }],
    });
    const again = await json(createPlan(), '--config', out, '--tokens', '2e8');
    expect(again['target']).toMatchObject({ config: config.model });
  });

  it('gives hours and cost, and says what it lacks', async () => {
    const text = await output(
      createPlan(),
      '--params',
      '7e9',
      '--tokens',
      '300e9',
      '--gpu',
      'h100',
      '--count',
      '64',
      '--price-per-hour',
      '2',
    );
    expect(text).toMatch(/Time on 64 x NVIDIA H100 SXM 80 GB at 40\.0 % utilisation: 125\.1 h .* cost 160/);
    await expect(output(createPlan(), '--params', '7e9')).rejects.toThrow(/needs a budget/);
    await expect(output(createPlan(), '--params', '7e9', '--tokens', '1e9', '--mfu', '0.4')).rejects.toThrow(
      /need --gpu/,
    );
    await expect(output(createPlan(), '--config', join(folder, 'none.yaml'), '--tokens', '1e9')).rejects.toThrow(
      /none\.yaml cannot be read/,
    );
  });
});

describe('strata compare', () => {
  it('prints the fields that scripts read', async () => {
    const comparison = await json(createCompare(), scratch, grown);
    expect(comparison).toMatchObject({
      baseline: scratch,
      runs: [
        {
          run: grown,
          annealed: true,
          atEqualLoss: {
            loss: expect.any(Number) as number,
            speedup: expect.any(Number) as number,
            saved: expect.any(Number) as number,
          },
        },
      ],
      conventions: [{ verdict: 'faster' }],
    });
    const [run] = comparison['runs'] as {
      atEqualLoss: { baselineFlops: number; runFlops: number; speedup: number; saved: number };
    }[];
    const { baselineFlops, runFlops, speedup, saved } = run!.atEqualLoss;
    expect(speedup).toBeCloseTo(baselineFlops / runFlops - 1, 12);
    expect(saved).toBeCloseTo(1 - runFlops / baselineFlops, 12);
  });

  it('reads patterns, and says what is no run', async () => {
    const grouped = await json(createCompare(), '--baseline', join(records, 's*h'), '--grown', join(records, 'g*'));
    expect(grouped).toMatchObject({ baseline: scratch, runs: [{ run: grown }] });
    await expect(output(createCompare(), scratch)).rejects.toThrow(/at least two runs, found 1/);
    await expect(output(createCompare(), scratch, folder)).rejects.toThrow(/has no records\.jsonl/);
    await expect(output(createCompare(), scratch, join(records, 'nothing-*'))).rejects.toThrow(/No run folder matches/);
  });
});

describe('strata report, fit, runs and card', () => {
  it('reports hostile records like any others', async () => {
    const out = join(folder, 'report.html');
    await output(createReport(), scratch, grown, hostile, '--out', out);
    const html = readFileSync(out, 'utf8');
    expect(html).toContain('damaged record');
    expect(html).not.toContain('<script>alert');
  });

  it('fits what two runs determine, for plan and report to read', async () => {
    const out = join(folder, 'fit.json');
    expect(await output(createFit(), scratch, grown, '--out', out)).toMatch(/No fit of growth timing/);
    await expect(output(createPlan(), '--params', '1e9', '--tokens', '1e11', '--constants', out)).rejects.toThrow(
      /"growthTiming" is missing/,
    );
    const page = join(folder, 'fit.html');
    await output(createReport(), scratch, grown, '--fit', out, '--out', page);
    expect(existsSync(page)).toBe(true);
  });

  it('compares configs and refuses to remove what nobody confirmed', async () => {
    expect(await output(createRuns(), 'diff', scratch, grown)).toMatch(/name\s+"scratch"\s+"grown"/);
    await expect(output(createRuns(), 'rm', scratch)).rejects.toThrow(/give --yes/);
    expect(existsSync(scratch)).toBe(true);
  });

  it('states and verifies, and refuses records that cannot be chained', async () => {
    const out = join(folder, 'card');
    await output(createCard(), grown, '--out', out);
    const verified = await output(createCard(), 'verify', grown, '--statement', join(out, 'statement.json'));
    expect(verified).toMatch(/ok +records: 75 records/);
    // The invented run.json names no architecture, and verification must not pretend to have counted its FLOPs.
    expect(verified).toMatch(/unchecked +FLOPs of base/);
    await expect(output(createCard(), hostile, '--out', out)).rejects.toThrow(/records\.jsonl: line \d+/);
  });
});
