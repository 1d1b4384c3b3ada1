import { expect, it } from 'vitest';
import { fixtures } from '../../test/support/harness-reference.js';
import { loadTokenizer } from '../data/index.js';
import { TextStream } from './text-stream.js';

const tokenizer = loadTokenizer(`${fixtures}models/stories260K`);

it('gives in pieces what decoding at once gives, special tokens and characters of several tokens included', () => {
  const ids = [1, ...tokenizer.encode('Once upon 中 a 🙂 time.'), 1, ...tokenizer.encode(' The end'), 2];
  const stream = new TextStream(tokenizer, [1]);
  const pieces = ids.slice(1).map((id) => stream.push(id));
  expect(pieces.join('') + stream.end()).toBe(tokenizer.decode(ids, { skipSpecialTokens: true }));
  expect(pieces.some((piece) => piece.includes('\uFFFD'))).toBe(false);
});

it('keeps the space of the first token behind a prompt', () => {
  const prompt = tokenizer.encode('Once upon');
  const stream = new TextStream(tokenizer, prompt);
  const text = Array.from(tokenizer.encode('Once upon a time').slice(prompt.length), (id) => stream.push(id)).join('');
  expect(text).toBe(' a time');
});

it('gives what is left of an unfinished character at the end', () => {
  const [first] = tokenizer.encode('🙂').slice(-4);
  const stream = new TextStream(tokenizer, tokenizer.encode('a'));
  expect(stream.push(first!)).toBe('');
  expect(stream.end()).toBe('\uFFFD');
});
