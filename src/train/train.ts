import { ensureLibtorch, type InstallReporter } from '../engine/libtorch/install.js';
import { loadConfig, parseConfig, type RunConfigInput } from './config/index.js';
import { profileRun, type ProfileSummary } from './profile.js';
import { runFolder, type RunOptions, type RunResult, runTraining } from './run.js';

/** How `train` runs. */
export interface TrainOptions extends RunOptions {
  /** Changes to the config as `path=value`, applied in order. */
  readonly set?: readonly string[];
  /** Told what happens where libtorch has to be fetched first; default: lines on standard error. */
  readonly reporter?: InstallReporter;
  /** Asks for a profile of the steps, written into the run's folder, and is given its summary. */
  readonly profile?: (summary: ProfileSummary) => void;
}

/** A second run in the same process has nothing to get or to say. */
let isReady = false;

const silent = { update() {}, finish() {} };
/** Lines on standard error. */
export const standardError: InstallReporter = {
  json: false,
  interactive: false,
  say: (line) => void process.stderr.write(`${line}\n`),
  progress: () => silent,
};

/**
 * Runs a config to its end; where the run folder has a checkpoint, from there on. Gets libtorch first if this machine has none.
 *
 * @param config The config, or the path of a file or recipe.
 * @throws InputError, WorkError, or Interruption where `signal` stopped it.
 */
export async function train(config: RunConfigInput | string, options: TrainOptions = {}): Promise<RunResult> {
  const { set, reporter, profile, ...rest } = options;
  const loaded = typeof config === 'string' ? await loadConfig(config, set) : parseConfig(config, set);
  if (!isReady) await ensureLibtorch(reporter ?? standardError, options.threads);
  isReady = true;
  if (profile === undefined) return runTraining(loaded, rest);
  return profileRun(runFolder(loaded, rest.out), profile, () => runTraining(loaded, rest));
}
