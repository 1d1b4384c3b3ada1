import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RandomStream } from '../src/architecture/index.js';
import { kernelBuild } from '../src/engine/kernels/index.js';
import { loadLibtorch } from '../src/engine/libtorch/load.js';
import { WorkError } from '../src/errors.js';
import { measurePaired, median } from './pairs.js';
import { Peer } from './peer.js';
import { createTrainStepSubject, type TrainStepShape } from './train-step-subject.js';
import type { Bench, BenchOptions, CaseResult } from './types.js';
import { peerPython } from './venv.js';

interface Case extends TrainStepShape {
  /** Steps in one measurement. */
  readonly steps: number;
}

const CASES: readonly Case[] = [
  { hidden: 256, layers: 8, heads: 8, kvHeads: 8, ffn: 688, vocab: 4096, batch: 8, length: 256, steps: 4 },
  { hidden: 512, layers: 12, heads: 8, kvHeads: 8, ffn: 1376, vocab: 8192, batch: 4, length: 512, steps: 2 },
];
const MODES = ['eager', 'compile'] as const;
type Mode = (typeof MODES)[number];

/** Distinct batches of tokens; steps go through them round and round. */
const BATCHES = 8;
/** Steps before the first measurement, on every side. */
const WARM_UP_STEPS = 2;
/** All sides start from the same weights and see the same tokens: a loss further off (relative) is another computation. */
const LOSS_TOLERANCE = 2e-3;

interface Ready {
  readonly form: string;
  readonly versions: { readonly torch: string };
}
interface Answer {
  readonly seconds: number;
  readonly losses: readonly number[];
}

/** Strata's training step against PyTorch's, eager and compiled: forward, backward, clipping, AdamW; float32. */
export const bench: Bench = {
  summary: 'a Llama training step against PyTorch, eager and torch.compile (float32)',
  defaultRepetitions: 7,
  async run(options) {
    const python = peerPython(['safetensors'], options.log);
    const libtorch = loadLibtorch({ threads: options.threads });
    const results: CaseResult[] = [];
    const versions: Record<string, string> = { libtorch: libtorch.place.version };
    for (const shape of CASES) {
      if (!nameOf(shape).includes(options.filter ?? '')) continue;
      const { result, torch } = await measureCase(shape, python, options);
      results.push(result);
      versions['torch'] = torch;
    }
    return { results, versions, notes: notes() };
  },
};

const nameOf = ({ hidden, layers, heads, ffn, vocab, batch, length }: TrainStepShape): string =>
  `D=${hidden} L=${layers} H=${heads} FF=${ffn} V=${vocab} B=${batch} T=${length}`;

async function measureCase(shape: Case, python: string, options: BenchOptions) {
  const folder = mkdtempSync(join(tmpdir(), 'strata-bench-'));
  const peers = new Map<Mode, Peer<Ready>>();
  try {
    const tokens = drawTokens(shape);
    const [tokenFile, weights] = [join(folder, 'tokens.bin'), join(folder, 'model.safetensors')];
    writeFileSync(tokenFile, tokens);
    for (const mode of MODES) {
      options.log(`${nameOf(shape)}: PyTorch ${mode} finds its fastest form${mode === 'compile' ? ' (minutes)' : ''}`);
      const start = mode === MODES[0] ? { save: weights } : { weights };
      const settings = { ...peerShape(shape), mode, threads: options.threads, tokens: tokenFile, ...start };
      peers.set(mode, await Peer.start<Ready>(python, 'train_step.py', settings, options.threads));
    }
    using subject = createTrainStepSubject(shape, weights, tokens);
    return {
      result: await alternate(shape, subject, peers, options),
      torch: peers.get('eager')?.ready.versions.torch ?? '',
    };
  } finally {
    for (const peer of peers.values()) await peer.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Measures all sides in turn. Every side takes the same number of steps, so their losses can be held together. */
async function alternate(
  shape: Case,
  subject: { step(): number },
  peers: ReadonlyMap<Mode, Peer<Ready>>,
  options: BenchOptions,
): Promise<CaseResult> {
  const losses: Record<string, number[]> = {};
  const seconds: number[] = [];
  const tokensPerSecond = (name: string, answer: Answer): number => {
    (losses[name] ??= []).push(...answer.losses);
    return (answer.losses.length * shape.batch * shape.length) / answer.seconds;
  };
  const runOurs = (steps: number): number => {
    const start = performance.now();
    const values = Array.from({ length: steps }, () => subject.step());
    seconds.push((performance.now() - start) / 1000 / steps);
    return tokensPerSecond('ours', { losses: values, seconds: (performance.now() - start) / 1000 });
  };
  const runPeer = async (mode: Mode, steps: number): Promise<number> =>
    tokensPerSecond(mode, await (peers.get(mode) as Peer<Ready>).ask<Answer>({ steps }));

  runOurs(WARM_UP_STEPS);
  for (const mode of peers.keys()) await runPeer(mode, WARM_UP_STEPS);
  seconds.length = 0;
  const result = await measurePaired(
    {
      case: nameOf(shape),
      unit: 'tokens/s',
      better: 'higher',
      ours: () => runOurs(shape.steps),
      peers: Object.fromEntries([...peers.keys()].map((mode) => [mode, () => runPeer(mode, shape.steps)])),
    },
    options,
  );
  const forms = [...peers].map(([mode, { ready }]) => [`form of ${mode}`, ready.form]);
  return {
    ...result,
    details: {
      'seconds per step': median(seconds),
      'largest relative difference of a loss': requireSameLosses(nameOf(shape), losses),
      ...Object.fromEntries(forms),
    },
  };
}

function requireSameLosses(name: string, losses: Readonly<Record<string, readonly number[]>>): number {
  const { ours = [], ...peers } = losses;
  const differences = Object.values(peers).flatMap((peer) =>
    ours.map((loss, i) => Math.abs(loss / (peer[i] ?? NaN) - 1)),
  );
  const largest = Math.max(...differences);
  if (!(largest <= LOSS_TOLERANCE))
    throw new WorkError(
      `${name}: losses of ours and the peers differ by ${largest.toExponential(1)} (at most ${LOSS_TOLERANCE}), so they do not do the same work.`,
    );
  return largest;
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

const peerShape = ({ kvHeads, steps: _, ...rest }: Case) => ({ ...rest, kv_heads: kvHeads });

function notes(): string[] {
  const build = kernelBuild();
  const kernels = 'reason' in build ? `not compiled (${build.reason})` : `compiled by ${build.compiler}`;
  return [
    `Strata's kernels: ${kernels}.`,
    'All sides start from the same weights, see the same tokens and do the same step: forward, backward, clipping of the ' +
      'global gradient norm to 1.0, AdamW (fused in PyTorch) with decay on matrices only, reading the loss. PyTorch tries ' +
      'several ways of writing the model and keeps the fastest.',
  ];
}
