// Gets a checkout ready: npm packages, build, libtorch. Built-in modules only, since it runs before `npm ci`.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const OLDEST_NODE = 20;
const COMMAND = 'dist/src/cli/main.js';
const INTERRUPTED = 130;

/** A step that failed; its message is all that a person needs to see. */
export class SetupError extends Error {}

/** A line for people. Standard output belongs to results. */
export const say = (line) => process.stderr.write(`${line}\n`);

/** Makes everything ready that a run needs; a second call finds all in place and returns at once. */
export async function setup() {
  requireNode();
  installPackages();
  build();
  if (!(await engineInPlace())) runNode([COMMAND, 'engine', 'install']);
}

export function requireNode() {
  if (Number(process.versions.node.split('.')[0]) < OLDEST_NODE)
    throw new SetupError(`Strata needs Node ${OLDEST_NODE} or later; this is Node ${process.versions.node}.`);
}

/** `npm ci`, if what is installed differs from the lock file. Install scripts stay off: no package here needs one. */
export function installPackages() {
  if (packagesInPlace()) return;
  timed('Installing npm packages (up to a minute)', () => {
    const cli = process.env.npm_execpath;
    const [command, args] = cli && cli.endsWith('.js') ? [process.execPath, [cli]] : ['npm', []];
    run(command, [...args, 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']);
  });
}

/** Compares npm's record of what it installed with the lock file, so that a hand-made `npm install` counts, too. */
function packagesInPlace() {
  const installedPath = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(installedPath)) return false;
  const installed = JSON.parse(readFileSync(installedPath, 'utf8')).packages;
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (path === '') return true;
    const found = installed[path];
    return found === undefined ? optional === true : found.version === version && existsSync(join(root, path));
  });
}

/** Compiles to dist/, if any source changed since the last time. */
export function build() {
  const stampPath = join(root, 'dist', '.sources');
  const stamp = hashSources();
  if (existsSync(stampPath) && readFileSync(stampPath, 'utf8') === stamp) return;
  timed('Building', () => runNode(['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json']));
  linkCommand();
  writeFileSync(stampPath, stamp);
}

/** A hash over names, sizes and times of all that is compiled. */
function hashSources() {
  const hash = createHash('sha256');
  for (const file of ['package-lock.json', 'tsconfig.json', 'tsconfig.build.json']) addFile(hash, join(root, file));
  for (const folder of ['src', 'recipes', 'bench']) addSources(hash, join(root, folder));
  return hash.digest('hex');
}

function addSources(hash, folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) addSources(hash, path);
    else if (entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts')) addFile(hash, path);
  }
}

function addFile(hash, path) {
  const { size, mtimeMs } = statSync(path);
  hash.update(`${relative(root, path)} ${size} ${mtimeMs}\n`);
}

/** Lets `npx strata` find the checkout's own command without asking a registry. */
function linkCommand() {
  const link = join(root, 'node_modules', '.bin', 'strata');
  chmodSync(join(root, COMMAND), 0o755);
  mkdirSync(dirname(link), { recursive: true });
  rmSync(link, { force: true });
  symlinkSync(join('..', '..', COMMAND), link);
}

/** Whether a libtorch is found; whether it works is for the run to say. A wrong setting is for the command to explain. */
async function engineInPlace() {
  const { findLibtorch } = await import(pathToFileURL(join(root, 'dist/src/engine/libtorch/find.js')).href);
  try {
    return findLibtorch() !== undefined;
  } catch {
    return false;
  }
}

export const runNode = (args) => run(process.execPath, args);

/** Runs a program in the checkout; its output goes to standard error. Throws SetupError when it fails. */
export function run(command, args) {
  const { status, signal, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (signal === 'SIGINT') process.exit(INTERRUPTED);
  if (status !== 0) {
    const shown = [command === process.execPath ? 'node' : command, ...args].join(' ');
    throw new SetupError(error ? `"${shown}" did not start: ${error.message}.` : `"${shown}" failed (see above).`);
  }
}

/** Says what is being done and how long it took. */
export function timed(what, work) {
  say(`${what} ...`);
  const start = performance.now();
  work();
  say(`${what.replace(/ \(.*\)$/, '')}: done in ${((performance.now() - start) / 1000).toFixed(1)} s`);
}

/**
 * Runs a built script in the foreground with this process's arguments, and takes over its exit code.
 *
 * Ctrl-C reaches the script by itself; this process only waits, so that the prompt returns after the script has saved.
 */
export function handOver(script) {
  const child = spawn(process.execPath, [join(root, 'dist', script), ...process.argv.slice(2)], {
    cwd: root,
    stdio: 'inherit',
  });
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  child.on('exit', (code) => (process.exitCode = code ?? INTERRUPTED));
}

/** Runs a script's main function: a SetupError becomes its one line and exit code 1. */
export async function main(work) {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(error.message);
    process.exitCode = 1;
  }
}
