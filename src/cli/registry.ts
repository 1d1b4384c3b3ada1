import type { Command } from 'commander';

/** Every command of `strata`: one file each, loaded only when it is named (or for the list). */
export const commands: Record<string, { summary: string; load: () => Promise<{ create(): Command }> }> = {
  // one line per command
  engine: {
    summary: 'get the library that computes (libtorch)',
    load: () => import('./commands/engine.js'),
  },
  doctor: {
    summary: 'what this machine has, and what to do about what it lacks',
    load: () => import('./commands/doctor.js'),
  },
  tokenizer: {
    summary: 'train a tokenizer',
    load: () => import('./commands/tokenizer.js'),
  },
  data: {
    summary: 'turn text into token shards and look into them',
    load: () => import('./commands/data.js'),
  },
  train: {
    summary: 'run a config: stages of train and grow',
    load: () => import('./commands/train.js'),
  },
  plan: {
    summary: 'when to grow, by how much, what it costs',
    load: () => import('./commands/plan.js'),
  },
  grow: {
    summary: 'make a larger checkpoint out of a checkpoint',
    load: () => import('./commands/grow.js'),
  },
  inspect: {
    summary: 'look into a checkpoint, and what is wrong with it',
    load: () => import('./commands/inspect.js'),
  },
  export: {
    summary: 'a checkpoint or records in the format of another tool',
    load: () => import('./commands/export.js'),
  },
  operators: {
    summary: 'the growth operators there are',
    load: () => import('./commands/operators.js'),
  },
  eval: {
    summary: "the paper's benchmarks, with lm-evaluation-harness's own numbers",
    load: () => import('./commands/eval.js'),
  },
  generate: {
    summary: 'continue a text with a checkpoint',
    load: () => import('./commands/generate.js'),
  },
  serve: {
    summary: 'serve a checkpoint over the OpenAI completions protocol',
    load: () => import('./commands/serve.js'),
  },
  compare: {
    summary: 'speedup at equal loss, with intervals',
    load: () => import('./commands/compare.js'),
  },
  report: {
    summary: 'the figures and tables of runs as one HTML file',
    load: () => import('./commands/report.js'),
  },
  fit: {
    summary: 'scaling laws and growth guidelines from your own runs',
    load: () => import('./commands/fit.js'),
  },
  sweep: {
    summary: 'run a grid of runs',
    load: () => import('./commands/sweep.js'),
  },
  tune: {
    summary: 'search for hyper-parameters: cheap fidelities first, successive halving',
    load: () => import('./commands/tune.js'),
  },
  study: {
    summary: 'arms, budgets, seeds and controls, with intervals, on any trainer',
    load: () => import('./commands/study.js'),
  },
  watch: {
    summary: 'the report of running runs, live on this machine',
    load: () => import('./commands/watch.js'),
  },
  runs: {
    summary: 'list, show, compare, tag and remove runs',
    load: () => import('./commands/runs.js'),
  },
  card: {
    summary: 'model card and compute statement of a run',
    load: () => import('./commands/card.js'),
  },
};
