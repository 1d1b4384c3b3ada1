import { statSync } from 'node:fs';
import { recordsPath, streamRecords, type RunRecord } from '../../records/index.js';

/** Follows a run by its records; each look reads only what was appended since the last. */
export class RunTail {
  /** Of the run's last train record; undefined before it. */
  step?: number;
  loss?: number;
  tokensPerSecond?: number | undefined;
  /** Cumulative FLOPs of the last record that has them, bases included. */
  flops?: number;
  /** Seconds since the epoch of the last record. */
  time?: number;
  /** Where the process began that writes, or wrote, the records: time, and FLOPs where records told them already. */
  begun?: { readonly time: number; readonly flops: number | undefined };
  readonly #path: string;
  #nextByte = 0;
  #stamp: string | undefined;

  /**
   * @param options.onlyChanged Looks away until the file changes: a run that resumes cuts off what lies behind its checkpoint first.
   */
  constructor(folder: string, { onlyChanged = false } = {}) {
    this.#path = recordsPath(folder);
    if (onlyChanged) this.#stamp = this.#stampNow().stamp;
  }

  /** Reads what is new. */
  look(): void {
    const { stamp, size } = this.#stampNow();
    if (stamp === undefined || stamp === this.#stamp) return;
    this.#stamp = stamp;
    if (size < this.#nextByte) this.#nextByte = 0;
    for (const { record, nextByte } of streamRecords(this.#path, this.#nextByte)) {
      this.#nextByte = nextByte;
      this.#take(record);
    }
  }

  #take(record: RunRecord): void {
    if (record.time !== undefined) this.time = record.time;
    if (record.kind === 'event' && ['start', 'resume'].includes(record.name))
      this.begun = { time: record.time ?? NaN, flops: this.flops };
    if ('flops' in record && typeof record.flops === 'number') this.flops = record.flops;
    if (record.kind !== 'train') return;
    this.step = record.step;
    this.loss = record.loss;
    this.tokensPerSecond = record.tokensPerSecond;
  }

  #stampNow(): { stamp: string | undefined; size: number } {
    const stat = statSync(this.#path, { throwIfNoEntry: false });
    return { stamp: stat && `${stat.size} ${stat.mtimeMs}`, size: stat?.size ?? 0 };
  }
}
