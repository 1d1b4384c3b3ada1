import { WorkError } from '../../../errors.js';
import { loadKernels, type KernelBuild } from '../compile.js';

/** A C kernel: it reads its argument struct, whose cells `pack` lays out. */
export type KernelFunction = (cells: BigUint64Array) => void;

let build: KernelBuild | undefined;
const functions = new Map<string, KernelFunction>();

/** The compiled kernels of this process, compiled and loaded at the first call, or why there are none. */
export function kernelBuild(): KernelBuild {
  // Asked again each time, as a later change of the variable has to count in both directions.
  if (process.env['STRATA_KERNELS'] === 'off') return loadKernels();
  return (build ??= loadKernels());
}

/** The C kernel `name`. */
export function kernelFunction(name: string): KernelFunction {
  const known = functions.get(name);
  if (known !== undefined) return known;
  const kernels = kernelBuild();
  if ('reason' in kernels) throw new WorkError(`The compiled kernel "${name}" was asked for: ${kernels.reason}.`);
  const made = kernels.library.func(`void ${name}(void *)`) as unknown as KernelFunction;
  functions.set(name, made);
  return made;
}
