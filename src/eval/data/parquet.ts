import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { InputError } from '../../errors.js';
import type { Row } from '../tasks/types.js';

/** A benchmark's file takes seconds at most. */
const LIMIT_SECONDS = 120;
const LIMIT_MEGABYTES = 2048;

/** What the thread does; as text, since sources and compiled files lie in different places. */
const SCRIPT = `
const { parentPort, workerData } = require('node:worker_threads');
async function read() {
  const { asyncBufferFromFile, parquetReadObjects } = await import(workerData.hyparquet);
  const { compressors } = await import(workerData.compressors);
  return await parquetReadObjects({ file: await asyncBufferFromFile(workerData.path), compressors });
}
read().then((rows) => parentPort.postMessage({ rows }), (error) => parentPort.postMessage({ error: String(error?.message ?? error) }));
`;

type Answer = { readonly rows: Row[] } | { readonly error: string };

/**
 * The rows of a Parquet file, as objects.
 *
 * They are read in a thread of its own with a time limit: a damaged page header can send the parser round in circles.
 *
 * @throws InputError where the file is none, or damaged.
 */
export async function readParquetRows(path: string, limitSeconds = LIMIT_SECONDS): Promise<Row[]> {
  const { resolve } = createRequire(import.meta.url);
  const place = (name: string): string => pathToFileURL(resolve(name)).href;
  const workerData = { path, hyparquet: place('hyparquet'), compressors: place('hyparquet-compressors') };
  const worker = new Worker(SCRIPT, {
    eval: true,
    workerData,
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: LIMIT_MEGABYTES },
  });
  const fail = (found: string): Answer => ({ error: found });
  let timer: NodeJS.Timeout | undefined;
  const answer = await new Promise<Answer>((resolve) => {
    worker.once('message', resolve);
    worker.once('error', (error: Error) => resolve(fail(error.message)));
    worker.once('exit', () => resolve(fail('its thread ended')));
    timer = setTimeout(() => resolve(fail(`nothing after ${limitSeconds} seconds of reading`)), 1000 * limitSeconds);
  });
  clearTimeout(timer);
  await worker.terminate();
  if ('rows' in answer) return answer.rows;
  throw new InputError(`${path}: expected a Parquet file, found: ${answer.error.replace(/\.$/, '')}.`);
}
