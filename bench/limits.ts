import type { MachineLimits } from '../src/engine/limits.js';

/** The machine's measured limits in a sentence. */
export function describeLimits({ threads, f32, bf16, copy }: MachineLimits): string {
  const products = bf16 === undefined ? '' : `, ${(bf16.flops / 1e9).toFixed(1)} GFLOP/s in bf16 (${bf16.by})`;
  return `Limits measured with ${threads === 1 ? '1 thread' : `${threads} threads`}: ${(f32 / 1e9).toFixed(1)} GFLOP/s of multiplications and additions in f32${products}; copies at ${(copy / 1e9).toFixed(1)} GB/s read and written.`;
}
