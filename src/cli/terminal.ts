import pc from 'picocolors';

/** What a command says, and where. Results go to standard output; all else to standard error when `json` is set. */
export interface Terminal {
  readonly json: boolean;
  readonly interactive: boolean;
  readonly colors: typeof pc;
  /** A line for people; nothing under `--quiet`. */
  say(line: string): void;
  /** A line that is said even under `--quiet`. */
  warn(line: string): void;
  /** The command's result: `human()` for people, or the document as JSON. */
  result(document: unknown, human: () => string): void;
  /** Starts a progress line; on a pipe it prints a plain line every few seconds. */
  progress(label: string): Progress;
}

/** A running piece of work whose state is shown. */
export interface Progress {
  /** `done` of `total` in any unit; `detail` is printed behind the bar (loss, tokens/s ...). */
  update(done: number, total: number, detail?: string): void;
  /** Replaces the progress line by a final one (or nothing). */
  finish(line?: string): void;
}

const PLAIN_INTERVAL_MS = 10_000;
const REDRAW_INTERVAL_MS = 100;
const BAR_WIDTH = 24;

export function createTerminal(options: { json: boolean; quiet: boolean }): Terminal {
  const stream = options.json ? process.stderr : process.stdout;
  const interactive = Boolean(stream.isTTY) && !options.quiet && process.env['TERM'] !== 'dumb';
  return {
    json: options.json,
    interactive,
    colors: pc.createColors(interactive && !process.env['NO_COLOR']) as typeof pc,
    say(line) {
      if (!options.quiet) stream.write(`${line}\n`);
    },
    warn(line) {
      process.stderr.write(`${line}\n`);
    },
    result(document, human) {
      process.stdout.write(options.json ? `${JSON.stringify(document)}\n` : `${human()}\n`);
    },
    progress: (label) =>
      options.quiet ? silentProgress : interactive ? barProgress(label, stream) : plainProgress(label, stream),
  };
}

const silentProgress: Progress = { update() {}, finish() {} };

function barProgress(label: string, stream: NodeJS.WriteStream): Progress {
  const clock = startClock();
  let drawn = 0;
  return {
    update(done, total, detail = '') {
      const now = performance.now();
      if (now - drawn < REDRAW_INTERVAL_MS && done < total) return;
      drawn = now;
      const share = total > 0 ? Math.min(1, done / total) : 0;
      const filled = Math.round(share * BAR_WIDTH);
      const bar = '█'.repeat(filled) + '░'.repeat(BAR_WIDTH - filled);
      const text = `${label} ${bar} ${(share * 100).toFixed(0).padStart(3)}%  ${clock.remaining(share)}  ${detail}`;
      stream.write(`\r${text.slice(0, Math.max(20, (stream.columns ?? 100) - 1))}\x1b[K`);
    },
    finish(line) {
      stream.write(`\r\x1b[K${line === undefined ? '' : `${line}\n`}`);
    },
  };
}

function plainProgress(label: string, stream: NodeJS.WriteStream): Progress {
  const clock = startClock();
  let printed = performance.now();
  return {
    update(done, total, detail = '') {
      const now = performance.now();
      if (now - printed < PLAIN_INTERVAL_MS) return;
      printed = now;
      const share = total > 0 ? Math.min(1, done / total) : 0;
      stream.write(`${label} ${(share * 100).toFixed(0)}%  ${clock.remaining(share)}  ${detail}\n`);
    },
    finish(line) {
      if (line !== undefined) stream.write(`${line}\n`);
    },
  };
}

function startClock(): { remaining(share: number): string } {
  const start = performance.now();
  return {
    remaining(share) {
      if (share <= 0) return 'ETA --:--';
      const seconds = ((performance.now() - start) / 1000) * (1 / share - 1);
      return `ETA ${formatDuration(seconds)}`;
    },
  };
}

/** Seconds as m:ss or h:mm:ss. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  const shown = parts[0] === 0 ? parts.slice(1) : parts;
  return shown.map((part, i) => (i === 0 ? String(part) : String(part).padStart(2, '0'))).join(':');
}

/** Aligns rows in columns; numbers (anything that starts with a digit or sign) to the right. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => (/^[-+]?\d/.test(cell) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
