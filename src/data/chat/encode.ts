import type { Tokenizer } from '../tokenizer/types.js';
import type { ChatTemplate, Message } from './template.js';

/** A part of a conversation's text. */
export interface Segment {
  readonly text: string;
  /** Whether the assistant wrote it: what is trained on. */
  readonly isAnswer: boolean;
}

/** A conversation as tokens. */
export interface EncodedConversation {
  readonly ids: Int32Array;
  /** 1 for tokens of answers, the token that ends them included. */
  readonly mask: Uint8Array;
}

/**
 * Splits a conversation's text into what is given and what the assistant answers.
 *
 * An answer is what the template adds to its own generation prompt, so that training sees what generation will. What follows the last answer
 * is left out.
 *
 * @throws RangeError where the template rewrites what stood before, so that an answer has no place of its own.
 */
export function segmentsOf(messages: readonly Message[], template: ChatTemplate): Segment[] {
  const segments: Segment[] = [];
  let before = '';
  messages.forEach(({ role }, i) => {
    if (role !== 'assistant') return;
    const prompt = template.render(messages.slice(0, i), true);
    const answered = template.render(messages.slice(0, i + 1), false);
    if (!prompt.startsWith(before) || !answered.startsWith(prompt))
      throw new RangeError('the chat template writes earlier turns differently once a later one follows');
    segments.push({ text: prompt.slice(before.length), isAnswer: false });
    segments.push({ text: answered.slice(prompt.length), isAnswer: true });
    before = answered;
  });
  return segments;
}

/** Tokens of segments, encoded one by one, as prompt and answer are in use; ends with EOS. */
export function encodeSegments(segments: readonly Segment[], tokenizer: Tokenizer, eosId: number): EncodedConversation {
  const parts = segments.map(({ text, isAnswer }) => ({ ids: tokenizer.encode(text), isAnswer }));
  const last = parts.at(-1);
  if (last?.ids.at(-1) !== eosId) parts.push({ ids: Int32Array.of(eosId), isAnswer: last?.isAnswer ?? false });
  const length = parts.reduce((sum, { ids }) => sum + ids.length, 0);
  const [ids, mask] = [new Int32Array(length), new Uint8Array(length)];
  let at = 0;
  for (const part of parts) {
    ids.set(part.ids, at);
    if (part.isAnswer) mask.fill(1, at, at + part.ids.length);
    at += part.ids.length;
  }
  return { ids, mask };
}
