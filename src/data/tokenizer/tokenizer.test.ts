import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { InputError } from '../../errors.js';
import { loadTokenizer } from './load.js';
import type { Tokenizer } from './types.js';

const fixtures = new URL('../../../test/fixtures/tokenizers/', import.meta.url);
const unzip = (name: string): string => gunzipSync(readFileSync(new URL(name, fixtures))).toString();

interface Reference {
  texts: string[];
  mega: [unit: string, times: number][];
  ids: Record<string, number[][]>;
  withSpecial: Record<string, number[]>;
  decoded: Record<string, string[]>;
  megaIds: Record<string, [count: number, sha256: string][]>;
}
const reference = JSON.parse(unzip('ids.json.gz')) as Reference;

const CL100K = (digits: string): string =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

/** The same variants of GPT-2's tokenizer as test/reference/tokenizer_ids.py makes. */
function variants(): Record<string, object> {
  const gpt2 = JSON.parse(unzip('gpt2.json.gz')) as { model: object };
  const split = (digits: string): object => ({
    type: 'Sequence',
    pretokenizers: [
      { type: 'Split', pattern: { Regex: CL100K(digits) }, behavior: 'Isolated', invert: false },
      { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    ],
  });
  return {
    gpt2,
    llama3: { ...gpt2, pre_tokenizer: split('\\p{N}{1,3}'), model: { ...gpt2.model, ignore_merges: true } },
    qwen2: { ...gpt2, pre_tokenizer: split('\\p{N}'), normalizer: { type: 'NFC' } },
    mistral: JSON.parse(unzip('mistral.json.gz')) as object,
  };
}

const folder = mkdtempSync(join(tmpdir(), 'strata-tokenizer-'));
const tokenizers: Record<string, Tokenizer> = {};
beforeAll(() => {
  for (const [name, json] of Object.entries(variants())) {
    const file = join(folder, `${name}.json`);
    writeFileSync(file, JSON.stringify(json));
    tokenizers[name] = loadTokenizer(file);
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

describe.each(['gpt2', 'llama3', 'qwen2', 'mistral'])('%s', (name) => {
  test('gives the ids of Hugging Face on hostile text', () => {
    const tokenizer = tokenizers[name]!;
    reference.texts.forEach((text, i) => {
      expect([text, ...tokenizer.encode(text)]).toEqual([text, ...reference.ids[name]![i]!]);
    });
    expect([...tokenizer.encode(reference.texts[2]!, { addSpecialTokens: true })]).toEqual(reference.withSpecial[name]);
  });

  test('decodes as Hugging Face does', () => {
    reference.ids[name]!.forEach((ids, i) => {
      expect(tokenizers[name]!.decode(ids)).toBe(reference.decoded[name]![i]);
    });
  });
});

describe.each(['gpt2', 'llama3', 'qwen2', 'mistral'])('%s', (name) => {
  test('gives the ids of Hugging Face on long runs without a split', () => {
    const found = reference.mega.map(([unit, times]) => {
      const ids = tokenizers[name]!.encode(unit.repeat(times));
      return [
        ids.length,
        createHash('sha256')
          .update(JSON.stringify([...ids]))
          .digest('hex'),
      ];
    });
    expect(found).toEqual(reference.megaIds[name]);
  });
});

/** Ids of text that goes on behind a cut. */
function continued(tokenizer: Tokenizer, text: string): Int32Array {
  const bytes = Buffer.from(text);
  const ids = new Int32Array(tokenizer.maxTokens(bytes.length));
  return ids.subarray(0, tokenizer.encodeInto(bytes, 0, bytes.length, ids, 0, true));
}

test('Unigram goes through the library, says so, and gives the ids of Hugging Face', () => {
  const tokenizer = loadTokenizer(new URL('unigram.json', fixtures).pathname);
  expect(tokenizer.kind).toBe('library');
  expect(tokenizer.note).toContain("Hugging Face's JavaScript library");
  const { texts, ids } = JSON.parse(readFileSync(new URL('unigram-ids.json', fixtures), 'utf8')) as {
    texts: string[];
    ids: number[][];
  };
  texts.forEach((text, i) => expect([text, ...tokenizer.encode(text)]).toEqual([text, ...ids[i]!]));
  expect(tokenizer.eosId).toBe(1);
});

describe('any text', () => {
  const text = fc.string({ unit: 'binary', maxLength: 200 });

  test.each(['gpt2', 'llama3', 'mistral'])('comes back from %s', (name) => {
    fc.assert(
      fc.property(text, (input) => {
        expect(tokenizers[name]!.decode(tokenizers[name]!.encode(input))).toBe(Buffer.from(input).toString());
      }),
    );
  });

  test('may be cut in front of blanks', () => {
    fc.assert(
      fc.property(text, text, (left, right) => {
        for (const name of ['gpt2', 'llama3', 'qwen2', 'mistral']) {
          const tokenizer = tokenizers[name]!;
          const parts = [...tokenizer.encode(`${left}.`), ...continued(tokenizer, ` ${right}`)];
          expect([...tokenizer.encode(`${left}. ${right}`)]).toEqual(parts);
        }
      }),
    );
  });

  test('with a lone surrogate counts as one with U+FFFD', () => {
    expect([...tokenizers['gpt2']!.encode('a\ud800b')]).toEqual([...tokenizers['gpt2']!.encode('a\ufffdb')]);
  });
});

describe('a tokenizer', () => {
  test('tells its size, hash and special tokens', () => {
    const gpt2 = tokenizers['gpt2']!;
    expect([gpt2.kind, gpt2.vocabSize, gpt2.eosId, gpt2.tokenToId('Hello'), gpt2.idToToken(15496)]).toEqual([
      'byte-level',
      50257,
      50256,
      15496,
      'Hello',
    ]);
    expect(gpt2.hash).toBe(createHash('sha256').update(readFileSync(gpt2.file)).digest('hex'));
    expect(gpt2.decode([50256, 15496, 995], { skipSpecialTokens: true })).toBe('Hello world');
  });

  test.each([
    ['not JSON', '{', 'expected JSON'],
    ['no model', '{}', 'model: '],
    [
      'no merges',
      '{"model":{"vocab":{"a":0}},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},"decoder":{"type":"ByteLevel"}}',
      'model.merges: expected a list',
    ],
    ['an id twice', '{"model":{"vocab":{"a":0,"b":0},"merges":[]}}', 'model.vocab["b"]: expected an id of its own'],
    ['a huge id', '{"model":{"vocab":{"a":1e12},"merges":[]}}', 'model.vocab["a"]: expected a whole number'],
    ['an empty vocabulary', '{"model":{"vocab":{},"merges":[]}}', 'model.vocab: expected at least one entry'],
  ])('with %s is refused in one sentence', (_, content, expected) => {
    const file = join(folder, 'bad.json');
    writeFileSync(file, content);
    expect(() => loadTokenizer(file)).toThrow(InputError);
    expect(() => loadTokenizer(file)).toThrow(`${file}: ${expected}`);
  });

  test('that is damaged anywhere gives a sentence or works', () => {
    const small = readFileSync(new URL('../models/stories260K/tokenizer.json', fixtures));
    const file = join(folder, 'mutated.json');
    fc.assert(
      fc.property(fc.nat(small.length - 1), fc.integer({ min: 0, max: 255 }), fc.boolean(), (at, byte, cut) => {
        const bytes = Buffer.from(cut ? small.subarray(0, at) : small);
        if (!cut) bytes[at] = byte;
        writeFileSync(file, bytes);
        try {
          loadTokenizer(file).encode('some text');
        } catch (error) {
          expect(error).toBeInstanceOf(InputError);
        }
      }),
      { numRuns: 60 },
    );
  });
});
