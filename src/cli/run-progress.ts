import type { RunCallbacks } from '../train/index.js';
import { type Progress, type Terminal } from './terminal.js';

const count = (value: number): string => Math.round(value).toLocaleString('en-US');

/** A number of parameters, tokens or FLOPs for people: 2.3M, 49T, 4.9e15. */
export function compact(value: number): string {
  for (const [size, suffix] of [
    [1e12, 'T'],
    [1e9, 'B'],
    [1e6, 'M'],
    [1e3, 'k'],
  ] as const)
    if (value >= size && value < size * 1000) return `${(value / size).toPrecision(3)}${suffix}`;
  return value < 1000 ? String(value) : value.toExponential(2);
}

/**
 * Shows a run: one bar over all its stages with the time left by FLOPs, loss and speed, and a line for each growth.
 *
 * Call `finish` when the run has ended, however it ended.
 */
export function showRun(terminal: Terminal, label?: string): { callbacks: RunCallbacks; finish(): void } {
  let bar: Progress | undefined;
  let name = label ?? '';
  let total = 0;
  let first = 0;
  let validation = '';
  const say = (line: string): void => {
    bar?.finish();
    terminal.say(line);
  };
  return {
    finish: () => bar?.finish(),
    callbacks: {
      onStart(plan, resumedAt) {
        name = label ?? plan.config.name;
        total = plan.totals?.ledger.totals().flops ?? 0;
        if (resumedAt !== undefined) say(`${name}: going on from step ${count(resumedAt)}`);
        bar = terminal.progress(name);
      },
      onStep(record, progress) {
        // The first record tells where this process began, so that the time left is that of its own work.
        if (first === 0) first = record.flops;
        const steps = `${record.stage} ${count(progress.stageStep)}/${count(progress.stageSteps)}`;
        const speed = `${count(record.tokensPerSecond ?? 0)} tokens/s`;
        const share: [number, number] =
          total > 0 ? [record.flops - first, total - first] : [progress.stageStep, progress.stageSteps];
        bar?.update(...share, `${steps}  loss ${record.loss.toFixed(3)}${validation}  ${speed}`);
      },
      onLearning: (operator, done, total, loss) =>
        bar?.update(done, total, `${operator} learns ${count(done)}/${count(total)}  loss ${loss.toFixed(3)}`),
      onValidation: (record) => void (validation = `  val ${record.loss.toFixed(3)}`),
      onGrowth(record) {
        const { operator, lossBefore, lossAfter, sourceParameters = 0, targetParameters = 0 } = record;
        const losses = `validation loss ${lossBefore === undefined ? '' : `${lossBefore.toFixed(3)} -> `}${(lossAfter ?? NaN).toFixed(3)}`;
        say(
          `${name}: grown by ${operator} at step ${count(record.step)}: ${compact(sourceParameters)} -> ${compact(targetParameters)} parameters, ${losses}`,
        );
      },
      onExternal: (stage, command, log) =>
        say(`${name}: stage ${stage} runs in another trainer (log: ${log}): ${command}`),
      onWarning(sentence) {
        bar?.finish();
        terminal.warn(sentence);
      },
    },
  };
}
