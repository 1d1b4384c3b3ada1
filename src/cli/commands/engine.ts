import type { Command } from 'commander';
import { installLibtorch, type InstallChoice } from '../../engine/libtorch/install.js';
import { loadLibtorch } from '../../engine/libtorch/load.js';
import { defineCommand, terminalFor, withCommonOptions, type CommonOptions } from '../command.js';

type InstallOptions = CommonOptions & InstallChoice;

/** `strata engine`: the library that computes. */
export function create(): Command {
  const install = defineCommand('install', 'Get libtorch through pip into the cache (CPU build; its libraries only)', [
    ['strata engine install', 'the pinned version, once'],
    ['strata engine install --wheel torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl', 'without a network'],
    ['strata engine install --index-url https://my.mirror/simple', 'from an index of your own'],
  ])
    .option('--wheel <file>', 'unpack this wheel of torch instead of downloading one')
    .option('--index-url <url>', 'package index to ask instead of the usual ones')
    .action(async (options: InstallOptions) => {
      const terminal = terminalFor(options);
      const place = await installLibtorch(terminal, options);
      const { loadSeconds } = loadLibtorch({ place });
      terminal.result(
        { ...place, loadSeconds },
        () => `libtorch ${place.version} works (loaded in ${loadSeconds.toFixed(2)} s).`,
      );
    });
  return defineCommand('engine', 'Get the library that computes (libtorch)', []).addCommand(withCommonOptions(install));
}
