import koffi from 'koffi';
import { WorkError } from '../errors.js';
import { configureStack } from './libtorch/load.js';

/** Memory from the operating system: where it is, and how it is given back. */
export interface Block {
  readonly address: bigint;
  readonly bytes: number;
  /** Gives the pages back but keeps the addresses: reading them then gives zeros. */
  discard(): void;
  release(): void;
}

const CACHE_LINE = 64;
const HUGE_PAGE = 2 << 20;
const onLinux = process.platform === 'linux';
const READ_WRITE = 0x3;
const PRIVATE_ANONYMOUS = onLinux ? 0x22 : 0x1002;
const MADV_DONTNEED = 4;
const MADV_HUGEPAGE = 14;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

interface SystemCalls {
  posix_memalign(result: BigUint64Array, alignment: number, bytes: number): number;
  free(address: bigint): void;
  mmap(address: null, bytes: number, protection: number, flags: number, file: number, offset: number): bigint | null;
  munmap(address: bigint, bytes: number): number;
  madvise(address: bigint, bytes: number, advice: number): number;
  memcpy(to: bigint | ArrayBufferView, from: bigint | ArrayBufferView, bytes: number): bigint;
  memset(to: bigint, value: number, bytes: number): bigint;
}

const declarations: Record<keyof SystemCalls, string> = {
  posix_memalign: 'int posix_memalign(void *, size_t, size_t)',
  free: 'void free(uint64_t)',
  mmap: 'void *mmap(void *, size_t, int, int, int, int64_t)',
  munmap: 'int munmap(uint64_t, size_t)',
  madvise: 'int madvise(uint64_t, size_t, int)',
  memcpy: 'void *memcpy(void *, void *, size_t)',
  memset: 'void *memset(void *, int, size_t)',
};

let bound: SystemCalls | undefined;

/** The C library of this process. */
export function system(): SystemCalls {
  if (bound === undefined) {
    configureStack();
    const library = koffi.load(null);
    bound = Object.fromEntries(
      Object.entries(declarations).map(([name, declaration]) => [name, library.func(declaration)]),
    ) as unknown as SystemCalls;
  }
  return bound;
}

/**
 * Allocates memory: aligned to a cache line, and from 2 MiB on to huge pages, which Linux is asked to use.
 *
 * Its content is undefined.
 * @throws WorkError where the system has no more.
 */
export function allocate(bytes: number): Block {
  return bytes >= HUGE_PAGE ? map(bytes) : allocateSmall(bytes);
}

function allocateSmall(bytes: number): Block {
  const result = new BigUint64Array(1);
  if (system().posix_memalign(result, CACHE_LINE, Math.max(bytes, CACHE_LINE)) !== 0) throw outOfMemory(bytes);
  const address = result[0] ?? 0n;
  return { address, bytes, discard() {}, release: () => system().free(address) };
}

function map(bytes: number): Block {
  const { mmap, munmap, madvise } = system();
  const length = Math.ceil(bytes / HUGE_PAGE) * HUGE_PAGE;
  const start = mmap(null, length + HUGE_PAGE, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0);
  if (start === null || start === MAP_FAILED) throw outOfMemory(bytes);
  const before = Number((BigInt(HUGE_PAGE) - (start % BigInt(HUGE_PAGE))) % BigInt(HUGE_PAGE));
  const address = start + BigInt(before);
  if (before > 0) munmap(start, before);
  munmap(address + BigInt(length), HUGE_PAGE - before);
  if (onLinux) madvise(address, length, MADV_HUGEPAGE);
  return {
    address,
    bytes,
    discard: () => void madvise(address, length, MADV_DONTNEED),
    release: () => void munmap(address, length),
  };
}

const outOfMemory = (bytes: number): WorkError =>
  new WorkError(`Memory ran out: the system refused ${(bytes / 2 ** 20).toFixed(1)} MiB.`);
