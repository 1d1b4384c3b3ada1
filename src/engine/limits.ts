import { at } from '../ops/index.js';
import { Memory } from './buffers.js';
import { pack } from './kernels/fused/arguments.js';
import { kernelFunction } from './kernels/fused/library.js';
import { libtorch } from './libtorch/load.js';

/** The best that this machine does with a number of threads: what every kernel can be held against. */
export interface MachineLimits {
  readonly threads: number;
  /** Multiplications and additions of f32 in registers, in FLOP/s. */
  readonly f32: number;
  /** Products of bf16 summed in f32, in FLOP/s, and the instructions that do it; undefined where the processor has none. */
  readonly bf16: { readonly flops: number; readonly by: 'amx' | 'avx512_bf16' } | undefined;
  /** Copying memory that no cache holds, in bytes read plus bytes written a second. */
  readonly copy: number;
}

/** Larger than the last cache of most machines; copied part by part. */
const COPY_BYTES = 160 << 20;
const COPY_PARTS = 5;
/** Trials are short (a millisecond or so) and many, so that some run undisturbed on a busy machine. */
const ROUNDS = 200_000;
const TRIALS = 25;
const OPERATIONS = 2;

/**
 * Measures the machine's limits with the engine's threads; takes about half a second.
 *
 * @throws WorkError where the C kernels are missing.
 */
export function measureLimits(threads = libtorch().getThreads()): MachineLimits {
  const amx = arithmetic('limitAmx', threads);
  const avx512 = arithmetic('limitAvx512Bf16', threads);
  const bf16 = amx > 0 ? { flops: amx, by: 'amx' as const } : { flops: avx512, by: 'avx512_bf16' as const };
  return {
    threads,
    f32: arithmetic('limitF32', threads),
    bf16: bf16.flops > 0 ? bf16 : undefined,
    copy: copying(threads),
  };
}

/** FLOP/s of a loop without memory; 0 where the processor lacks its instructions. */
function arithmetic(name: string, threads: number): number {
  const kernel = kernelFunction(name);
  let best = 0;
  for (let trial = 0; trial < TRIALS; trial++) {
    const cells = pack([ROUNDS, threads, 0]);
    const seconds = secondsOf(() => kernel(cells));
    best = Math.max(best, (Number(cells[OPERATIONS]) * ROUNDS * threads) / seconds);
  }
  return best;
}

function copying(threads: number): number {
  using memory = new Memory(2 * COPY_BYTES);
  memory.zero();
  const bytes = COPY_BYTES / COPY_PARTS;
  const parts = Array.from({ length: COPY_PARTS }, (_, part) => {
    const from = memory.address + BigInt(part * bytes);
    return pack([from, from + BigInt(COPY_BYTES), bytes, threads]);
  });
  const copies = ['limitCopy', 'limitCopyCached'].map(kernelFunction);
  let best = Infinity;
  // Every call takes another part, which those before have driven out of the caches; an odd number of parts gives each form all of them.
  for (let call = 0; call < 2 * TRIALS; call++)
    best = Math.min(
      best,
      secondsOf(() => at(copies, call % 2)(at(parts, call % COPY_PARTS))),
    );
  return (2 * bytes) / best;
}

/** Seconds of an empty call of a C kernel: the crossing alone, the shortest of many rounds. */
export function crossingSeconds(): number {
  const kernel = kernelFunction('emptyCall');
  const cells = pack([0]);
  const count = 2000;
  let best = Infinity;
  for (let round = 0; round < 20; round++)
    best = Math.min(
      best,
      secondsOf(() => {
        for (let i = 0; i < count; i++) kernel(cells);
      }),
    );
  return best / count;
}

function secondsOf(body: () => void): number {
  const start = performance.now();
  body();
  return (performance.now() - start) / 1000;
}
