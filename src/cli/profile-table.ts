import type { ProfiledOp, ProfileSummary } from '../train/index.js';
import { formatTable } from './terminal.js';

/** Rows in the table at most; profile/ops.json has all. */
const MOST_ROWS = 24;

/** A profile as people read it: limits of the machine, then ops by the time that they take of a step. */
export function describeProfile(summary: ProfileSummary): string {
  const { steps, millisecondsPerStep, outsideMilliseconds, limits, ops, trace } = summary;
  const share = (milliseconds: number): string => `${((milliseconds / millisecondsPerStep) * 100).toFixed(1)} %`;
  const lines = [`Profile: ${millisecondsPerStep.toFixed(1)} ms a step, the average of ${steps}`];
  if (limits !== undefined) {
    const bf16 = limits.bf16 === undefined ? '' : `, ${gflops(limits.bf16.flops)} GFLOP/s bf16 (${limits.bf16.by})`;
    lines.push(
      `Limits with ${limits.threads} ${limits.threads === 1 ? 'thread' : 'threads'}: ${gflops(limits.f32)} GFLOP/s f32${bf16}, copies ${(limits.copy / 1e9).toFixed(1)} GB/s read and written`,
    );
  }
  const shown = ops.slice(0, MOST_ROWS);
  const rest = ops.slice(MOST_ROWS);
  const rows = shown.map((op) => row(op, share));
  if (rest.length > 0) {
    const milliseconds = rest.reduce((sum, op) => sum + op.milliseconds, 0);
    const calls = rest.reduce((sum, op) => sum + op.calls, 0);
    rows.push([`${rest.length} more`, calls.toFixed(0), milliseconds.toFixed(2), share(milliseconds), '', '', '', '']);
  }
  rows.push(['outside of ops', '', outsideMilliseconds.toFixed(2), share(outsideMilliseconds), '', '', '', '']);
  return [
    ...lines,
    '',
    formatTable([['op', 'calls', 'ms', 'of step', 'GFLOP/s', 'GB/s', 'of limit', 'inputs'], ...rows]),
    '',
    `Trace: ${trace} (opens in chrome://tracing and https://ui.perfetto.dev)`,
  ].join('\n');
}

const gflops = (value: number): string => (value / 1e9).toFixed(1);

function row(op: ProfiledOp, share: (milliseconds: number) => string): string[] {
  return [
    op.op,
    String(Math.round(op.calls * 100) / 100),
    op.milliseconds.toFixed(2),
    share(op.milliseconds),
    op.gflopPerSecond > 0 ? op.gflopPerSecond.toFixed(1) : '-',
    op.gigabytesPerSecond.toFixed(1),
    op.shareOfLimit === undefined ? '-' : `${(op.shareOfLimit * 100).toFixed(0)} % ${op.bound}`,
    op.shapes,
  ];
}
