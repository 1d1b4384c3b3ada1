import { join } from 'node:path';
import { trainTokenizer } from '../src/data/index.js';
import { benchCorpus } from './data-corpus.js';
import { Peer } from './peer.js';
import { measurePaired } from './pairs.js';
import type { Bench, BenchResult, CaseResult } from './types.js';
import { peerPython } from './venv.js';

const SIZES = [4096, 16384] as const;

export const bench: Bench = {
  summary: "training a byte-level BPE, per core, against Hugging Face's trainer",
  defaultRepetitions: 5,
  async run(options): Promise<BenchResult> {
    const corpus = benchCorpus();
    const python = peerPython(['tokenizers'], options.log);
    const results: CaseResult[] = [];
    let versions: Record<string, string> = {};
    try {
      for (const vocabSize of SIZES) {
        const name = `vocabulary ${vocabSize}`;
        if (options.filter !== undefined && !name.includes(options.filter)) continue;
        const settings = { work: 'train', peer: 'tokenizers', corpus: corpus.file, vocabSize };
        const peer = await Peer.start<{ versions: Record<string, string> }>(python, 'data_text.py', settings, 1);
        versions = { ...versions, ...peer.ready.versions };
        const ours = async (): Promise<number> => {
          const before = process.cpuUsage();
          await trainTokenizer({ inputs: [corpus.file], vocabSize, out: join(corpus.folder, 'trained.json') });
          const { user, system } = process.cpuUsage(before);
          return (user + system) / 1e6;
        };
        await ours();
        const theirs = async (): Promise<number> => (await peer.ask<{ seconds: number }>({})).seconds;
        results.push(
          await measurePaired(
            { case: name, unit: 'CPU seconds', better: 'lower', ours, peers: { tokenizers: theirs } },
            options,
          ),
        );
        await peer.close();
      }
    } finally {
      corpus.remove();
    }
    return {
      results,
      versions,
      notes: [
        'Text: the 4.4 MB of novels in corpora/novels-small. Ours reads the JSON lines from disk and writes tokenizer.json; the peer starts with the strings in memory (train_from_iterator, one thread) and writes nothing.',
        'Ours has trained once before (the runtime has compiled the code).',
      ],
    };
  },
};
