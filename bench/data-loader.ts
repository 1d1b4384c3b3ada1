import { join } from 'node:path';
import { Loader, buildDataset, openDataset } from '../src/data/index.js';
import { benchCorpus } from './data-corpus.js';
import { measurePaired } from './pairs.js';
import type { Bench, BenchResult, CaseResult } from './types.js';

const SEQUENCES = 20_000;

export const bench: Bench = {
  summary: 'random training sequences out of token shards, per core',
  defaultRepetitions: 5,
  async run(options): Promise<BenchResult> {
    const corpus = benchCorpus();
    const results: CaseResult[] = [];
    try {
      const { splits } = await buildDataset({
        inputs: [corpus.file],
        tokenizer: corpus.tokenizers.gpt2,
        out: join(corpus.folder, 'out'),
      });
      using dataset = openDataset(splits.train?.folder ?? '');
      for (const sequenceLength of [256, 2048]) {
        const name = `sequences of ${sequenceLength}`;
        if (options.filter !== undefined && !name.includes(options.filter)) continue;
        const loader = new Loader(dataset, { sequenceLength, seed: 1 });
        const inputs = new Int32Array(16 * sequenceLength);
        const targets = new Int32Array(16 * sequenceLength);
        const ours = (): number => {
          const start = performance.now();
          for (let first = 0; first < SEQUENCES; first += 16) loader.read(first, 16, inputs, targets);
          return (SEQUENCES * sequenceLength) / (performance.now() - start) / 1000;
        };
        ours();
        results.push(
          await measurePaired(
            { case: name, unit: 'million tokens per second', better: 'higher', ours, peers: {} },
            options,
          ),
        );
      }
    } finally {
      corpus.remove();
    }
    return {
      results,
      versions: {},
      notes: ['One thread; shuffled positions, positioned reads of a file that the operating system holds in memory.'],
    };
  },
};
