import { describe, expect, it } from 'vitest';
import { cutRequest, encodeRequest, encodeText, rollingWindows } from './encode.js';

const BOS = 1;
const EOS = 2;
const FIRST_LETTER = 10;

/** One token per character, but "ab" is one token: enough to see a token straddle a border. `post` is the post-processor. */
function letters(post: readonly number[] = [BOS], hasBos = true) {
  return {
    bosId: hasBos ? BOS : undefined,
    eosId: EOS,
    idToToken: (id: number) => (id === BOS ? '<s>' : undefined),
    encode(text: string, options: { addSpecialTokens?: boolean } = {}): Int32Array {
      const pieces = text.match(/<s>|ab|./gsu) ?? [];
      const ids = pieces.map((p) => (p === '<s>' ? BOS : p === 'ab' ? 5 : FIRST_LETTER + (p.codePointAt(0) ?? 0)));
      return Int32Array.from(options.addSpecialTokens === true ? [...post, ...ids] : ids);
    },
  };
}
const id = (letter: string): number => FIRST_LETTER + letter.charCodeAt(0);

describe('tokens of a request', () => {
  it('moves white space at the end of the context to the continuation', () => {
    const { context, continuation } = encodeRequest(letters(), { context: 'x \n', continuation: 'y' }, false);
    expect([...context]).toEqual([id('x')]);
    expect([...continuation]).toEqual([id(' '), id('\n'), id('y')]);
  });

  it('encodes both together and splits by count where a token straddles the border', () => {
    // "xa" + "bc" is x, ab, c together; the context alone has two tokens.
    const { context, continuation } = encodeRequest(letters(), { context: 'xa', continuation: 'bc' }, false);
    expect([...context]).toEqual([id('x'), 5]);
    expect([...continuation]).toEqual([id('c')]);
  });

  it('adds what the post-processor adds with "auto", a BOS with true, nothing with false', () => {
    expect([...encodeText(letters(), 'x', 'auto')]).toEqual([BOS, id('x')]);
    expect([...encodeText(letters([]), 'x', 'auto')]).toEqual([id('x')]);
    expect([...encodeText(letters([]), 'x', true)]).toEqual([BOS, id('x')]);
    expect([...encodeText(letters(), 'x', false)]).toEqual([id('x')]);
    expect(() => encodeText(letters([], false), 'x', true)).toThrow(/no BOS token/);
  });

  it('adds no second BOS to a text that begins with one', () => {
    expect([...encodeText(letters(), '<s>x', 'auto')]).toEqual([BOS, id('x')]);
    expect([...encodeText(letters(), '<s>x', true)]).toEqual([BOS, id('x')]);
  });

  it('begins an empty context with BOS, else EOS, and does not double it', () => {
    const request = { context: '', continuation: 'xy' };
    expect([...encodeRequest(letters(), request, 'auto').context]).toEqual([BOS]);
    expect([...encodeRequest(letters([], false), request, 'auto').context]).toEqual([EOS]);
    const doubled = encodeRequest(letters(), { context: '', continuation: '<s>x' }, 'auto');
    expect([[...doubled.context], [...doubled.continuation]]).toEqual([[BOS], [id('x')]]);
  });
});

describe('requests that are too long', () => {
  const encoded = { context: Int32Array.of(1, 2, 3, 4), continuation: Int32Array.of(5, 6) };

  it('keeps the last tokens', () => {
    // Length 3: of 1..6 the last four are kept, all but the last are read.
    expect([...cutRequest(encoded, 3, 'x').input]).toEqual([3, 4, 5]);
    expect([...cutRequest(encoded, 3, 'x').targets]).toEqual([5, 6]);
  });

  it('reads everything but the last token where it fits', () => {
    expect([...cutRequest(encoded, 5, 'x').input]).toEqual([1, 2, 3, 4, 5]);
    expect([...cutRequest(encoded, 100, 'x').input]).toEqual([1, 2, 3, 4, 5]);
  });

  it('names what has an answer longer than the model', () => {
    expect(() => cutRequest(encoded, 1, 'PIQA, document 314')).toThrow(/PIQA, document 314.* 2 tokens.* at most 1/);
  });
});

describe('rolling windows', () => {
  const B = 99;
  const windows = (count: number, length: number) =>
    rollingWindows(
      Int32Array.from({ length: count }, (_, i) => i),
      B,
      length,
    ).map(({ input, targets }) => [[...input], [...targets]]);

  it('predicts every token once; the last window is filled up on the left', () => {
    expect(windows(10, 4)).toEqual([
      [
        [B, 0, 1, 2],
        [0, 1, 2, 3],
      ],
      [
        [3, 4, 5, 6],
        [4, 5, 6, 7],
      ],
      [
        [5, 6, 7, 8],
        [8, 9],
      ],
    ]);
  });

  it('makes one window of a short text, whole windows where the length divides it, none of nothing', () => {
    expect(windows(3, 4)).toEqual([
      [
        [B, 0, 1],
        [0, 1, 2],
      ],
    ]);
    expect(windows(4, 2)).toEqual([
      [
        [B, 0],
        [0, 1],
      ],
      [
        [1, 2],
        [2, 3],
      ],
    ]);
    expect(windows(0, 4)).toEqual([]);
  });
});
