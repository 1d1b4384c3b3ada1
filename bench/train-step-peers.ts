import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '../src/engine/libtorch/find.js';
import { writeFileAtomic } from '../src/files/atomic.js';
import { Peer } from './peer.js';
import type { TrainStepPrecision, TrainStepShape } from './train-step-subject.js';
import type { BenchOptions } from './types.js';

/** One way of training the model in Python: bench/peers/train_step.py knows it by mode and precision. */
export interface TrainStepPeer {
  readonly name: string;
  readonly mode: 'eager' | 'compile' | 'trainer';
  readonly precision: 'f32' | 'autocast' | 'matmul' | 'bf16';
}

/** What ours is held against in each precision. */
export const peersOf: Readonly<Record<TrainStepPrecision, readonly TrainStepPeer[]>> = {
  f32: [
    { name: 'eager', mode: 'eager', precision: 'f32' },
    { name: 'compile', mode: 'compile', precision: 'f32' },
    { name: 'trainer', mode: 'trainer', precision: 'f32' },
  ],
  bf16: [
    { name: 'autocast', mode: 'eager', precision: 'autocast' },
    { name: 'autocast+compile', mode: 'compile', precision: 'autocast' },
    { name: 'matmul-bf16', mode: 'eager', precision: 'matmul' },
    { name: 'matmul-bf16+compile', mode: 'compile', precision: 'matmul' },
    { name: 'bf16', mode: 'eager', precision: 'bf16' },
    { name: 'bf16+compile', mode: 'compile', precision: 'bf16' },
  ],
};

export interface PeerReady {
  readonly form: string;
  readonly versions: Readonly<Record<string, string>>;
}
export interface PeerAnswer {
  readonly seconds: number;
  readonly losses: readonly number[];
}

/** Where a peer starts: weights and tokens in files. */
export interface PeerData {
  readonly python: string;
  readonly tokens: string;
  readonly weights: string;
}

/** Starts a peer on a shape. `forms` are the ways of writing the model that it tries; all where left out. */
export function startPeer(
  { mode, precision }: TrainStepPeer,
  { kvHeads, ...shape }: TrainStepShape,
  { python, tokens, weights }: PeerData,
  options: BenchOptions,
  forms?: readonly string[],
): Promise<Peer<PeerReady>> {
  const { hidden, layers, heads, ffn, vocab, batch, length } = shape;
  const sizes = { hidden, layers, heads, ffn, vocab, batch, length, kv_heads: kvHeads };
  const start = existsSync(weights) ? { weights } : { save: weights };
  const settings = { ...sizes, mode, precision, threads: options.threads, tokens, ...start, ...(forms && { forms }) };
  return Peer.start<PeerReady>(python, 'train_step.py', settings, options.threads);
}

/** The arithmetic as Hugging Face writes it, in float32: its losses are the reference. */
const PLAIN: TrainStepPeer = { name: 'plain', mode: 'eager', precision: 'f32' };
const PLAIN_FORM = 'separate, rotary by rotate_half, norm by hand';
const STEPS = 200;
/** The loss is the mean of the last steps: one alone depends on its batch. */
const LAST = 20;
/** Furthest from the reference's loss, relative, at which a peer still does the same work. */
const TOLERANCE = { f32: 0.01, bf16: 0.03 } as const;

/** What a peer's loss was after 200 steps. */
export interface Admission {
  readonly loss: number;
  readonly reference: number;
  readonly admitted: boolean;
}

/**
 * Whether a peer in the form that it chose learns as the plain one does: 200 steps of the smallest shape from the same weights. Results are kept
 * in the cache, by versions, form and shape.
 */
export async function admit(
  peer: TrainStepPeer,
  ready: PeerReady,
  shape: TrainStepShape,
  data: PeerData,
  options: BenchOptions,
): Promise<Admission> {
  const lossOf = async (which: TrainStepPeer, form: string): Promise<number> => {
    const key = JSON.stringify([which.mode, which.precision, form, ready.versions, shape, STEPS]);
    const known = readStored()[key];
    if (known !== undefined) return known;
    options.log(`${which.name} (${form}): ${STEPS} steps, to see that it learns`);
    const process = await startPeer(which, shape, data, options, which.mode === 'trainer' ? undefined : [form]);
    try {
      const { losses } = await process.ask<PeerAnswer>({ steps: STEPS });
      const loss = losses.slice(-LAST).reduce((sum, value) => sum + value, 0) / LAST;
      store(key, loss);
      return loss;
    } finally {
      await process.close();
    }
  };
  const reference = await lossOf(PLAIN, PLAIN_FORM);
  const loss = await lossOf(peer, ready.form);
  const tolerance = TOLERANCE[peer.precision === 'f32' ? 'f32' : 'bf16'];
  return { loss, reference, admitted: Math.abs(loss / reference - 1) <= tolerance };
}

const STORE = join(cacheFolder(), 'bench', 'admission.json');

const readStored = (): Record<string, number> =>
  existsSync(STORE) ? (JSON.parse(readFileSync(STORE, 'utf8')) as Record<string, number>) : {};

function store(key: string, loss: number): void {
  mkdirSync(join(STORE, '..'), { recursive: true });
  writeFileAtomic(STORE, JSON.stringify({ ...readStored(), [key]: loss }, null, 1));
}
