import type { MachineLimits } from './limits.js';
import type { Work } from './work.js';

/** How near work came to what the machine can do. */
export interface Reach {
  /** FLOP/s; 0 where the op makes no products. */
  readonly flops: number;
  /** Bytes a second, each input and output counted once. */
  readonly bytes: number;
  /** The limit that bounds this work, by its FLOPs per byte. */
  readonly bound: 'f32' | 'bf16' | 'copy';
  /** Share of that limit that was reached. It may pass 1 where caches hold what is read. */
  readonly share: number;
}

/** FLOP/s that the machine makes on operands of a type. */
export function arithmeticLimit(limits: MachineLimits, dtype: Work['dtype']): { name: 'f32' | 'bf16'; flops: number } {
  return dtype === 'bf16' && limits.bf16 !== undefined
    ? { name: 'bf16', flops: limits.bf16.flops }
    : { name: 'f32', flops: limits.f32 };
}

/** The roofline model (Williams, Waterman and Patterson, CACM 52(4), 2009): the nearer of arithmetic and memory bounds work. */
export function reachOf(work: Work, seconds: number, limits: MachineLimits): Reach {
  const { name, flops } = arithmeticLimit(limits, work.dtype);
  const byArithmetic = work.flops / flops;
  const byMemory = work.bytes / limits.copy;
  const bound = byArithmetic >= byMemory ? name : 'copy';
  return {
    flops: work.flops / seconds,
    bytes: work.bytes / seconds,
    bound,
    share: Math.max(byArithmetic, byMemory) / seconds,
  };
}
