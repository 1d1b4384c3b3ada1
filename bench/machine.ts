import { release } from 'node:os';
import { cpuDevice } from '../src/engine/device.js';

/** What a report says of the machine it was measured on. */
export interface Machine {
  readonly cpu: string;
  /** Those of the processor's features that decide which kernels run. */
  readonly features: readonly string[];
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
}

const DECIDING_FEATURES = ['avx2', 'fma', 'avx512f', 'avx512_bf16', 'amx_bf16', 'amx_tile', 'asimd', 'sve', 'bf16'];

/** Describes this machine. */
export function describeMachine(): Machine {
  const { model, features, threads, memoryBytes } = cpuDevice();
  return {
    cpu: model,
    features: DECIDING_FEATURES.filter((feature) => features.includes(feature)),
    cores: threads,
    memoryGiB: Number((memoryBytes / 2 ** 30).toFixed(1)),
    system: `${process.platform} ${process.arch} ${release()}`,
  };
}
