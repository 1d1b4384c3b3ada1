import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../../errors.js';
import { publishFolder, writeFileAtomic } from '../../files/atomic.js';
import { FORMAT_VERSION } from './index-file.js';
import { EMPTY_STATE, type ShardWriter, type WriterState } from './writer.js';

const PROGRESS_FILE = 'progress.json';

/** A data set that is made of other token files: written beside its name, so that a call with the same config goes on after a kill. */
export class Conversion<Position> {
  /** Where the data set is written until it is whole. */
  readonly folder: string;
  /** Where reading goes on; undefined at the beginning. */
  readonly position: Position | undefined;
  /** Where writing goes on. */
  readonly writerState: WriterState = EMPTY_STATE;
  readonly #out: string;
  readonly #config: string;

  /**
   * @param config All that determines the result; what an earlier call with another one has left is removed.
   * @throws InputError where `out` exists.
   */
  constructor(out: string, config: Readonly<Record<string, unknown>>) {
    if (existsSync(out)) throw new InputError(`${out}: expected a new folder, found one that exists.`);
    this.#out = out;
    this.folder = `${out}.partial`;
    this.#config = JSON.stringify({ version: FORMAT_VERSION, ...config });
    const stored = this.#read();
    if (stored?.config === this.#config) {
      this.position = stored.position;
      this.writerState = stored.writer;
    } else this.discard();
  }

  /** Makes all that was written durable, to go on from there. */
  save(position: Position, writer: ShardWriter): void {
    const content = { config: this.#config, position, writer: writer.checkpoint() };
    writeFileAtomic(join(this.folder, PROGRESS_FILE), `${JSON.stringify(content, null, 1)}\n`);
  }

  /** Gives the data set, whose index is written, its name. */
  publish(): void {
    for (const name of readdirSync(this.folder))
      if (name === PROGRESS_FILE || name.endsWith('.partial')) rmSync(join(this.folder, name));
    publishFolder(this.folder, this.#out);
  }

  /** Removes all that was written. */
  discard(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  #read(): { config: string; position: Position; writer: WriterState } | undefined {
    const file = join(this.folder, PROGRESS_FILE);
    if (!existsSync(file)) return undefined;
    try {
      return JSON.parse(readFileSync(file, 'utf8')) as { config: string; position: Position; writer: WriterState };
    } catch {
      // It is written atomically, so something else has damaged it: there is nothing to go on with.
      return undefined;
    }
  }
}
