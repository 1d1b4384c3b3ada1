import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { buildTinyData, tinyRun } from '../../test/support/tiny-run.js';
import type { RunConfigInput } from './config/index.js';
import type { ProfileSummary } from './profile.js';
import { train } from './train.js';

const STEPS = 8;

const folder = mkdtempSync(join(tmpdir(), 'strata-profile-'));
let data = '';
beforeAll(async () => {
  data = await buildTinyData(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface TraceEvent {
  readonly name: string;
  readonly cat: string;
  readonly ph: string;
  readonly ts: number;
  readonly dur: number;
  readonly args?: { readonly shapes: string };
}

const config = (): RunConfigInput => ({
  ...tinyRun(data),
  microBatch: 8,
  stages: [{ name: 'only', kind: 'train', until: { steps: STEPS }, optimizer: { lr: 1e-3 } }],
});

it('writes a table whose parts sum to the step, and a trace whose calls lie inside of their program and step', async () => {
  let told: ProfileSummary | undefined;
  const run = await train(config(), {
    out: join(folder, 'profiled'),
    threads: 1,
    profile: (summary) => (told = summary),
  });
  const summary = told!;
  expect(JSON.parse(readFileSync(join(run.folder, 'profile', 'ops.json'), 'utf8'))).toEqual(
    JSON.parse(JSON.stringify(summary)),
  );
  expect(summary.steps).toBe(STEPS - 1);
  const inside = summary.ops.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  expect(inside + summary.outsideMilliseconds).toBeCloseTo(summary.millisecondsPerStep, 6);
  expect(summary.outsideMilliseconds).toBeGreaterThan(0);
  // One head whose product is taken in backward, one sum of squares over all gradients, AdamW for matrices and for vectors.
  const calls = (op: string): number =>
    summary.ops.filter((row) => row.op === op).reduce((sum, row) => sum + row.calls, 0);
  expect(calls('linearCrossEntropyBackward')).toBe(1);
  expect(calls('squaredNorm')).toBe(1);
  expect(calls('adamw')).toBe(2);
  expect(calls('attentionBackward')).toBe(calls('attention'));

  const { traceEvents } = JSON.parse(readFileSync(summary.trace, 'utf8')) as { traceEvents: TraceEvent[] };
  const of = (category: string): TraceEvent[] => traceEvents.filter(({ cat }) => cat === category);
  const within = (inner: TraceEvent, outer: TraceEvent): boolean =>
    inner.ts >= outer.ts - 0.01 && inner.ts + inner.dur <= outer.ts + outer.dur + 0.01;
  const steps = of('work').filter(({ name }) => name.startsWith('step'));
  expect(steps).toHaveLength(STEPS - 1);
  expect(traceEvents.every(({ ph, dur }) => ph === 'X' && dur >= 0)).toBe(true);
  for (const program of of('program').filter(({ name }) => name !== 'evaluation'))
    expect(steps.some((step) => within(program, step))).toBe(true);
  for (const op of of('op')) expect(of('program').some((program) => within(op, program))).toBe(true);
});

it('leaves a run without it as it was, with the same losses', async () => {
  const plain = await train(config(), { out: join(folder, 'plain'), threads: 1 });
  expect(existsSync(join(plain.folder, 'profile'))).toBe(false);
  const profiled = await train(config(), { out: join(folder, 'again'), threads: 1, profile: () => undefined });
  const losses = (run: string): string[] =>
    readFileSync(join(run, 'records.jsonl'), 'utf8').match(/"loss":[\d.]+/g) as string[];
  expect(losses(profiled.folder)).toEqual(losses(plain.folder));
});
