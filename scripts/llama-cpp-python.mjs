// A Python with llama.cpp, built from the source that its pip package brings.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { built } from './checks.mjs';
import { say, SetupError, timed } from './setup.mjs';

export const PACKAGE = 'llama-cpp-python==0.3.36';
/** Only the library, for the CPU, without what it can load from the network; speed is no matter for models this small, so -O1 halves the build. */
const CMAKE_ARGS = [
  '-DLLAVA_BUILD=OFF',
  '-DLLAMA_OPENSSL=OFF',
  '-DGGML_OPENMP=OFF',
  '-DGGML_LLAMAFILE=OFF',
  '-DCMAKE_C_FLAGS_RELEASE=-O1',
  '-DCMAKE_CXX_FLAGS_RELEASE=-O1',
];
const TARGETS = ['llama', 'llama-common'];

const onPath = (program) => process.env.PATH.split(delimiter).some((folder) => existsSync(join(folder, program)));

/** Path of the Python; built on first use below Strata's cache, which takes some minutes. */
export async function llamaCppPython() {
  const { cacheFolder } = await built('engine/libtorch/find.js');
  const folder = join(cacheFolder(), 'llama-cpp', PACKAGE);
  const python = join(folder, 'bin', 'python');
  const stamp = join(folder, 'strata-packages.txt');
  if (existsSync(stamp)) return python;
  if (!onPath('c++')) throw new SetupError('llama.cpp needs a C++ compiler (Debian: apt-get install g++).');
  timed(`Building llama.cpp from ${PACKAGE} (about five minutes on two cores, once)`, () => {
    mkdirSync(folder, { recursive: true });
    run('python3', ['-m', 'venv', folder]);
    const targets = TARGETS.map((target) => `-Cbuild.targets=${target}`);
    const name = PACKAGE.split('==')[0];
    run(python, ['-m', 'pip', 'install', '--quiet', '--retries', '1', '--no-binary', name, ...targets, PACKAGE]);
    writeFileSync(stamp, PACKAGE);
  });
  return python;
}

function run(command, args) {
  const env = { CMAKE_BUILD_PARALLEL_LEVEL: '2', ...process.env, CMAKE_ARGS: CMAKE_ARGS.join(' ') };
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8', env, maxBuffer: 2 ** 28 });
  if (status === 0) return;
  const reason = error?.message ?? stderr.trim().split('\n').slice(-15).join('\n');
  say(reason);
  throw new SetupError(`llama.cpp could not be built: ${command} ${args.slice(0, 3).join(' ')} failed.`);
}
