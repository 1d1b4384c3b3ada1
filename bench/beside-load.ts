import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadLibtorch } from '../src/engine/libtorch/load.js';
import { Decoder, loadModel } from '../src/infer/index.js';
import { LLAMA_60M, makeModel } from './models.js';
import { measurePaired } from './pairs.js';
import { createTrainStepSubject } from './train-step-subject.js';
import type { Bench, CaseResult } from './types.js';

const STEP = { hidden: 128, layers: 6, heads: 4, kvHeads: 4, ffn: 344, vocab: 4096, batch: 4, length: 256 };
const PROMPT = 64;
/** Seconds that pass before a measurement, in which the number of threads settles, and that it lasts. */
const SETTLE = 1.5;
const LAST = 3;

/** What a process that keeps one core busy costs: with as many threads as ever, and with those that the cores left over can run. */
export const bench: Bench = {
  summary: 'a training step and generation beside a process that keeps one core busy: threads adjusted, fixed, and one',
  defaultRepetitions: 5,
  async run(options) {
    const engine = loadLibtorch({ threads: options.threads });
    const folder = mkdtempSync(join(tmpdir(), 'strata-bench-load-'));
    const results: CaseResult[] = [];
    try {
      const tokens = Int32Array.from({ length: 4 * STEP.batch * (STEP.length + 1) }, (_, i) => (i * 7919) % STEP.vocab);
      using subject = createTrainStepSubject(STEP, 'f32', undefined, tokens);
      using model = loadModel(makeModel(join(folder, 'model'), LLAMA_60M), { threads: options.threads });
      using decoder = new Decoder(model, { cacheRows: model.config.max_position_embeddings });
      const works: Readonly<Record<string, () => void>> = {
        'training step of 2M, 1,024 tokens': () => void subject.step(),
        'decode, Llama 60M': nextToken(decoder),
      };
      for (const [name, work] of Object.entries(works))
        for (const beside of ['alone', 'beside a busy process']) {
          const title = `${name}, ${beside}`;
          if (!title.includes(options.filter ?? '')) continue;
          const measure = (threads: number, dynamic: 'true' | 'false') => async (): Promise<number> => {
            process.env['OMP_DYNAMIC'] = dynamic;
            engine.setThreads(threads);
            const busy =
              beside === 'alone' ? undefined : spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' });
            runFor(SETTLE, work);
            const rate = runFor(LAST, work);
            if (busy) await end(busy);
            return rate;
          };
          const ours = measure(options.threads, 'true');
          const peers = { 'fixed threads': measure(options.threads, 'false'), 'one thread': measure(1, 'false') };
          results.push(await measurePaired({ case: title, unit: 'a second', better: 'higher', ours, peers }, options));
        }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
    return {
      results,
      versions: { libtorch: engine.place.version },
      notes: [
        'The busy process is one endless loop. Fixed threads: OMP_DYNAMIC=false, which keeps as many as without the process.',
      ],
    };
  },
};

/** One more token of a text that begins anew when it is full. */
function nextToken(decoder: Decoder): () => void {
  const prompt = Int32Array.from({ length: PROMPT }, (_, i) => 3 + i);
  const begin = () => decoder.begin(prompt, decoder.maxLength)!;
  let text = begin();
  decoder.step(() => {});
  return () => {
    if (text.length === decoder.maxLength) {
      decoder.end(text);
      text = begin();
    } else decoder.append(text, 5);
    decoder.step(() => {});
  };
}

/** How often the work is done in a second. */
function runFor(seconds: number, work: () => void): number {
  const start = performance.now();
  let [count, passed] = [0, 0];
  for (; passed < seconds; count++, passed = (performance.now() - start) / 1000) work();
  return count / passed;
}

async function end(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}
