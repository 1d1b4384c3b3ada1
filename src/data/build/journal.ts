import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../../errors.js';
import { writeFileAtomic } from '../../files/atomic.js';
import type { DropReason } from '../quality/heuristics.js';
import { FORMAT_VERSION } from '../shards/index-file.js';
import { EMPTY_STATE, type WriterState } from '../shards/writer.js';
import type { Split } from './encode-batch.js';

export const BUILD_FILE = 'build.json';

/** What determines the shards: a build may only go on with the same. */
export type BuildConfig = Readonly<Record<string, unknown>>;

/** How far a build has come. */
export interface BuildState {
  readonly finished: boolean;
  /** The next batch to encode: of this input file (counted over all splits), this one. */
  readonly file: number;
  readonly batch: number;
  readonly badRecords: number;
  /** Documents dropped by limits, by reason. */
  readonly dropped: Readonly<Partial<Record<DropReason, number>>>;
  readonly duplicates: number;
  /** Documents whose keys are in the file of keys. */
  readonly compared: number;
  readonly writers: Readonly<Record<Split, WriterState>>;
}

const START: BuildState = {
  finished: false,
  file: 0,
  batch: 0,
  badRecords: 0,
  dropped: {},
  duplicates: 0,
  compared: 0,
  writers: { train: EMPTY_STATE, validation: EMPTY_STATE },
};

/**
 * Reads where an earlier build of the same data in `folder` stopped.
 *
 * @throws InputError if the folder holds a build of something else, naming the fields that differ.
 */
export function readBuildState(folder: string, config: BuildConfig): BuildState {
  const file = join(folder, BUILD_FILE);
  if (!existsSync(file)) {
    if (existsSync(join(folder, 'train')) || existsSync(join(folder, 'validation')))
      throw new InputError(
        `${folder}: expected a new folder or an unfinished build, found data without ${BUILD_FILE}.`,
      );
    return START;
  }
  const stored = parse(file);
  const differing = Object.keys({ ...stored.config, ...config }).filter(
    (field) => JSON.stringify(stored.config[field]) !== JSON.stringify(config[field]),
  );
  if (differing.length > 0)
    throw new InputError(
      `${folder}: expected a build of the same data to go on with, found another ${differing.join(', ')}; choose another --out.`,
    );
  return stored.state;
}

export function writeBuildState(folder: string, config: BuildConfig, state: BuildState): void {
  const content = { format: 'strata-build', version: FORMAT_VERSION, config, state };
  writeFileAtomic(join(folder, BUILD_FILE), `${JSON.stringify(content, null, 1)}\n`);
}

function parse(file: string): { config: BuildConfig; state: BuildState } {
  try {
    const json = JSON.parse(readFileSync(file, 'utf8')) as { format: string; config: BuildConfig; state: BuildState };
    if (json.format === 'strata-build' && typeof json.state.file === 'number') return json;
  } catch {
    // Falls through to the sentence below: it is written atomically, so a damaged one was changed by hand.
  }
  throw new InputError(
    `${file}: expected the state of a build, found something else; remove the folder to build anew.`,
  );
}
