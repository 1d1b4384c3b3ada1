import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { suggestion } from '../src/architecture/index.js';
import { InputError, WorkError } from '../src/errors.js';
import { writeFileAtomic } from '../src/files/atomic.js';
import { version } from '../src/version.js';
import { describeMachine } from './machine.js';
import { formatForTerminal, formatMarkdown, type BenchDocument } from './report.js';
import type { Bench, BenchFigure, BenchOptions } from './types.js';

/** Every bench, by name. One line each; the file is loaded when it is asked for. */
const benches: Readonly<Record<string, () => Promise<{ bench: Bench }>>> = {
  'beside-load': () => import('./beside-load.js'),
  crossing: () => import('./crossing.js'),
  kernels: () => import('./kernels.js'),
  'data-loader': () => import('./data-loader.js'),
  'data-pipeline': () => import('./data-pipeline.js'),
  'data-tokenize': () => import('./data-tokenize.js'),
  'data-train-tokenizer': () => import('./data-train-tokenizer.js'),
  eval: () => import('./eval.js'),
  generate: () => import('./generate.js'),
  'grow-execute': () => import('./grow-execute.js'),
  routing: () => import('./routing.js'),
  scaling: () => import('./scaling.js'),
  'train-step': () => import('./train-step.js'),
};

const OPTIONS = {
  json: { type: 'boolean', default: false },
  report: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
  repetitions: { type: 'string' },
  threads: { type: 'string' },
  filter: { type: 'string' },
} as const;

async function main(argv: readonly string[]): Promise<void> {
  const { values, positionals } = parse(argv);
  const [name] = positionals;
  if (values.help || name === undefined) {
    process.stdout.write(await help());
    if (!values.help) throw new InputError('Which bench? Give one of the names above.');
    return;
  }
  const bench = await load(name);
  const options: BenchOptions = {
    repetitions: wholeNumber('repetitions', values.repetitions) ?? bench.defaultRepetitions,
    threads: wholeNumber('threads', values.threads) ?? availableParallelism(),
    ...(values.filter === undefined ? {} : { filter: values.filter }),
    log: (line) => process.stderr.write(`${line}\n`),
  };
  const { figures, ...document } = await measure(name, bench, options);
  process.stdout.write(`${values.json ? JSON.stringify(document) : formatForTerminal(document)}\n`);
  if (!values.report) return;
  // A part of the cases has a page of its own.
  const part = options.filter === undefined ? '' : `-${options.filter.replace(/[^A-Za-z0-9]+/g, '-')}`;
  const path = `docs/benchmarks/${name}${part}.md`;
  const date = new Date().toISOString().slice(0, 10);
  for (const figure of figures) writeFileAtomic(`docs/benchmarks/${figure.name}.svg`, `${figure.svg}\n`);
  writeFileAtomic(path, formatMarkdown(document, figures, `npm run bench -- ${argv.join(' ')}`, date));
  options.log(`Report: ${path}`);
}

async function measure(name: string, bench: Bench, options: BenchOptions) {
  const { results, versions, notes, figures } = await bench.run(options);
  if (results.length === 0) throw new InputError(`--filter: no case of ${name} contains "${options.filter ?? ''}".`);
  return {
    bench: name,
    machine: describeMachine(),
    versions: { strata: version, node: process.versions.node, ...versions },
    threads: options.threads,
    repetitions: options.repetitions,
    results,
    notes: notes ?? [],
    figures: figures ?? [],
  } satisfies BenchDocument & { figures: readonly BenchFigure[] };
}

function parse(argv: readonly string[]) {
  try {
    const parsed = parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true });
    if (parsed.positionals.length > 1)
      throw new InputError(`One bench at a time; found ${parsed.positionals.join(', ')}.`);
    return parsed;
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(error instanceof Error ? error.message : String(error));
  }
}

function load(name: string): Promise<Bench> {
  const entry = benches[name];
  if (entry === undefined)
    throw new InputError(`There is no bench "${name}"${suggestion(name, Object.keys(benches))}.`);
  return entry().then(({ bench }) => bench);
}

function wholeNumber(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InputError(`--${option}: expected a whole number of at least 1, found "${text}".`);
  return value;
}

async function help(): Promise<string> {
  const names = Object.keys(benches);
  const width = Math.max(...names.map((name) => name.length));
  const list = await Promise.all(names.map(async (name) => `  ${name.padEnd(width)}  ${(await load(name)).summary}`));
  return `Usage: npm run bench -- NAME [--json] [--repetitions N] [--threads N] [--filter TEXT] [--report]

Measures Strata and its peers in turn and prints both and the ratio. --report also writes docs/benchmarks/NAME.md;
--json prints one JSON document (npm run --silent bench keeps npm's own lines away). Peers run in a Python
environment of their own, made on first use.

Benches:
${list.join('\n')}

Examples:
  npm run bench -- train-step
  npm run bench -- train-step --filter D=256 --repetitions 3
`;
}

main(process.argv.slice(2)).catch((error: unknown) => {
  const known = error instanceof InputError || error instanceof WorkError;
  process.stderr.write(`bench: ${known ? error.message : error instanceof Error ? error.stack : String(error)}\n`);
  process.exitCode = error instanceof InputError ? 2 : 1;
});
