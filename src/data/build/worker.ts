import { parentPort, workerData } from 'node:worker_threads';
import { InputError } from '../../errors.js';
import type { Batch } from '../sources/batch.js';
import { BatchEncoder, type Destination, type EncodedBatch, type EncodeSettings } from './encode-batch.js';

/** What a worker is asked, and what it answers. */
export interface WorkerRequest {
  readonly batch: Batch;
  readonly destination: Destination;
}
export type WorkerAnswer =
  | { readonly encoded: EncodedBatch }
  | { readonly failed: { readonly input: boolean; readonly message: string } };

const port = parentPort;
if (port !== null) {
  const encoder = new BatchEncoder(workerData as EncodeSettings);
  // One batch at a time, in the order of arrival: answers carry no number.
  let last = Promise.resolve();
  port.on('message', ({ batch, destination }: WorkerRequest) => {
    last = last.then(async () => {
      try {
        const encoded = await encoder.encode(batch, destination);
        const buffers = Object.values(encoded.parts).flatMap((part) => [part.tokens.buffer, part.ends.buffer]);
        port.postMessage({ encoded } satisfies WorkerAnswer, buffers);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        port.postMessage({ failed: { input: error instanceof InputError, message } } satisfies WorkerAnswer);
      }
    });
  });
}
