import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fixtures } from '../../test/support/harness-reference.js';
import { loadTokenizer } from '../data/index.js';
import { counters } from '../engine/buffers.js';
import { compiledLogitPasses } from '../engine/logits.js';
import { loadLibtorch } from '../engine/libtorch/load.js';
import { Decoder } from './decoder.js';
import { endTokens, generate } from './generate.js';
import { loadModel } from './model.js';
import { Sampler } from './sampling.js';
import { TextStream } from './text-stream.js';

/** Logits of transformers are stored with six digits. */
const TOLERANCE = 1e-4;

const folder = `${fixtures}models/stories260K`;
const reference = JSON.parse(readFileSync(`${folder}/reference.json`, 'utf8')) as {
  ids: number[];
  logits_first8_per_position: number[][];
  greedy_from_bos_ids: number[];
  greedy_text: string;
};

let before = counters();
beforeEach(() => {
  before = counters();
});
afterEach(() => expect(counters()).toEqual(before));

async function collect(prompt: readonly number[], maxTokens: number, model: ReturnType<typeof loadModel>) {
  const tokens: number[] = [];
  for await (const { token } of generate(model, Int32Array.from(prompt), { temperature: 0, maxTokens }))
    tokens.push(token);
  return tokens;
}

describe('decoding with a cache', () => {
  it('gives the logits of a full forward, at every position', () => {
    using model = loadModel(folder, { threads: 1 });
    using decoder = new Decoder(model, { cacheRows: 64 });
    const { ids, logits_first8_per_position: expected } = reference;
    const sequence = decoder.begin(Int32Array.of(ids[0]!), ids.length)!;
    expected.forEach((row, i) => {
      let found: number[] = [];
      decoder.step((_, logits) => (found = [...logits.subarray(0, 8)]));
      row.forEach((value, j) => expect(Math.abs(found[j]! - value)).toBeLessThan(TOLERANCE));
      if (i + 1 < ids.length) decoder.append(sequence, ids[i + 1]!);
    });
  });

  it('gives them after a prompt in parts, beside other texts, in a cache that was used before', () => {
    using model = loadModel(folder, { threads: 1 });
    using decoder = new Decoder(model, { cacheRows: 100, passRows: 7 });
    const prompt = Int32Array.from(reference.ids);
    const used = decoder.begin(prompt, 60)!;
    decoder.step(() => undefined);
    const beside = decoder.begin(Int32Array.of(1, 403), 4)!;
    decoder.end(used);
    const sequence = decoder.begin(prompt, prompt.length)!;
    expect(sequence.start).toBe(0);
    expect(decoder.begin(prompt, 99)).toBeUndefined();
    let found: number[] | undefined;
    for (let pass = 0; pass < 20 && found === undefined; pass++)
      decoder.step((ready, logits) => {
        if (ready === sequence) found = [...logits.subarray(0, 8)];
        else decoder.end(beside);
      });
    reference.logits_first8_per_position
      .at(-1)!
      .forEach((value, j) => expect(Math.abs(found![j]! - value)).toBeLessThan(TOLERANCE));
  });

  it('greedily writes the story that transformers writes', async () => {
    using model = loadModel(folder, { threads: 1 });
    const [bos, ...story] = reference.greedy_from_bos_ids;
    expect(await collect([bos!], story.length, model)).toEqual(story);
    const tokenizer = loadTokenizer(folder);
    const stream = new TextStream(tokenizer, [bos!]);
    expect((story.map((id) => stream.push(id)).join('') + stream.end()).trim()).toBe(reference.greedy_text.trim());
  });

  it('stops at the length of the model', async () => {
    using model = loadModel(folder, { threads: 1 });
    const prompt = Array.from({ length: model.config.max_position_embeddings - 3 }, (_, i) => 300 + (i % 50));
    // The last position still predicts a token.
    expect(await collect(prompt, 100, model)).toHaveLength(4);
  });

  it('knows what ends a text', () => {
    using model = loadModel(folder, { threads: 1 });
    expect(endTokens(model.config, { eosId: 5 })).toEqual(new Set([2, 5]));
  });
});

describe('passes over logits in C', () => {
  /** Sums of float32 exponentials against float64 ones. */
  const SUM_TOLERANCE = 1e-6;
  const logits = Float32Array.from({ length: 5003 }, (_, i) => 4 * Math.sin(i * 1.7) + ((i * 7919) % 13) / 3);

  it('give the best token and the sums that float64 gives', () => {
    loadLibtorch({ threads: 1 });
    const passes = compiledLogitPasses()!;
    const best = logits.indexOf(Math.max(...logits));
    const sum = (temperature: number): number =>
      logits.reduce((total, value) => total + Math.exp((value - logits[best]!) / temperature), 0);
    for (const temperature of [1, 0.3, 2.5]) {
      const found = passes.summarise(logits, temperature);
      expect(found.best).toBe(best);
      expect(found.logSumExp).toBeCloseTo(logits[best]! + Math.log(sum(1)), 5);
      expect(Math.abs(found.temperedSum / sum(temperature) - 1)).toBeLessThan(SUM_TOLERANCE);
    }
    expect(passes.summarise(Float32Array.of(2, 5, 5, 1), 0).best).toBe(1);
  });

  it('draw the token at which the running sum passes the uniform number', () => {
    loadLibtorch({ threads: 1 });
    const passes = compiledLogitPasses()!;
    const few = Float32Array.from([0.1, 0.4, 0, 0.2, 0.3], (p) => Math.log(p));
    const drawn = [0, 0.05, 0.15, 0.45, 0.55, 0.65, 0.75, 0.999].map((uniform) =>
      passes.draw(few, 1, passes.summarise(few, 1), uniform),
    );
    expect(drawn).toEqual([0, 0, 1, 1, 3, 3, 4, 4]);
    const compiled = new Sampler({ temperature: 0.8, seed: 3 }, passes);
    const plain = new Sampler({ temperature: 0.8, seed: 3 });
    for (let i = 0; i < 200; i++) expect(compiled.next(logits).token).toBe(plain.next(logits).token);
  });
});
