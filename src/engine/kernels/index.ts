import { InputError } from '../../errors.js';
import type { OpName } from '../../ops/index.js';
import { fallbackKernels } from './fallback/index.js';
import { fusedKernels } from './fused/index.js';
import { kernelBuild } from './fused/library.js';
import type { FusedKernel, Kernel, KernelCall } from './types.js';

export { kernelBuild } from './fused/library.js';

/** Whether fused kernels are used: they could be compiled, and `STRATA_KERNELS` is not `off`. */
export function fusedKernelsEnabled(): boolean {
  const setting = process.env['STRATA_KERNELS'] ?? 'on';
  if (setting !== 'on' && setting !== 'off')
    throw new InputError(`STRATA_KERNELS: expected "on" or "off", found "${setting}".`);
  return !('reason' in kernelBuild());
}

/** One call of an op, again and again; the bits of a fused one do not depend on the number of threads. */
export interface PreparedKernel {
  run(): void;
  readonly fused: boolean;
}

/**
 * Prepares one call of an op: with its fused kernel where there is one for these element types, else with libtorch's calls.
 *
 * @param name Name of an op.
 */
export function prepareKernel(name: string, call: KernelCall<object>): PreparedKernel {
  const fused = fusedKernelsEnabled() ? (fusedKernels[name as OpName] as FusedKernel<object> | undefined) : undefined;
  const prepared = fused?.(call);
  if (prepared !== undefined) return { run: prepared, fused: true };
  const fallback = fallbackKernels[name as OpName] as Kernel<object> | undefined;
  if (fallback === undefined) throw new RangeError(`no kernel for the op "${name}"`);
  return { run: fallback(call), fused: false };
}
