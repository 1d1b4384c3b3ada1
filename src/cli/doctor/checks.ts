import { execFileSync } from 'node:child_process';
import { existsSync, statfsSync } from 'node:fs';
import { cpus, freemem, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { cpuDevice, openMpRuntimes } from '../../engine/device.js';
import { findCompiler } from '../../engine/kernels/compile.js';
import { kernelBuild } from '../../engine/kernels/fused/library.js';
import { cacheFolder, findLibtorch, MINIMUM_VERSION, pythonCommand, pythonTorch } from '../../engine/libtorch/find.js';
import { loadLibtorch } from '../../engine/libtorch/load.js';
import { pipVersion } from '../../engine/libtorch/pip.js';
import { version } from '../../version.js';

/** One line of `strata doctor`. `problem` means that this machine cannot train as it is; `note` that it can, with less. */
export interface Finding {
  readonly name: string;
  readonly state: 'ok' | 'note' | 'problem';
  readonly found: string;
  readonly fix?: string;
}

const OLDEST_NODE = 20;
/** Room for libtorch unpacked (0.4 GiB), its wheel and the kernels. */
const CACHE_BYTES = 2 ** 30;
/** Below this not even the quickstart's model trains comfortably. */
const MEMORY_BYTES = 2 * 2 ** 30;
/** Features that decide which kernels a processor can run fast. */
const FEATURES_THAT_MATTER = ['avx2', 'avx512f', 'avx512_bf16', 'amx_bf16', 'asimd', 'sve', 'bf16'];

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

/** Looks at everything that Strata uses, in the order in which the parts stand on each other. */
export async function examine(threads?: number): Promise<Finding[]> {
  const engine = libtorchLine(threads);
  const compiler = compilerLine();
  const kernels = engine.state === 'problem' ? undefined : kernelsLine();
  return [
    nodeLine(),
    { name: 'Strata', state: 'ok', found: version },
    engine,
    ...(kernels === undefined ? [] : [openMpLine(), compiler, kernels]),
    ...(kernels === undefined ? [compiler] : []),
    cpuLine(),
    threadsLine(threads),
    memoryLine(),
    cacheLine(),
    await pipLine(engine.state !== 'problem'),
    optionalLine('MPI', 'mpirun', ['--version'], 'none found; only needed for training on several machines'),
    optionalLine('GPU', 'nvidia-smi', ['-L'], 'none found; not needed'),
  ];
}

function nodeLine(): Finding {
  const found = process.version;
  const recent = Number(process.versions.node.split('.')[0]) >= OLDEST_NODE;
  return recent
    ? { name: 'Node', state: 'ok', found }
    : { name: 'Node', state: 'problem', found, fix: `install Node ${OLDEST_NODE} or later` };
}

function libtorchLine(threads: number | undefined): Finding {
  const name = 'libtorch';
  try {
    const place = findLibtorch();
    if (place === undefined) return missingLibtorch();
    const engine = loadLibtorch(threads === undefined ? { place } : { place, threads });
    const abi = [56n, 48n, 40n].map((shift) => (engine.abiVersion >> shift) & 0xffn).join('.');
    const origin = { STRATA_LIBTORCH: 'from STRATA_LIBTORCH', python: "the Python's", cache: "Strata's own" }[
      place.source
    ];
    const found = `${place.version} (ABI ${abi}), ${origin}, loaded in ${engine.loadSeconds.toFixed(2)} s: ${place.folder}`;
    return { name, state: 'ok', found };
  } catch (error) {
    const found = (error as Error).message.replace(/\.$/, '');
    return { name, state: 'problem', found, fix: 'strata engine install (and unset STRATA_LIBTORCH)' };
  }
}

function missingLibtorch(): Finding {
  const old = pythonTorch();
  const found = old === undefined ? 'none found' : `only the Python's, ${old.version}; ${MINIMUM_VERSION} is needed`;
  return { name: 'libtorch', state: 'problem', found, fix: 'strata engine install' };
}

function openMpLine(): Finding {
  const runtimes = openMpRuntimes();
  const name = 'OpenMP';
  if (process.platform !== 'linux') return { name, state: 'note', found: 'cannot be looked at on this system' };
  if (runtimes.length === 1) return { name, state: 'ok', found: `one runtime, shared: ${runtimes[0]}` };
  const found =
    runtimes.length === 0 ? 'no runtime: one thread only' : `${runtimes.length} runtimes: ${runtimes.join(', ')}`;
  return { name, state: 'note', found, fix: "use Strata's own libtorch: unset STRATA_LIBTORCH, strata engine install" };
}

function compilerLine(): Finding {
  const compiler = findCompiler();
  const name = 'compiler';
  if (compiler !== undefined) return { name, state: 'ok', found: `${compiler.command}: ${compiler.version}` };
  const named = process.env['CC'];
  const found = named ? `CC=${named} does not run` : 'none found';
  return { name, state: 'note', found, fix: 'install gcc or clang, or set CC: training gets faster' };
}

function kernelsLine(): Finding {
  const build = kernelBuild();
  const name = 'kernels';
  if ('reason' in build) {
    const fix = process.env['STRATA_KERNELS'] === 'off' ? 'unset STRATA_KERNELS' : 'see the compiler above';
    return { name, state: 'note', found: `libtorch's own, slower: ${build.reason}`, fix };
  }
  return { name, state: 'ok', found: `${build.cached ? 'cached' : 'compiled just now'}: ${build.path}` };
}

function cpuLine(): Finding {
  const { model, features } = cpuDevice();
  const useful = FEATURES_THAT_MATTER.filter((feature) => features.includes(feature));
  const shown = useful.length > 0 ? `${model} (${useful.join(', ')})` : model;
  const slow = process.arch === 'x64' && features.length > 0 && !features.includes('avx2');
  return slow
    ? { name: 'CPU', state: 'note', found: `${shown}, without AVX2`, fix: 'a processor with AVX2 is many times faster' }
    : { name: 'CPU', state: 'ok', found: shown };
}

function threadsLine(asked: number | undefined): Finding {
  const available = cpuDevice().threads;
  const used = asked ?? available;
  const found = `using ${used} of ${available} available (${cpus().length} in the machine)`;
  return used > available
    ? { name: 'threads', state: 'note', found, fix: `--threads ${available}: more than there are slows down` }
    : { name: 'threads', state: 'ok', found };
}

function memoryLine(): Finding {
  const found = `${gib(freemem())} free of ${gib(totalmem())}`;
  return freemem() >= MEMORY_BYTES
    ? { name: 'memory', state: 'ok', found }
    : { name: 'memory', state: 'note', found, fix: 'close other programs, or train a smaller model' };
}

function cacheLine(): Finding {
  const folder = cacheFolder();
  let existing = folder;
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  const { bavail, bsize } = statfsSync(existing);
  const found = `${gib(bavail * bsize)} free for ${folder}`;
  return bavail * bsize >= CACHE_BYTES
    ? { name: 'cache', state: 'ok', found }
    : { name: 'cache', state: 'note', found, fix: 'free disk space, or set XDG_CACHE_HOME to a larger disk' };
}

async function pipLine(engineIsThere: boolean): Promise<Finding> {
  const pip = await pipVersion();
  const python = firstLine(pythonCommand(), ['--version']);
  if (pip !== undefined) return { name: 'pip', state: 'ok', found: `${pip}, ${python ?? 'Python'}` };
  const found = python === undefined ? 'no python3 found' : `${python} without pip`;
  if (engineIsThere) return { name: 'pip', state: 'note', found: `${found}; only needed to get libtorch` };
  return { name: 'pip', state: 'note', found, fix: 'install pip, or: strata engine install --wheel FILE' };
}

/** Something that may be there and is not needed. */
function optionalLine(name: string, command: string, args: readonly string[], absent: string): Finding {
  const line = firstLine(command, args);
  return { name, state: 'ok', found: line ?? absent };
}

function firstLine(command: string, args: readonly string[]): string | undefined {
  try {
    const output = execFileSync(command, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 10_000,
    });
    return output.split('\n', 1)[0];
  } catch {
    return undefined;
  }
}
