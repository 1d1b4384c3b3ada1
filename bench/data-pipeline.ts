import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildDataset } from '../src/data/index.js';
import { benchCorpus } from './data-corpus.js';
import { Peer } from './peer.js';
import { measurePaired } from './pairs.js';
import type { Bench, BenchResult } from './types.js';
import { peerPython } from './venv.js';

/** About 64 MB of text. */
const DOCUMENTS = 16_000;

export const bench: Bench = {
  summary: 'JSONL.zst to token shards against a datasets.map(batched) script',
  defaultRepetitions: 3,
  async run(options): Promise<BenchResult> {
    const corpus = benchCorpus(DOCUMENTS);
    const python = peerPython(['tokenizers', 'datasets', 'zstandard'], options.log);
    const compressed = join(corpus.folder, 'corpus.jsonl.zst');
    const { threads } = options;
    try {
      const settings = {
        work: 'pipeline',
        peer: 'datasets',
        corpus: corpus.file,
        tokenizer: corpus.tokenizers.gpt2,
        compressed,
        threads,
      };
      const peer = await Peer.start<{ versions: Record<string, string> }>(python, 'data_text.py', settings, threads);
      const tokens: Record<string, number> = {};
      const ours = async (): Promise<number> => {
        const out = join(corpus.folder, 'out');
        const start = performance.now();
        const { splits } = await buildDataset({
          inputs: [compressed],
          tokenizer: corpus.tokenizers.gpt2,
          out,
          workers: threads,
        });
        const seconds = (performance.now() - start) / 1000;
        tokens['tokens, ours'] = splits.train?.index.tokens ?? 0;
        rmSync(out, { recursive: true });
        return corpus.bytes / seconds / 1e6;
      };
      const theirs = async (): Promise<number> => {
        const answer = await peer.ask<{ seconds: number; tokens: number }>({});
        tokens['tokens, datasets'] = answer.tokens;
        return corpus.bytes / answer.seconds / 1e6;
      };
      const result = await measurePaired(
        {
          case: `${threads} threads`,
          unit: 'MB of text per second',
          better: 'higher',
          ours,
          peers: { datasets: theirs },
        },
        options,
      );
      await peer.close();
      return {
        results: [{ ...result, details: tokens }],
        versions: peer.ready.versions,
        notes: [
          `Text: ${DOCUMENTS} documents of about 4 kB cut out of the novels in corpora/novels-small, ${(corpus.bytes / 1e6).toFixed(0)} MB, as JSON lines compressed by zstd level 3; GPT-2's tokenizer.`,
          'The peer is nanoGPT\'s way: load_dataset("json"), map(batched=True, num_proc=threads) with encode_batch, then one uint16 memmap. Its cache starts empty each time, and imports are not counted.',
          'Wall time from the compressed file to token files on disk; ours also hashes them and syncs the disk.',
        ],
      };
    } finally {
      corpus.remove();
    }
  },
};
