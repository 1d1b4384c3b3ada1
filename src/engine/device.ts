import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';

/** What this machine computes with. */
export interface CpuDevice {
  readonly kind: 'cpu';
  readonly model: string;
  /** As the system names them: `avx2`, `avx512f`, `amx_bf16`, `asimd` ...; empty where it does not list any. */
  readonly features: readonly string[];
  /** Threads that this process may run at once. */
  readonly threads: number;
  readonly memoryBytes: number;
}

/** Describes the processor of this machine. */
export function cpuDevice(): CpuDevice {
  return {
    kind: 'cpu',
    model: cpus()[0]?.model.trim() ?? 'unknown',
    features: cpuFeatures(),
    threads: availableParallelism(),
    memoryBytes: totalmem(),
  };
}

/** Whether products of bf16 operands are faster than those of f32 here: the processor has AMX or AVX512-BF16. */
export const hasFastBf16 = ({ features }: CpuDevice = cpuDevice()): boolean =>
  features.includes('amx_bf16') || features.includes('avx512_bf16');

/** `flags` on x86, `Features` on ARM, where Linux lists them. */
function cpuFeatures(): string[] {
  const listed = /^(?:flags|Features)\s*: (.*)$/m.exec(readOrEmpty('/proc/cpuinfo'))?.[1];
  return listed?.split(' ') ?? [];
}

/**
 * Paths of the OpenMP runtimes in this process, in the order in which they were mapped; Linux only, empty elsewhere.
 *
 * Two of them mean two pools of threads that fight for the same cores.
 */
export function openMpRuntimes(): string[] {
  const paths = [...readOrEmpty('/proc/self/maps').matchAll(/(\/\S*\/lib(?:gomp|i?omp\d*)[-.][^/\s]*)$/gm)];
  return [...new Set(paths.map(([, path = '']) => path))];
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
