import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import koffi, { type LibraryHandle } from 'koffi';
import { WorkError } from '../../errors.js';
import type { DType } from '../../ops/types.js';
import { ThreadShare } from '../thread-share.js';
import { bindCalls, bindOptional, type Calls } from './calls.js';
import { findLibtorch, libraryFile, MINIMUM_VERSION, PINNED_VERSION, type LibtorchPlace } from './find.js';

/** Native calls run on koffi's own stack: BLAS and OpenMP need more than its default. */
const STACK_BYTES = 8 << 20;

/** Version as libtorch encodes it: major in the top byte, then minor, then patch. */
const abiVersionOf = (version: string): bigint => {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  return (BigInt(major) << 56n) | (BigInt(minor) << 48n) | (BigInt(patch) << 40n);
};

/** A loaded libtorch. There is at most one in a process. */
export interface Libtorch {
  readonly place: LibtorchPlace;
  /** Version in libtorch's own encoding (major, minor, patch in the three top bytes). */
  readonly abiVersion: bigint;
  /** What calls through the dispatcher name as the version they were written for. */
  readonly callVersion: bigint;
  readonly loadSeconds: number;
  readonly library: LibraryHandle;
  readonly calls: Calls;
  readonly dtypeCodes: Readonly<Record<DType, number>>;
  readonly cpu: number;
  readonly strided: number;
  /** Why the last failed call of this thread failed, in one line. */
  reason(): string;
  /** A new cell on the C++ heap that the dispatcher frees: how optional arguments are passed. */
  newOptionalCell(value: bigint): bigint;
  /** Sets the number of threads of libtorch, its BLAS and the kernels' OpenMP runtime. */
  setThreads(threads: number): void;
  /** Between its `begin` and `end`, and until the next, fewer of them work where other processes need cores. */
  readonly share: ThreadShare;
  /** Threads that libtorch uses for one op. */
  getThreads(): number;
}

let loaded: Libtorch | undefined;

/** The libtorch of this process. Throws where `loadLibtorch` was not called before. */
export function libtorch(): Libtorch {
  if (loaded === undefined) throw new WorkError('The engine was used before libtorch was loaded.');
  return loaded;
}

/**
 * Finds and loads libtorch; later calls return what the first one loaded (and set the number of threads).
 *
 * @param options.threads Threads for each op; all cores that this process may use where left out of the first call.
 * @throws WorkError where none is found, or it is too old, or lacks functions.
 */
export function loadLibtorch(options: { threads?: number; place?: LibtorchPlace } = {}): Libtorch {
  if (loaded !== undefined) {
    if (options.threads !== undefined) loaded.setThreads(options.threads);
    return loaded;
  }
  const place = options.place ?? findLibtorch();
  if (place === undefined)
    throw new WorkError(
      'No libtorch was found: run "strata engine install", or set STRATA_LIBTORCH to a torch folder.',
    );
  loaded = open(place, options.threads ?? threadsByEnvironment() ?? availableParallelism());
  return loaded;
}

/** What OpenMP itself would read. */
function threadsByEnvironment(): number | undefined {
  const threads = Number.parseInt(process.env['OMP_NUM_THREADS'] ?? '', 10);
  return threads > 0 ? threads : undefined;
}

/**
 * Rounds that a thread without work spins before it sleeps. The OpenMP runtime's own 300,000 (about a millisecond) makes a step four times
 * slower as soon as another process needs one of its cores; waking up costs microseconds.
 */
const SPIN_COUNT = '10000';

function open(place: LibtorchPlace, threads: number): Libtorch {
  const start = performance.now();
  // Also for threads that OpenMP meets later (asynchronous calls); assignments to process.env reach C's getenv.
  process.env['OMP_NUM_THREADS'] = String(threads);
  process.env['MKL_NUM_THREADS'] = String(threads);
  if (process.env['OMP_WAIT_POLICY'] === undefined) process.env['GOMP_SPINCOUNT'] ??= SPIN_COUNT;
  const library = openLibraries(place);
  const bound = bindCalls(library);
  const versionCall = bindOptional(library, 'uint64_t aoti_torch_abi_version()') as Calls['aoti_torch_abi_version'];
  const abiVersion = versionCall === undefined ? 0n : BigInt(versionCall());
  if (abiVersion < abiVersionOf(MINIMUM_VERSION))
    throw new WorkError(
      `libtorch in ${place.folder} is version ${place.version}, but Strata needs ${MINIMUM_VERSION} or later.`,
    );
  if ('missing' in bound)
    throw new WorkError(
      `libtorch in ${place.folder} (version ${place.version}) lacks functions that Strata calls: ${bound.missing.join(', ')}.`,
    );
  const { calls } = bound;
  const pinned = abiVersionOf(PINNED_VERSION);
  const engine: Libtorch = {
    place,
    abiVersion,
    callVersion: abiVersion < pinned ? abiVersion : pinned,
    library,
    calls,
    dtypeCodes: {
      f64: calls.aoti_torch_dtype_float64(),
      f32: calls.aoti_torch_dtype_float32(),
      bf16: calls.aoti_torch_dtype_bfloat16(),
      i64: calls.aoti_torch_dtype_int64(),
      i32: calls.aoti_torch_dtype_int32(),
      bool: calls.aoti_torch_dtype_bool(),
    },
    cpu: calls.aoti_torch_device_type_cpu(),
    strided: calls.aoti_torch_layout_strided(),
    reason: bindReason(library),
    newOptionalCell: bindOptionalCell(library),
    ...bindThreads(library, calls, threads),
    loadSeconds: (performance.now() - start) / 1000,
  };
  engine.setThreads(threads);
  return engine;
}

function openLibraries(place: LibtorchPlace): LibraryHandle {
  configureStack();
  try {
    const dependencies = join(place.folder, libraryFile('torch_global_deps'));
    if (existsSync(dependencies)) koffi.load(dependencies, { global: true });
    return koffi.load(join(place.folder, libraryFile('torch_cpu')), { global: true });
  } catch (error) {
    throw new WorkError(`libtorch in ${place.folder} cannot be loaded: ${firstLine(error)}.`, { cause: error });
  }
}

let stackConfigured = false;

/** Gives native calls a stack that BLAS and OpenMP fit in. Must run before anything is loaded through koffi. */
export function configureStack(): void {
  if (stackConfigured) return;
  koffi.config({ sync_stack_size: STACK_BYTES, async_stack_size: STACK_BYTES });
  stackConfigured = true;
}

const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n', 1)[0]?.replace(/\.$/, '') ?? '';

/** Versions before 2.13 print the reason on standard error and do not hand it out. */
function bindReason(library: LibraryHandle): () => string {
  const what = bindOptional(library, 'const char *torch_exception_get_what_without_backtrace()') as
    | (() => string | null)
    | undefined;
  if (what === undefined) return () => 'libtorch printed the reason above';
  return () => firstLine(what() ?? 'no reason given');
}

/** From 2.13 on libtorch makes the cell; before, its callers did so with C++'s `operator new`. */
function bindOptionalCell(library: LibraryHandle): (value: bigint) => bigint {
  const result = new BigUint64Array(1);
  const make = bindOptional(library, 'int32_t torch_new_stable_ivalue(void *)') as
    | ((result: BigUint64Array) => number)
    | undefined;
  const operatorNew = make ? undefined : (library.func('uint64_t _Znwm(size_t)') as (bytes: number) => number | bigint);
  return (value) => {
    if (make?.(result)) throw new WorkError('libtorch could not allocate an optional argument.');
    const cell = operatorNew ? BigInt(operatorNew(8)) : (result[0] ?? 0n);
    koffi.encode(cell, 'uint64_t', value);
    return cell;
  };
}

/**
 * `at::set_num_threads` sets OpenMP's number for the calling thread and MKL's, and is C++, so its name is mangled (the same on
 * all supported systems). It is called even for the default, as libtorch otherwise counts cores that this process may not use.
 */
function bindThreads(
  library: LibraryHandle,
  calls: Calls,
  threads: number,
): Pick<Libtorch, 'setThreads' | 'getThreads' | 'share'> {
  const set = (bindOptional(library, 'void _ZN2at15set_num_threadsEi(int32_t)') ??
    library.func('void omp_set_num_threads(int32_t)')) as (threads: number) => void;
  const result = new Uint32Array(1);
  const share = new ThreadShare(threads, set);
  return {
    share,
    setThreads(threads) {
      if (!Number.isSafeInteger(threads) || threads < 1)
        throw new RangeError(`threads must be at least 1, not ${threads}`);
      share.allow(threads);
      set(threads);
    },
    getThreads() {
      calls.torch_get_num_threads(result);
      return result[0] ?? 0;
    },
  };
}
