import { basename, dirname } from 'node:path';
import { cpuDevice } from '../engine/device.js';
import { fusedKernelsEnabled } from '../engine/kernels/index.js';
import { kernelBuild } from '../engine/kernels/fused/library.js';
import { findLibtorch } from '../engine/libtorch/find.js';
import { loadLibtorch } from '../engine/libtorch/load.js';
import type { Environment } from './environment.js';

/**
 * Loads what computes: libtorch and the compiled kernels.
 *
 * @param threads Threads of each op; all cores where left out.
 * @throws WorkError where libtorch is missing or unfit.
 */
export function openEngine(threads?: number): Environment {
  const engine = loadLibtorch(threads === undefined ? {} : { threads });
  const kernels = fusedKernelsEnabled() ? kernelBuild() : undefined;
  return {
    cpu: cpuDevice().model,
    libtorch: engine.place.version,
    // The cache names kernels by a hash of their sources, the compiler, its flags and the processor.
    kernels: kernels !== undefined && 'path' in kernels ? basename(dirname(kernels.path)) : 'off',
    threads: engine.getThreads(),
  };
}

/** Whether this machine has a libtorch, which is not loaded for the question. */
export const hasEngine = (): boolean => findLibtorch() !== undefined;
