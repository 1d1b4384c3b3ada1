import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { WorkError } from '../src/errors.js';
import { checkout } from './checkout.js';

/** Where the peers' scripts lie. */
const SCRIPTS = join(checkout(), 'bench', 'peers');

/**
 * A peer: a Python process that answers JSON lines with JSON lines, so that it and ours can be measured in turn.
 *
 * `Ready` is what it says when it has set itself up.
 */
export class Peer<Ready> {
  readonly ready: Ready;
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(process: ChildProcess, lines: AsyncIterator<string>, ready: Ready) {
    this.#process = process;
    this.#lines = lines;
    this.ready = ready;
  }

  /**
   * Starts `script` (a file in bench/peers) with one JSON argument and waits until it is ready.
   *
   * @throws WorkError where it ends instead; its own words are on standard error.
   */
  static async start<Ready>(python: string, script: string, settings: object, threads: number): Promise<Peer<Ready>> {
    const child = spawn(python, [join(SCRIPTS, script), JSON.stringify(settings)], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, OMP_NUM_THREADS: String(threads), MKL_NUM_THREADS: String(threads) },
    });
    const reader: Interface = createInterface({ input: child.stdout });
    const lines = reader[Symbol.asyncIterator]();
    return new Peer(child, lines, await nextAnswer<Ready>(lines, script));
  }

  /** Sends a request and waits for its answer. */
  async ask<Answer>(request: object): Promise<Answer> {
    this.#process.stdin?.write(`${JSON.stringify(request)}\n`);
    return nextAnswer<Answer>(this.#lines, this.#process.spawnargs[1] ?? 'peer');
  }

  /** Ends the process. */
  async close(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const ended = once(this.#process, 'exit');
    this.#process.stdin?.end();
    await ended;
  }
}

async function nextAnswer<Answer>(lines: AsyncIterator<string>, script: string): Promise<Answer> {
  const { value, done } = await lines.next();
  if (done) throw new WorkError(`The peer ${script} ended before it answered; its message stands above.`);
  return JSON.parse(value) as Answer;
}
