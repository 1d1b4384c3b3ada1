import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { InputError, WorkError } from '../../errors.js';
import type { Batch } from '../sources/batch.js';
import { BatchEncoder, type Destination, type EncodedBatch, type EncodeSettings } from './encode-batch.js';
import type { WorkerAnswer, WorkerRequest } from './worker.js';

/** Batches that may wait in front of each worker: enough that none idles, few enough that memory stays flat. */
const BATCHES_PER_WORKER = 3;

/** Encodes batches in one thread or several. */
export interface EncoderPool {
  /** How many batches may be under way at once. */
  readonly capacity: number;
  encode(batch: Batch, destination: Destination): Promise<EncodedBatch>;
  close(): Promise<void>;
}

/** A pool of `workers` threads; with one worker the calling thread does the work. */
export function createPool(workers: number, settings: EncodeSettings): EncoderPool {
  if (workers > 1) return new ThreadPool(workers, settings);
  const encoder = new BatchEncoder(settings);
  return {
    capacity: 1,
    encode: (batch, destination) => encoder.encode(batch, destination),
    close: () => Promise.resolve(),
  };
}

interface Waiting {
  resolve(encoded: EncodedBatch): void;
  reject(error: Error): void;
}

class ThreadPool implements EncoderPool {
  readonly capacity: number;
  readonly #threads: { worker: Worker; waiting: Waiting[] }[];

  constructor(workers: number, settings: EncodeSettings) {
    this.capacity = workers * BATCHES_PER_WORKER;
    this.#threads = Array.from({ length: workers }, () => {
      const thread = { worker: startWorker(settings), waiting: [] as Waiting[] };
      thread.worker.on('message', (answer: WorkerAnswer) => {
        const next = thread.waiting.shift();
        if ('encoded' in answer) next?.resolve(answer.encoded);
        else next?.reject(new (answer.failed.input ? InputError : WorkError)(answer.failed.message));
      });
      const fail = (reason: string): void => {
        for (const { reject } of thread.waiting.splice(0))
          reject(new WorkError(`a tokenizing thread ended: ${reason}.`));
      };
      thread.worker.on('error', (error) => fail(error instanceof Error ? error.message : String(error)));
      thread.worker.on('exit', (code) => fail(`exit code ${code}`));
      return thread;
    });
  }

  encode(batch: Batch, destination: Destination): Promise<EncodedBatch> {
    const thread = this.#threads.reduce((best, next) => (next.waiting.length < best.waiting.length ? next : best));
    return new Promise((resolve, reject) => {
      thread.waiting.push({ resolve, reject });
      thread.worker.postMessage({ batch, destination } satisfies WorkerRequest, [batch.bytes.buffer]);
    });
  }

  async close(): Promise<void> {
    for (const { waiting } of this.#threads) waiting.length = 0;
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }
}

function startWorker(settings: EncodeSettings): Worker {
  const compiled = new URL('./worker.js', import.meta.url);
  if (existsSync(fileURLToPath(compiled))) return new Worker(compiled, { workerData: settings });
  // Run from TypeScript sources (tests): threads do not inherit a loader, so the file goes through jiti.
  const jiti = pathToFileURL(createRequire(import.meta.url).resolve('jiti')).href;
  const source = fileURLToPath(new URL('./worker.ts', import.meta.url));
  const start = `import(${JSON.stringify(jiti)}).then(({ createJiti }) => createJiti(${JSON.stringify(source)}).import(${JSON.stringify(source)}));`;
  return new Worker(start, { eval: true, workerData: settings });
}
