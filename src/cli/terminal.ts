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
  /** Starts a progress line; on a pipe it prints a plain line every `plainSeconds` (10). */
  progress(label: string, plainSeconds?: number): Progress;
}

/** A running piece of work whose state is shown. */
export interface Progress {
  /** `done` of `total` in any unit; `detail` is printed behind the bar (loss, tokens/s ...). */
  update(done: number, total: number, detail?: string, more?: MoreProgress): void;
  /** Replaces the progress line by a final one (or nothing). */
  finish(line?: string): void;
}

/** What work of several pieces shows besides. */
export interface MoreProgress {
  /** Seconds left where the caller knows better than from the share done since the start; undefined: not known yet. */
  readonly secondsLeft: number | undefined;
  /** Lines below the bar, one for each piece under way; not printed on a pipe. */
  readonly below: readonly string[];
}

const PLAIN_SECONDS = 10;
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
    progress: (label, plainSeconds = PLAIN_SECONDS) =>
      options.quiet
        ? silentProgress
        : interactive
          ? barProgress(label, stream)
          : plainProgress(label, stream, plainSeconds),
  };
}

const silentProgress: Progress = { update() {}, finish() {} };

function barProgress(label: string, stream: NodeJS.WriteStream): Progress {
  const clock = startClock();
  let drawn = 0;
  let linesDrawn = 1;
  const back = (): string => `${linesDrawn > 1 ? `\x1b[${linesDrawn - 1}A` : ''}\r`;
  return {
    update(done, total, detail = '', more) {
      const now = performance.now();
      if (now - drawn < REDRAW_INTERVAL_MS && done < total) return;
      drawn = now;
      const share = total > 0 ? Math.min(1, done / total) : 0;
      const filled = Math.round(share * BAR_WIDTH);
      const bar = '█'.repeat(filled) + '░'.repeat(BAR_WIDTH - filled);
      const text = `${label} ${bar} ${(share * 100).toFixed(0).padStart(3)}%  ${clock.remaining(share, more)}  ${detail}`;
      const [columns, rows] = [Math.max(20, (stream.columns || 100) - 1), Math.max(1, (stream.rows || 24) - 1)];
      const lines = [text, ...(more?.below ?? [])].slice(0, rows).map((line) => `${line.slice(0, columns)}\x1b[K`);
      stream.write(`${back()}${lines.join('\n')}\x1b[J`);
      linesDrawn = lines.length;
    },
    finish(line) {
      stream.write(`${back()}\x1b[J${line === undefined ? '' : `${line}\n`}`);
      [drawn, linesDrawn] = [0, 1];
    },
  };
}

function plainProgress(label: string, stream: NodeJS.WriteStream, plainSeconds: number): Progress {
  const clock = startClock();
  let printed = performance.now();
  return {
    update(done, total, detail = '', more) {
      const now = performance.now();
      if (now - printed < plainSeconds * 1000) return;
      printed = now;
      const share = total > 0 ? Math.min(1, done / total) : 0;
      stream.write(`${label} ${(share * 100).toFixed(0)}%  ${clock.remaining(share, more)}  ${detail}\n`);
    },
    finish(line) {
      if (line !== undefined) stream.write(`${line}\n`);
    },
  };
}

function startClock(): { remaining(share: number, more: MoreProgress | undefined): string } {
  const start = performance.now();
  return {
    remaining(share, more) {
      const byShare = share <= 0 ? undefined : ((performance.now() - start) / 1000) * (1 / share - 1);
      const seconds = more === undefined ? byShare : more.secondsLeft;
      return `ETA ${seconds === undefined ? '--:--' : formatDuration(seconds)}`;
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
