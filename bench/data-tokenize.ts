import { loadTokenizer } from '../src/data/index.js';
import { benchCorpus } from './data-corpus.js';
import { Peer } from './peer.js';
import { measurePaired } from './pairs.js';
import type { Bench, BenchResult, CaseResult } from './types.js';
import { peerPython } from './venv.js';

interface Answer {
  readonly seconds: number;
  readonly tokens: number;
}

const CASES = [
  { tokenizer: 'gpt2', peers: ['tiktoken', 'tokenizers', 'gigatoken'] },
  { tokenizer: 'mistral', peers: ['tokenizers', 'gigatoken'] },
] as const;

/** CPU seconds of this process. */
const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

export const bench: Bench = {
  summary: 'text to token ids, per core, against tiktoken, tokenizers and gigatoken',
  defaultRepetitions: 5,
  async run(options): Promise<BenchResult> {
    const corpus = benchCorpus();
    const python = peerPython(['tiktoken', 'tokenizers', 'gigatoken'], options.log);
    const results: CaseResult[] = [];
    let versions: Record<string, string> = {};
    try {
      for (const { tokenizer, peers } of CASES) {
        if (options.filter !== undefined && !tokenizer.includes(options.filter)) continue;
        const file = corpus.tokenizers[tokenizer];
        const ours = loadTokenizer(file);
        const tokens: Record<string, number> = {};
        const measureOurs = (): number => {
          const start = cpuSeconds();
          tokens['ours'] = corpus.texts.reduce((sum, text) => sum + ours.encode(text).length, 0);
          return corpus.bytes / (cpuSeconds() - start) / 1e6;
        };
        measureOurs();
        const processes = await Promise.all(
          peers.map(async (peer) => {
            const settings = { work: 'encode', peer, corpus: corpus.file, tokenizer: file };
            return [
              peer,
              await Peer.start<{ versions: Record<string, string> }>(python, 'data_text.py', settings, 1),
            ] as const;
          }),
        );
        const measures = processes.map(([name, peer]) => {
          versions = { ...versions, ...peer.ready.versions };
          return [
            name,
            async (): Promise<number> => {
              const answer = await peer.ask<Answer>({});
              tokens[name] = answer.tokens;
              return corpus.bytes / answer.seconds / 1e6;
            },
          ] as const;
        });
        for (const [, measure] of measures) await measure();
        const result = await measurePaired(
          {
            case: tokenizer,
            unit: 'MB per CPU second',
            better: 'higher',
            ours: measureOurs,
            peers: Object.fromEntries(measures),
          },
          options,
        );
        results.push({
          ...result,
          details: Object.fromEntries(Object.entries(tokens).map(([name, n]) => [`tokens, ${name}`, n])),
        });
        for (const [, peer] of processes) await peer.close();
      }
    } finally {
      corpus.remove();
    }
    return {
      results,
      versions,
      notes: [
        'Text: the 4.4 MB of novels in corpora/novels-small, one string for each novel; all sides keep their tokenizer and have encoded the text once before.',
        'One thread each; CPU seconds of the whole process during the call, from string to ids.',
      ],
    };
  },
};
