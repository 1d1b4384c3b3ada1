import { join } from 'node:path';
import { fusedKernelsEnabled } from '../engine/kernels/index.js';
import { measureLimits, type MachineLimits } from '../engine/limits.js';
import { Profile } from '../engine/profile.js';
import { reachOf } from '../engine/roofline.js';
import { writeFileAtomic } from '../files/atomic.js';

/** What one op with the same shapes took in an average step. */
export interface ProfiledOp {
  readonly op: string;
  /** Shapes of its inputs; element types other than f32 stand before them. */
  readonly shapes: string;
  readonly calls: number;
  readonly milliseconds: number;
  readonly gflopPerSecond: number;
  readonly gigabytesPerSecond: number;
  /** Which limit bounds it, and the share of it that was reached; left out where the limits could not be measured. */
  readonly bound?: 'f32' | 'bf16' | 'copy';
  readonly shareOfLimit?: number;
}

/** Where the time of a run's steps went. */
export interface ProfileSummary {
  /** Chrome trace of the first steps: open it in chrome://tracing or https://ui.perfetto.dev. */
  readonly trace: string;
  /** Steps that were averaged: all of this process but the first. */
  readonly steps: number;
  readonly millisecondsPerStep: number;
  /** Time of a step outside of ops: data, records, JavaScript. */
  readonly outsideMilliseconds: number;
  readonly limits?: MachineLimits;
  /** Longest first. */
  readonly ops: readonly ProfiledOp[];
}

/**
 * Runs training under a profile and writes `profile/trace.json` and `profile/ops.json` into the run's folder, however the run ends.
 *
 * @param told Given the summary; nothing where there were fewer than two steps.
 */
export async function profileRun<R>(
  folder: string,
  told: (summary: ProfileSummary) => void,
  body: () => Promise<R>,
): Promise<R> {
  using profile = new Profile('steps');
  try {
    return await body();
  } finally {
    if (profile.steps > 0) told(writeProfile(folder, profile));
  }
}

function writeProfile(folder: string, profile: Profile): ProfileSummary {
  const trace = join(folder, 'profile', 'trace.json');
  writeFileAtomic(trace, JSON.stringify(profile.trace()));
  const summary = { trace, ...summarize(profile) };
  writeFileAtomic(join(folder, 'profile', 'ops.json'), `${JSON.stringify(summary, null, 1)}\n`);
  return summary;
}

function summarize(profile: Profile): Omit<ProfileSummary, 'trace'> {
  const limits = fusedKernelsEnabled() ? measureLimits() : undefined;
  const { steps, stepSeconds } = profile;
  const totals = profile.totals();
  const inside = totals.reduce((sum, { seconds }) => sum + seconds, 0);
  return {
    steps,
    millisecondsPerStep: (stepSeconds / steps) * 1000,
    outsideMilliseconds: ((stepSeconds - inside) / steps) * 1000,
    ...(limits === undefined ? {} : { limits }),
    ops: totals.map(({ op, shapes, calls, seconds, ...work }) => {
      const each = seconds / calls;
      const reach = limits === undefined ? undefined : reachOf(work, each, limits);
      return {
        op,
        shapes,
        calls: calls / steps,
        milliseconds: (seconds / steps) * 1000,
        gflopPerSecond: work.flops / each / 1e9,
        gigabytesPerSecond: work.bytes / each / 1e9,
        ...(reach === undefined ? {} : { bound: reach.bound, shareOfLimit: reach.share }),
      };
    }),
  };
}
