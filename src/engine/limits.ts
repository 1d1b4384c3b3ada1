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

/** Larger than the last cache of most machines. */
const COPY_BYTES = 192 << 20;
const LEAST_SECONDS = 0.02;
const TRIALS = 5;
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
  for (let rounds = 100_000, trial = 0; trial < TRIALS; ) {
    const cells = pack([rounds, threads, 0]);
    const seconds = secondsOf(() => kernel(cells));
    const operations = Number(cells[OPERATIONS]) * rounds * threads;
    if (operations === 0) return 0;
    if (seconds < LEAST_SECONDS) {
      rounds *= 2;
      continue;
    }
    best = Math.max(best, operations / seconds);
    trial++;
  }
  return best;
}

function copying(threads: number): number {
  using memory = new Memory(2 * COPY_BYTES);
  memory.zero();
  const cells = pack([memory.address, memory.address + BigInt(COPY_BYTES), COPY_BYTES, threads]);
  const copies = ['limitCopy', 'limitCopyCached'].map(kernelFunction);
  let best = Infinity;
  for (let trial = 0; trial < TRIALS; trial++)
    for (const copy of copies)
      best = Math.min(
        best,
        secondsOf(() => copy(cells)),
      );
  return (2 * COPY_BYTES) / best;
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
