import { existsSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { onInterrupt } from '../src/cli/interrupt.js';
import { compact, showRun } from '../src/cli/run-progress.js';
import { createTerminal, formatDuration, formatTable, type Terminal } from '../src/cli/terminal.js';
import {
  buildData,
  compare,
  type Comparison,
  InputError,
  Interruption,
  report,
  type RunResult,
  train,
  trainTokenizer,
  WorkError,
} from '../src/index.js';
import { grown, RATES, scratch } from './quickstart-runs.js';

const VOCABULARY = 2048;
const EXIT_INTERRUPTED = 130;

/** The folder with package.json, from source and from the build. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}

/** What the quickstart needs and makes, relative to the working folder. */
const corpus = (file: string): string => join(relative(process.cwd(), packageRoot()), 'corpora', 'novels-small', file);
const out = join('runs', 'quickstart');
const tokenizer = join(out, 'tokenizer.json');
const data = join(out, 'data');
const reportFile = join(out, 'report.html');

/** Text to token shards: a tokenizer of its own, and whole other novels to validate on. Done once. */
async function prepareData(terminal: Terminal, signal: AbortSignal): Promise<boolean> {
  const progress = terminal.progress('tokenizer');
  if (!existsSync(tokenizer))
    await trainTokenizer({
      inputs: [corpus('train.jsonl.gz')],
      vocabSize: VOCABULARY,
      out: tokenizer,
      onProgress: (_, done, total) => progress.update(done, total),
    });
  progress.finish();
  const shards = terminal.progress('data');
  const { finished, splits } = await buildData({
    inputs: [corpus('train.jsonl.gz')],
    validation: { inputs: [corpus('validation.jsonl.gz')] },
    tokenizer,
    out: data,
    signal,
    onProgress: ({ readBytes, totalBytes, tokens }) =>
      shards.update(readBytes, totalBytes, `${compact(tokens)} tokens`),
  });
  shards.finish();
  const tokens = (split: 'train' | 'validation'): string => compact(splits[split]?.index.tokens ?? 0);
  if (finished)
    terminal.say(
      `Text: ${tokens('train')} tokens to train on, ${tokens('validation')} of other novels to validate on.`,
    );
  return finished;
}

async function trainBoth(terminal: Terminal, signal: AbortSignal): Promise<{ grown: RunResult; scratch: RunResult }> {
  const run = async (name: 'grown' | 'scratch', label: string): Promise<RunResult> => {
    const shown = showRun(terminal, label);
    try {
      const config = { grown, scratch }[name](data);
      return await train(config, { out: join(out, name), callbacks: shown.callbacks, signal, reporter: terminal });
    } finally {
      shown.finish();
    }
  };
  return { grown: await run('grown', 'grown (1 of 2)'), scratch: await run('scratch', 'scratch (2 of 2)') };
}

const percent = (share: number): string => `${share >= 0 ? '+' : ''}${(100 * share).toFixed(1)} %`;

function summary(results: { grown: RunResult; scratch: RunResult }, comparison: Comparison, seconds: number): string {
  const at = comparison.runs[0]?.atEqualLoss ?? undefined;
  const rows = (['scratch', 'grown'] as const).map((name) => {
    const { validationLoss, flops, folder } = results[name];
    return [name, validationLoss?.toFixed(4) ?? '-', flops.toExponential(3), String(RATES[name]), folder];
  });
  const lines = [
    formatTable([['run', 'final validation loss', 'FLOPs', 'peak rate', 'folder'], ...rows]),
    '',
    at === undefined
      ? `No speedup can be read off: ${comparison.runs[0]?.reason ?? 'the curves do not meet'}.`
      : formatTable([
          [
            'speedup',
            percent(at.speedup),
            `at validation loss ${at.loss.toFixed(4)}: scratch needs ${at.baselineFlops.toExponential(3)} FLOPs,`,
          ],
          [
            'saved',
            percent(at.saved),
            `the grown model ${at.runFlops.toExponential(3)}, the training of its base included`,
          ],
        ]),
    '',
    'So short a run flatters growth, and it is compared with the same architecture from scratch, not with the best smaller one.',
    `Report: ${reportFile}   (${formatDuration(seconds)} this time)`,
  ];
  return lines.join('\n');
}

async function main(): Promise<void> {
  const flags = new Set(process.argv.slice(2));
  const terminal = createTerminal({ json: flags.has('--json'), quiet: flags.has('--quiet') });
  const start = performance.now();
  const interrupt = onInterrupt();
  try {
    if (!(await prepareData(terminal, interrupt.signal))) {
      terminal.warn('Stopped; "npm run quickstart" goes on from here.');
      process.exitCode = EXIT_INTERRUPTED;
      return;
    }
    const results = await trainBoth(terminal, interrupt.signal);
    const comparison = compare(results.scratch.folder, results.grown.folder);
    report([results.scratch.folder, results.grown.folder], reportFile);
    const seconds = (performance.now() - start) / 1000;
    terminal.result({ ...results, comparison, report: reportFile, seconds }, () =>
      summary(results, comparison, seconds),
    );
  } catch (error) {
    fail(terminal, error);
  } finally {
    interrupt.dispose();
  }
}

function fail(terminal: Terminal, error: unknown): void {
  if (error instanceof Interruption) {
    terminal.warn(`${error.message.replace('the same command', '"npm run quickstart"')}`);
    process.exitCode = EXIT_INTERRUPTED;
  } else if (error instanceof InputError || error instanceof WorkError) {
    terminal.warn(`quickstart: ${error.message}`);
    process.exitCode = error instanceof InputError ? 2 : 1;
  } else throw error;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await main();
