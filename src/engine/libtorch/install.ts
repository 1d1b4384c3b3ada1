import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import lockfile from 'proper-lockfile';
import { InputError, WorkError } from '../../errors.js';
import { publishFolder } from '../../files/atomic.js';
import { kernelBuild } from '../kernels/fused/library.js';
import {
  findLibtorch,
  hasLibtorch,
  installFolder,
  isRecentEnough,
  MINIMUM_VERSION,
  placeInstalled,
  PINNED_VERSION,
  type LibtorchPlace,
} from './find.js';
import { loadLibtorch, type Libtorch } from './load.js';
import { downloadWheel, offeredWheel, pipVersion, type PipSource } from './pip.js';
import { openWheel, unpackWheel } from './unpack.js';

/** PyTorch's public index of CPU builds. */
const CPU_INDEX_URL = 'https://download.pytorch.org/whl/cpu';
const REQUIREMENT = `torch==${PINNED_VERSION}`;
const LOCK_STALE_MS = 30_000;
const LOCK_RETRY_MS = 1000;
const LOCK_RETRIES = 1800;

/** Where an installation says what it does; a command's terminal is one. */
export interface InstallReporter {
  readonly json: boolean;
  readonly interactive: boolean;
  say(line: string): void;
  progress(label: string): { update(done: number, total: number, detail?: string): void; finish(line?: string): void };
}

/** What the user chose instead of the usual source; either also allows a CUDA build. */
export interface InstallChoice {
  readonly wheel?: string;
  readonly indexUrl?: string;
}

/**
 * Loads what computes, getting it first where this machine has none: libtorch through pip, the kernels through the compiler.
 *
 * Says what it gets, and why where the kernels have to be libtorch's own.
 * @throws WorkError where libtorch cannot be had, or cannot be used.
 */
export async function ensureLibtorch(reporter: InstallReporter, threads?: number): Promise<Libtorch> {
  let place = findLibtorch();
  if (place === undefined) {
    reporter.say('This machine has no libtorch yet: getting it once (strata engine install).');
    place = await installLibtorch(reporter);
  }
  const engine = loadLibtorch(threads === undefined ? { place } : { place, threads });
  const start = performance.now();
  const kernels = kernelBuild();
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  if ('reason' in kernels) reporter.say(`Using libtorch's own kernels, which are slower: ${kernels.reason}.`);
  else if (!kernels.cached) reporter.say(`Compiled the kernels for this machine (${seconds} s, once).`);
  return engine;
}

/**
 * Gets the pinned libtorch into Strata's cache through pip, its libraries only; does nothing where it is there.
 *
 * Two installers wait for each other; one that was stopped leaves nothing that a later one trips over.
 * @throws WorkError in one sentence where no source has it, or the download or the disk fails.
 */
export async function installLibtorch(reporter: InstallReporter, choice: InstallChoice = {}): Promise<LibtorchPlace> {
  const root = installFolder(PINNED_VERSION);
  const parent = dirname(root);
  mkdirSync(parent, { recursive: true });
  const unlock = await lock(parent, reporter);
  try {
    const chosen = choice.wheel !== undefined || choice.indexUrl !== undefined;
    if (!chosen && hasLibtorch(join(root, 'torch', 'lib'))) {
      reporter.say(`libtorch ${PINNED_VERSION} is already in ${root}.`);
      return placeInstalled(root);
    }
    for (const name of readdirSync(parent))
      if (name.endsWith('.partial')) rmSync(join(parent, name), { recursive: true, force: true });
    const downloads = join(parent, 'downloads');
    const wheel = choice.wheel ?? (await fetchWheel(reporter, choice, downloads));
    const installed = await installWheel(wheel, chosen, reporter);
    rmSync(downloads, { recursive: true, force: true });
    return placeInstalled(installed);
  } finally {
    await unlock();
  }
}

async function lock(folder: string, reporter: InstallReporter): Promise<() => Promise<void>> {
  const options = { lockfilePath: join(folder, 'install.lock'), stale: LOCK_STALE_MS };
  try {
    return await lockfile.lock(folder, options);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ELOCKED')
      throw new WorkError(`${folder}: cannot be written: ${(error as Error).message}.`, { cause: error });
  }
  reporter.say('Another process is installing libtorch: waiting for it.');
  const retries = { retries: LOCK_RETRIES, factor: 1, minTimeout: LOCK_RETRY_MS, maxTimeout: LOCK_RETRY_MS };
  return lockfile.lock(folder, { ...options, retries });
}

/** Tries each source in turn; returns the path of the wheel. */
async function fetchWheel(reporter: InstallReporter, choice: InstallChoice, downloads: string): Promise<string> {
  if ((await pipVersion()) === undefined)
    throw new WorkError(
      'libtorch is fetched through pip, but "python3 -m pip" does not run: install pip, or give a wheel of torch with --wheel.',
    );
  const sources: PipSource[] =
    choice.indexUrl !== undefined
      ? [{ title: choice.indexUrl, indexUrl: choice.indexUrl }]
      : [{ title: "PyTorch's index of CPU builds", indexUrl: CPU_INDEX_URL }, { title: "pip's configured source" }];
  const failures: string[] = [];
  for (const source of sources) {
    const found = await fetchFrom(source, reporter, choice.indexUrl !== undefined, downloads);
    if ('wheel' in found) return found.wheel;
    failures.push(`${source.title}: ${found.failure}`);
    if (source !== sources.at(-1)) reporter.say(`${failures.at(-1)}. Trying the next source.`);
  }
  throw new WorkError(`libtorch ${PINNED_VERSION} could not be had (${failures.join('; ')}).`);
}

async function fetchFrom(
  source: PipSource,
  reporter: InstallReporter,
  cudaWanted: boolean,
  downloads: string,
): Promise<{ wheel: string } | { failure: string }> {
  const offer = await offeredWheel(REQUIREMENT, source);
  if ('failure' in offer) return offer;
  const { value } = offer;
  const size = value?.bytes === undefined ? 'size unknown' : `${Math.round(value.bytes / 2 ** 20)} MiB`;
  if (value?.cuda && !cudaWanted)
    return { failure: `offers only a CUDA build (${size}), which is taken only when --index-url or --wheel names it` };
  reporter.say(
    `Getting torch ${PINNED_VERSION} from ${origin(value?.url, source)}: ${value?.fileName ?? 'one wheel'}, ${size}.`,
  );
  if (value?.url.startsWith('file:')) return { wheel: fileURLToPath(value.url) };
  mkdirSync(downloads, { recursive: true });
  const output = !reporter.interactive ? 'ignore' : reporter.json ? 'stderr' : 'stdout';
  const download = await downloadWheel(REQUIREMENT, source, downloads, output);
  if ('failure' in download) return download;
  const name = value?.fileName ?? readdirSync(downloads).find((file) => file.endsWith('.whl'));
  return name === undefined ? { failure: 'pip left no wheel' } : { wheel: join(downloads, name) };
}

/** Where a wheel really comes from: pip also looks at the further places that it is configured for. */
function origin(url: string | undefined, source: PipSource): string {
  if (url === undefined) return source.title;
  return url.startsWith('file:') ? 'a folder that pip is configured for' : new URL(url).host;
}

/** Unpacks a wheel into the cache under its version; returns the folder. */
async function installWheel(path: string, cudaWanted: boolean, reporter: InstallReporter): Promise<string> {
  if (!existsSync(path)) throw new InputError(`${path}: expected a wheel of torch, found no file.`);
  const { zip, content } = await openWheel(path);
  const root = installFolder(content.version);
  const temporary = `${root}.${process.pid}.partial`;
  try {
    if (content.cuda && !cudaWanted)
      throw new WorkError(`${path} is a CUDA build, which is taken only when --index-url or --wheel names it.`);
    if (!isRecentEnough(content.version))
      throw new WorkError(`${path} is torch ${content.version}, but Strata needs ${MINIMUM_VERSION} or later.`);
    const progress = reporter.progress('Unpacking libtorch');
    await unpackWheel(zip, content, temporary, progress.update).finally(() => progress.finish());
    rmSync(root, { recursive: true, force: true });
    publishFolder(temporary, root);
  } finally {
    zip.close();
    rmSync(temporary, { recursive: true, force: true });
  }
  reporter.say(`libtorch ${content.version} (${Math.round(content.bytes / 2 ** 20)} MiB) is in ${root}.`);
  return root;
}
