import { type RunState, type StudyOptions, StudyProgress } from '../experiments/study/index.js';
import { describeResult } from './study-tables.js';
import { formatDuration, type Progress, type Terminal } from './terminal.js';

const LOOK_SECONDS = 1;
/** Seconds between lines where there is no terminal. */
const PLAIN_SECONDS = 60;

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/**
 * Shows a study that runs: one bar over the FLOPs of all runs with the time left, a line for each run under way, and one that stays for
 * each that has ended.
 *
 * Call `finish` when the study has ended, however it ended. Nothing is redrawn after `signal`, below which other lines then stand.
 */
export function showStudy(
  terminal: Terminal,
  name: string,
  signal: AbortSignal,
): { callbacks: Required<Pick<StudyOptions, 'onPlan' | 'onStart' | 'onResult'>>; finish(): void } {
  const progress = new StudyProgress();
  const bar: Progress = terminal.progress(name, PLAIN_SECONDS);
  const draw = (): void => {
    const { runs, flops, running, elapsed, secondsLeft } = progress.state();
    const under = running.map(describeRunning(running));
    const detail = [
      `${runs.all - runs.left - runs.running}/${runs.all} runs`,
      `${flops.done.toExponential(2)} of ${flops.all.toExponential(2)} FLOPs`,
      `elapsed ${formatDuration(elapsed)}`,
      ...(terminal.interactive ? [] : running.map((run) => `${run.name} ${percent(run.flopsDone / run.flops)}`)),
    ].join('  ');
    bar.update(flops.done, flops.all, detail, { secondsLeft, below: under });
  };
  const timer = setInterval(draw, LOOK_SECONDS * 1000);
  let [isShown, isPlanned] = [true, false];
  const stop = (): void => {
    clearInterval(timer);
    isShown = false;
  };
  signal.addEventListener('abort', stop);
  return {
    callbacks: {
      onPlan(plan) {
        progress.plan(plan);
        const done = plan.runs.filter(({ wasDone }) => wasDone).length;
        if (!isPlanned && done > 0) terminal.say(`${done} of ${plan.runs.length} runs were done before.`);
        isPlanned = true;
      },
      onStart: (job) => progress.begin(job),
      onResult(result) {
        progress.end(result);
        if (result.wasDone === true) return;
        const { runs, flops, secondsLeft } = progress.state();
        const left = secondsLeft === undefined ? '' : `, ${formatDuration(secondsLeft)} left`;
        if (isShown) bar.finish();
        terminal.say(
          `${runs.all - runs.left - runs.running}/${runs.all} ${describeResult(result)}; ${percent(flops.done / flops.all)} of FLOPs${left}`,
        );
      },
    },
    finish() {
      if (isShown) bar.finish();
      stop();
    },
  };
}

/** The line of a run under way, its columns below those of the others. */
function describeRunning(all: readonly RunState[]): (run: RunState) => string {
  const width = Math.max(...all.map(({ name }) => name.length));
  const steps = ({ step = 0, steps: total }: RunState): string =>
    `${step.toLocaleString('en-US')}/${total.toLocaleString('en-US')}`;
  const stepsWidth = Math.max(...all.map((run) => steps(run).length));
  return (run) => {
    const { name, flops, flopsDone, loss, tokensPerSecond } = run;
    const share = `${((100 * flopsDone) / flops).toFixed(0)}%`.padStart(4);
    const speed =
      tokensPerSecond === undefined ? '' : `  ${Math.round(tokensPerSecond).toLocaleString('en-US')} tokens/s`;
    const rest = loss === undefined ? '  no records yet' : `  loss ${loss.toFixed(3)}${speed}`;
    return `  ${name.padEnd(width)}  ${steps(run).padStart(stepsWidth)} ${share}${rest}`;
  };
}
