import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RandomStream } from '../src/architecture/index.js';
import { kernelBuild } from '../src/engine/kernels/index.js';
import { loadLibtorch } from '../src/engine/libtorch/load.js';
import { measureLimits, type MachineLimits } from '../src/engine/limits.js';
import { arithmeticLimit } from '../src/engine/roofline.js';
import { WorkError } from '../src/errors.js';
import { TrainingSession } from '../src/train/session.js';
import { stepBound, stepWork } from './bound.js';
import { describeLimits } from './limits.js';
import { residentBytes, resetPeak } from './memory.js';
import { formatFigure, measurePaired, median } from './pairs.js';
import type { Peer } from './peer.js';
import { measureRates } from './product-rates.js';
import {
  admit,
  peersOf,
  type PeerAnswer,
  type PeerData,
  type PeerReady,
  startPeer,
  type TrainStepPeer,
} from './train-step-peers.js';
import {
  createTrainStepSubject,
  recordStep,
  stepShapeOf,
  type TrainStepPrecision,
  type TrainStepShape,
} from './train-step-subject.js';
import type { Bench, BenchOptions, CaseResult } from './types.js';
import { HUGGING_FACE, peerPython } from './venv.js';

interface Case extends TrainStepShape {
  readonly name: string;
  /** Steps in one measurement. */
  readonly steps: number;
}

const CASES: readonly Case[] = [
  {
    ...{ name: '2M', steps: 8 },
    ...{ hidden: 128, layers: 6, heads: 4, kvHeads: 4, ffn: 344, vocab: 4096, batch: 16, length: 256 },
  },
  {
    ...{ name: '10M', steps: 4 },
    ...{ hidden: 256, layers: 8, heads: 8, kvHeads: 8, ffn: 688, vocab: 8192, batch: 8, length: 512 },
  },
  {
    ...{ name: '60M', steps: 1 },
    ...{ hidden: 640, layers: 10, heads: 10, kvHeads: 10, ffn: 1728, vocab: 8192, batch: 2, length: 1024 },
  },
];
/** Smallest first: peers show on it that they learn. */
const ADMISSION_CASE = CASES[0] as Case;
const PRECISIONS: readonly TrainStepPrecision[] = ['f32', 'bf16'];

/** Distinct batches of tokens; steps go through them round and round. */
const BATCHES = 8;
/** Steps before the first measurement, on every side, and those in which memory is measured. */
const WARM_UP_STEPS = 2;
const MEMORY_STEPS = 3;
/** All sides start from the same weights and see the same tokens: an early loss further off (relative) is another computation. */
const LOSS_TOLERANCE: Readonly<Record<TrainStepPrecision, number>> = { f32: 2e-3, bf16: 2e-2 };
/** The share of the bound that a step is meant to reach. */
const GOAL_SHARE: Readonly<Partial<Record<TrainStepPrecision, number>>> = { bf16: 0.75 };

/** Strata's training step against PyTorch's and Hugging Face's: forward, backward, clipping, AdamW. */
export const bench: Bench = {
  summary: 'a Llama training step against PyTorch (eager, torch.compile; f32, bf16) and Hugging Face Trainer',
  defaultRepetitions: 5,
  async run(options) {
    const libtorch = loadLibtorch({ threads: options.threads });
    const limits = measureLimits();
    const results: CaseResult[] = [];
    const versions: Record<string, string> = { libtorch: libtorch.place.version };
    const rates = new Map<string, number>();
    for (const precision of PRECISIONS)
      for (const shape of CASES) {
        if (!nameOf(shape, precision).includes(options.filter ?? '')) continue;
        const python = peerPython(HUGGING_FACE, options.log);
        results.push(await measureCase({ shape, precision, python, limits, rates, versions }, options));
      }
    return { results, versions, notes: notes(limits) };
  },
};

const nameOf = (
  { name, hidden, layers, heads, ffn, vocab, batch, length }: Case,
  precision: TrainStepPrecision,
): string => `${name} ${precision}, D=${hidden} L=${layers} H=${heads} FF=${ffn} V=${vocab} B=${batch} T=${length}`;

interface Setting {
  readonly shape: Case;
  readonly precision: TrainStepPrecision;
  readonly python: string;
  readonly limits: MachineLimits;
  /** FLOP/s of products alone, the best so far. */
  readonly rates: Map<string, number>;
  readonly versions: Record<string, string>;
}

/** One shape in one precision: ours against each peer in turn, one Python process at a time so that memory is no limit. */
async function measureCase(setting: Setting, options: BenchOptions): Promise<CaseResult> {
  const { shape, precision, python, limits, rates, versions } = setting;
  const work = stepWork(recordStep(shape, precision), 4);
  const folder = mkdtempSync(join(tmpdir(), 'strata-bench-'));
  try {
    const tokens = drawTokens(shape);
    const data = dataIn(folder, 'measured', python, tokens);
    const admissionData = dataIn(folder, 'admission', python, drawTokens(ADMISSION_CASE));
    const parts: CaseResult[] = [];
    const details: Record<string, number | string> = {};
    // Before and after all else, so that a while in which others disturb the machine does not decide.
    measureRates(work, rates);
    for (const spec of peersOf[precision]) {
      options.log(`${nameOf(shape, precision)}: ${spec.name} finds its fastest form (minutes where it compiles)`);
      const peer = await startPeer(spec, shape, data, options);
      try {
        Object.assign(versions, peer.ready.versions);
        const { loss, reference, admitted } = await admit(spec, peer.ready, ADMISSION_CASE, admissionData, options);
        details[`${spec.name}: form`] = peer.ready.form;
        details[`${spec.name}: loss after 200 steps`] =
          `${loss.toFixed(4)} (plain f32: ${reference.toFixed(4)}${admitted ? '' : '; left out for it'})`;
        if (admitted) parts.push(await alternate(setting, spec, peer, tokens, data, options));
      } finally {
        await peer.close();
      }
    }
    if (precision === 'f32') Object.assign(details, await compareMemory(setting, tokens, data, details, options));
    measureRates(work, rates);
    return withBound(combine(nameOf(shape, precision), parts, details, shape, limits, precision), setting, options);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function dataIn(folder: string, name: string, python: string, tokens: Int32Array): PeerData {
  const file = join(folder, `${name}.bin`);
  writeFileSync(file, tokens);
  return { python, tokens: file, weights: join(folder, `${name}.safetensors`) };
}

/** Ours and one peer in turn, from the same weights, over the same number of steps. */
async function alternate(
  { shape, precision }: Setting,
  { name }: TrainStepPeer,
  peer: Peer<PeerReady>,
  tokens: Int32Array,
  data: PeerData,
  options: BenchOptions,
): Promise<CaseResult> {
  using subject = createTrainStepSubject(shape, precision, data.weights, tokens);
  const losses: Record<'ours' | 'theirs', number[]> = { ours: [], theirs: [] };
  const rate = (side: 'ours' | 'theirs', answer: PeerAnswer): number => {
    losses[side].push(...answer.losses);
    return (answer.losses.length * shape.batch * shape.length) / answer.seconds;
  };
  const ours = (steps: number): number => {
    const start = performance.now();
    const values = Array.from({ length: steps }, () => subject.step());
    return rate('ours', { losses: values, seconds: (performance.now() - start) / 1000 });
  };
  const theirs = async (steps: number): Promise<number> => rate('theirs', await peer.ask<PeerAnswer>({ steps }));
  ours(WARM_UP_STEPS);
  await theirs(WARM_UP_STEPS);
  const result = await measurePaired(
    {
      case: nameOf(shape, precision),
      unit: 'tokens/s',
      better: 'higher',
      ours: () => ours(shape.steps),
      peers: { [name]: () => theirs(shape.steps) },
    },
    options,
  );
  return {
    ...result,
    details: { difference: requireSameLosses(result.case, name, losses, LOSS_TOLERANCE[precision]) },
  };
}

/** The first losses, before rounding had time to grow. */
function requireSameLosses(
  name: string,
  peer: string,
  { ours, theirs }: Readonly<Record<'ours' | 'theirs', readonly number[]>>,
  tolerance: number,
): number {
  const largest = Math.max(...ours.map((loss, i) => Math.abs(loss / (theirs[i] ?? NaN) - 1)));
  if (!(largest <= tolerance))
    throw new WorkError(
      `${name}: losses of ours and of ${peer} differ by ${largest.toExponential(1)} (at most ${tolerance}), so they do not do the same work.`,
    );
  return largest;
}

/** Peak resident memory of ours and of eager, less what the loaded libraries take. */
async function compareMemory(
  { shape, precision }: Setting,
  tokens: Int32Array,
  data: PeerData,
  details: Readonly<Record<string, number | string>>,
  options: BenchOptions,
): Promise<Record<string, number>> {
  const eager = peersOf.f32[0] as TrainStepPeer;
  const peer = await startPeer(eager, shape, data, options, [String(details['eager: form'])]);
  const { bytes: theirs } = await peer.ask<{ bytes: number }>({ memory: MEMORY_STEPS }).finally(() => peer.close());
  const before = residentBytes('now');
  using subject = createTrainStepSubject(shape, precision, data.weights, tokens);
  resetPeak();
  for (let step = 0; step < MEMORY_STEPS; step++) subject.step();
  const ours = residentBytes('peak') - before;
  return {
    'peak memory, ours (MB)': ours / 1e6,
    'peak memory, eager (MB)': theirs / 1e6,
    'share of memory': ours / theirs,
  };
}

function combine(
  name: string,
  parts: readonly CaseResult[],
  details: Record<string, number | string>,
  shape: Case,
  limits: MachineLimits,
  precision: TrainStepPrecision,
): CaseResult {
  if (parts.length === 0) throw new WorkError(`${name}: no peer was admitted.`);
  const merge = <K extends 'peers' | 'ratio' | 'spread'>(field: K): CaseResult[K] =>
    Object.assign({}, ...parts.map((part) => part[field])) as CaseResult[K];
  const ours = median(parts.map((part) => part.ours));
  const ratio = merge('ratio');
  const [fastest = '', lowest = NaN] = Object.entries(ratio).sort((a, b) => a[1] - b[1])[0] ?? [];
  const { flopsPerMicroBatch } = TrainingSession.forecast(stepShapeOf(shape, precision));
  const flops = (flopsPerMicroBatch * ours) / (shape.batch * shape.length);
  return {
    ...{ case: name, unit: 'tokens/s', ours, peers: merge('peers'), ratio, spread: merge('spread') },
    limitShare: flops / arithmeticLimit(limits, precision).flops,
    details: {
      ...{ 'fastest peer': fastest, 'ratio to it': lowest, 'GFLOP/s': flops / 1e9 },
      'largest relative difference of a loss': Math.max(...parts.map((part) => Number(part.details?.['difference']))),
      ...details,
    },
  };
}

/** A measured case beside the bound of its step. */
function withBound(
  result: CaseResult,
  { shape, precision, limits, rates }: Setting,
  options: Pick<BenchOptions, 'log'>,
): CaseResult {
  const tokens = shape.batch * shape.length;
  const programs = recordStep(shape, precision);
  const least = stepBound(stepWork(programs, 4), rates, limits.copy);
  const halved = stepBound(stepWork(programs, 2), rates, limits.copy);
  const fastest = String(result.details?.['fastest peer']);
  const theirs = result.peers[fastest] ?? NaN;
  const value = tokens / least.total;
  const bound = { value, share: result.ours / value, ratio: value / theirs };
  const goal = GOAL_SHARE[precision];
  const milliseconds = (seconds: number): string => (seconds * 1000).toFixed(1);
  options.log(
    `${result.case}: bound ${formatFigure(value)} tokens/s (products ${milliseconds(least.products)} ms, attention ` +
      `${milliseconds(least.attention)} ms, other bytes ${milliseconds(least.other)} ms); ${(bound.share * 100).toFixed(1)} % reached` +
      `${goal === undefined ? '' : ` (goal: ${goal * 100} %)`}; the bound is ${bound.ratio.toFixed(2)} times ${fastest}`,
  );
  return {
    ...result,
    bound,
    details: {
      'step (ms)': (tokens / result.ours) * 1000,
      'step at the bound (ms)': least.total * 1000,
      'products at the bound (ms)': least.products * 1000,
      'attention at the bound (ms)': least.attention * 1000,
      'other bytes at the bound (ms)': least.other * 1000,
      'best product (GFLOP/s)': least.bestRate / 1e9,
      ...(goal === undefined ? {} : { 'goal of the share of the bound': goal }),
      ...(precision === 'bf16' ? { 'bound with activations of 2 bytes (tokens/s)': tokens / halved.total } : {}),
      'ratio to the fastest peer by the limit of arithmetic alone':
        (tokens * arithmeticLimit(limits, precision).flops) / least.flops / theirs,
      ...result.details,
    },
  };
}

/** A random Markov chain in which each token has four followers: something to learn, the same on every side. */
function drawTokens({ vocab, batch, length }: TrainStepShape): Int32Array {
  const random = (name: string, count: number, bound: number) => new RandomStream(0, name).integers(count, bound);
  const followers = random('followers', vocab * 4, vocab);
  const tokens = Int32Array.from(random('starts', BATCHES * batch * (length + 1), vocab));
  const choices = random('choices', tokens.length, 4);
  for (let i = 0; i < tokens.length; i++)
    if (i % (length + 1) !== 0) tokens[i] = followers[(tokens[i - 1] ?? 0) * 4 + (choices[i] ?? 0)] ?? 0;
  return tokens;
}

function notes(limits: MachineLimits): string[] {
  const build = kernelBuild();
  const kernels = 'reason' in build ? `not compiled (${build.reason})` : `compiled by ${build.compiler}`;
  return [
    `Strata's kernels: ${kernels}.`,
    describeLimits(limits),
    'All sides start from the same weights, see the same tokens and do the same step: forward, backward, clipping of the ' +
      'global gradient norm to 1.0, AdamW (fused in PyTorch) with decay on matrices only, reading the loss. PyTorch tries ' +
      'several ways of writing the model and keeps the fastest; a peer counts only if its loss after 200 steps of the smallest ' +
      'shape is that of the plain one (within 1 %, with bf16 3 %).',
    'FLOPs are those of the ledger: matrix products and attention over all pairs, of which half are computed.',
    "The bound of a step's time: every matrix product of the recorded step at the best rate measured for its shape alone in this run (the faster of " +
      "Strata's kernel and libtorch's), attention's FLOPs (causal half, backward with the scores once more) at half of the best of these rates, and all " +
      'other operations at the bandwidth of copies, each operand read once and each result written once; logits never leave the loss. Under bf16 products ' +
      'multiply bf16, and activations count in f32, in which they are held. The goal in bf16 is 75 % of the bound. "Ratio at bound" is what a step at ' +
      'its bound would have over the fastest peer; the details have the same by the limit of arithmetic alone, which no kernel can pass.',
    'Memory is the peak of resident memory over three steps less what was resident with the libraries loaded.',
  ];
}
