import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { measureLimits, type MachineLimits } from '../src/engine/limits.js';
import { WorkError } from '../src/errors.js';
import { Decoder, generate, loadModel, type Model } from '../src/infer/index.js';
import { forwardFlopsPerToken } from '../src/planner/index.js';
import { checkout } from './checkout.js';
import { describeLimits } from './limits.js';
import { LLAMA_60M, makeModel } from './models.js';
import { measurePaired } from './pairs.js';
import { Peer } from './peer.js';
import type { Bench, BenchOptions, CaseResult } from './types.js';
import { HUGGING_FACE, peerPython } from './venv.js';

const WAYS = ['generate', 'loop'] as const;
type Way = (typeof WAYS)[number];

/** Both sides compute float32: logits further off than this are another computation. */
const LOGIT_TOLERANCE = 1e-3;
/** Greedy tokens of both sides have to agree for so long; later ones may part where two logits are all but equal. */
const EQUAL_TOKENS = 8;

interface Answer {
  readonly prefillSeconds: number;
  readonly decodeSeconds: number;
  readonly ids: readonly number[];
  readonly logits?: readonly number[];
}

interface Subject {
  readonly name: string;
  readonly folder: string;
  readonly prompt: number;
  readonly tokens: number;
}

/** Prefill and single-stream decode against transformers, on the same model, greedy, float32. */
export const bench: Bench = {
  summary: 'prompts read and tokens generated, against transformers (float32, greedy, one text)',
  defaultRepetitions: 7,
  async run(options) {
    const python = peerPython(HUGGING_FACE, options.log);
    const folder = mkdtempSync(join(tmpdir(), 'strata-bench-generate-'));
    const results: CaseResult[] = [];
    const notes = [
      'Decode counts tokens behind the first; prefill counts the prompt until the first token is known, the set-up of the cache included on both sides.',
      'Peers: transformers is model.generate; loop calls the model with its cache and takes the largest logit, without what generate does around it.',
      'Bandwidth counts every weight that a token multiplies, once; share of the limit is of measured copies (bytes read and written).',
    ];
    let versions = {};
    try {
      const subjects = [
        { name: 'Llama 60M', folder: makeModel(join(folder, 'model'), LLAMA_60M), prompt: 512, tokens: 64 },
        { name: 'stories260K', folder: join(checkout(), 'test/fixtures/models/stories260K'), prompt: 256, tokens: 200 },
      ];
      for (const threads of [...new Set([1, options.threads])])
        for (const subject of subjects) {
          const name = `${subject.name}, ${threads === 1 ? '1 thread' : `${threads} threads`}`;
          if (!name.includes(options.filter ?? '')) continue;
          using model = loadModel(subject.folder, { threads });
          const limits = measureLimits(threads);
          const peer = await Peer.start<{ versions: Record<string, string> }>(
            python,
            'generate.py',
            { model: subject.folder, threads },
            threads,
          );
          versions = peer.ready.versions;
          try {
            results.push(...(await measure(name, subject, model, peer, limits, options)));
          } finally {
            await peer.close();
          }
          notes.push(describeLimits(limits));
        }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
    return { results, versions, notes: [...new Set(notes)] };
  },
};

async function measure(
  name: string,
  { prompt: length, tokens: count }: Subject,
  model: Model,
  peer: Peer<unknown>,
  limits: MachineLimits,
  options: BenchOptions,
): Promise<CaseResult[]> {
  const prompt = Int32Array.from({ length }, (_, i) => 3 + ((i * 7919) % (model.config.vocab_size - 3)));
  const ask = (way: Way, tokens = count): Promise<Answer> => peer.ask({ way, prompt: [...prompt], tokens });
  requireSame(name, model, prompt, (await run(model, prompt, count)).ids, await ask('loop'));
  await ask('generate');
  const compare = (work: 'prefill' | 'decode', unit: string, rate: (answer: Answer) => number) =>
    measurePaired(
      {
        case: `${work}, ${name}`,
        unit,
        better: 'higher',
        ours: async () => rate(await run(model, prompt, work === 'prefill' ? 1 : count)),
        peers: Object.fromEntries(
          WAYS.map((way) => [
            way === 'generate' ? 'transformers' : way,
            async () => rate(await ask(way, work === 'prefill' ? 2 : count)),
          ]),
        ),
      },
      options,
    );
  const prefill = await compare('prefill', 'tokens/s', ({ prefillSeconds }) => length / prefillSeconds);
  const decode = await compare('decode', 'tokens/s', ({ decodeSeconds }) => (count - 1) / decodeSeconds);
  const { vocab_size: vocabulary, hidden_size: hidden } = model.config;
  const multiplied = Number(forwardFlopsPerToken(model.config, 0).flops) / 2;
  // The head is taken for the last token of the prompt only, and causal attention sees half of it on average.
  const flops = (Number(forwardFlopsPerToken(model.config, length / 2).flops) - 2 * vocabulary * hidden) * prefill.ours;
  const bandwidth = multiplied * Float32Array.BYTES_PER_ELEMENT * decode.ours;
  return [
    { ...prefill, limitShare: flops / limits.f32, details: { 'prompt tokens': length, 'GFLOP/s': flops / 1e9 } },
    { ...decode, limitShare: bandwidth / limits.copy, details: { 'tokens made': count, 'GB/s': bandwidth / 1e9 } },
  ];
}

/** A greedy text as `strata generate` makes it. */
async function run(model: Model, prompt: Int32Array, maxTokens: number): Promise<Answer & { ids: number[] }> {
  const ids: number[] = [];
  const start = performance.now();
  let first = start;
  for await (const { token } of generate(model, prompt, { temperature: 0, maxTokens })) {
    if (ids.length === 0) first = performance.now();
    ids.push(token);
  }
  return { prefillSeconds: (first - start) / 1000, decodeSeconds: (performance.now() - first) / 1000, ids };
}

function requireSame(
  name: string,
  model: Model,
  prompt: Int32Array,
  ids: readonly number[],
  { ids: expected, logits = [] }: Answer,
): void {
  using decoder = new Decoder(model, { cacheRows: prompt.length });
  decoder.begin(prompt, prompt.length);
  let found: number[] | undefined;
  while (found === undefined) decoder.step((_, row) => (found = [...row.subarray(0, logits.length)]));
  const furthest = Math.max(...found.map((value, i) => Math.abs(value - logits[i]!)));
  if (!(furthest <= LOGIT_TOLERANCE) || ids.slice(0, EQUAL_TOKENS).join() !== expected.slice(0, EQUAL_TOKENS).join())
    throw new WorkError(
      `${name}: logits behind the prompt are ${furthest.toExponential(1)} from transformers' (at most ${LOGIT_TOLERANCE}), or the first ${EQUAL_TOKENS} tokens differ.`,
    );
}
