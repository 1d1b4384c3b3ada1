import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openDataset } from '../dataset.js';
import { Loader } from '../loader.js';
import { verifyDataset } from '../shards/verify.js';
import { loadTokenizer } from '../tokenizer/load.js';
import { trainTokenizer } from '../tokenizer/train-tokenizer.js';
import { buildChat } from './build.js';
import { segmentsOf } from './encode.js';
import { loadChatTemplate } from './template.js';

const root = mkdtempSync(join(tmpdir(), 'strata-chat-'));
const out = join(root, 'out');
const tokenizer = join(root, 'tokenizer.json');
const sample = (file: string): string =>
  fileURLToPath(new URL(`../../../corpora/conversations-sample/${file}`, import.meta.url));
/** ChatML, as Qwen's tokenizers have it. */
const CHATML =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
const chatml = join(root, 'chatml.jinja');

beforeAll(async () => {
  const text = join(root, 'text.txt');
  writeFileSync(text, readFileSync(sample('train.jsonl')));
  await trainTokenizer({ inputs: [text], vocabSize: 300, out: tokenizer });
  writeFileSync(chatml, CHATML);
});
beforeEach(() => rmSync(out, { recursive: true, force: true }));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const hello = [
  { role: 'user', content: 'Hi' },
  { role: 'assistant', content: 'Hello.' },
  { role: 'user', content: 'Bye' },
  { role: 'assistant', content: 'So long.' },
  { role: 'user', content: 'left out' },
];

describe('a chat template', () => {
  it('of ChatML gives answers their end, and prompts the header of the answer', async () => {
    const template = await loadChatTemplate(tokenizer, '<end>', chatml);
    expect(segmentsOf(hello, template)).toEqual([
      { text: '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n', isAnswer: false },
      { text: 'Hello.<|im_end|>\n', isAnswer: true },
      { text: '<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n', isAnswer: false },
      { text: 'So long.<|im_end|>\n', isAnswer: true },
    ]);
  });

  it('is taken from the tokenizer, and roles are written out where it has none', async () => {
    const plain = await loadChatTemplate(tokenizer, '<end>');
    expect(segmentsOf(hello.slice(0, 2), plain)).toEqual([
      { text: 'User: Hi\n\nAssistant: ', isAnswer: false },
      { text: 'Hello.<end>', isAnswer: true },
    ]);
    const folder = join(root, 'with-template');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'tokenizer.json'), readFileSync(tokenizer));
    const config = { eos_token: { content: '</s>' }, chat_template: [{ name: 'default', template: CHATML }] };
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(config));
    expect((await loadChatTemplate(folder, '<end>')).source).toBe(CHATML);
    writeFileSync(join(folder, 'chat_template.jinja'), '{{ eos_token }}');
    expect((await loadChatTemplate(folder, '<end>')).render([], false)).toBe('</s>');
  });

  it('that rewrites earlier turns, or is none, is refused', async () => {
    const path = join(root, 'bad.jinja');
    writeFileSync(path, '{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}');
    const template = await loadChatTemplate(tokenizer, '<end>', path);
    expect(() => segmentsOf(hello, template)).toThrow(/writes earlier turns differently/);
    writeFileSync(path, '{% if %}');
    await expect(loadChatTemplate(tokenizer, '<end>', path)).rejects.toThrow(
      /bad\.jinja: expected a chat template, found/,
    );
  });
});

describe('shards of conversations', () => {
  it('hold every conversation as a document, and a mask of what the assistant says', async () => {
    const { splits, template } = await buildChat({
      ...{ inputs: [sample('train.jsonl')], validation: [sample('validation.jsonl')], tokenizer, out },
    });
    expect(template).toMatch(/plain template/);
    expect([splits.train!.conversations, splits.validation!.conversations]).toEqual([8, 2]);
    verifyDataset(splits.train!.folder);
    using dataset = openDataset(splits.train!.folder);
    expect(dataset.documents).toBe(8);
    const loaded = loadTokenizer(tokenizer);
    const answers = Array.from({ length: dataset.documents }, (_, document) => {
      const { start, end } = dataset.documentRange(document);
      const [ids, mask] = [new Int32Array(end - start), new Uint8Array(end - start)];
      dataset.read(start, ids.length, ids);
      dataset.readMask(start, mask);
      expect([ids.at(-1), mask.at(-1)]).toEqual([loaded.eosId, 1]);
      return loaded.decode(
        ids.filter((_id, i) => mask[i] === 1),
        { skipSpecialTokens: true },
      );
    });
    expect(answers[1]).toBe('Jim Hawkins, for most of it. The doctor tells three chapters.');
    expect(answers[3]).toBe('Hillock.Mountain.');
    expect(readFileSync(join(splits.train!.folder, 'tokenizer_config.json'), 'utf8')).toContain('chat_template');
    // The mask of a sequence is that of its targets, one token on.
    const loader = new Loader(dataset, { sequenceLength: 16, seed: 0, shuffle: false });
    const [mask, whole] = [new Uint8Array(32), new Uint8Array(33)];
    loader.readMask(0, 2, mask);
    dataset.readMask(0, whole);
    expect([...mask]).toEqual([...whole.subarray(1)]);
  });

  it('are other data where the mask is another, and a damaged mask is found', async () => {
    await buildChat({ inputs: [sample('train.jsonl')], tokenizer, out });
    const folder = join(out, 'train');
    using dataset = openDataset(folder);
    const index = readFileSync(join(folder, 'index.json'), 'utf8');
    const path = join(folder, '00000.mask');
    const mask = readFileSync(path);
    mask[0] = 1 - mask[0]!;
    writeFileSync(path, mask);
    expect(() => verifyDataset(folder)).toThrow(/00000\.mask: expected SHA-256/);
    writeFileSync(join(folder, 'index.json'), index.replace(/"maskSha256": "./, '"maskSha256": "0'));
    using other = openDataset(folder);
    expect(other.identity).not.toBe(dataset.identity);
    writeFileSync(path, mask.subarray(1));
    expect(() => openDataset(folder)).toThrow(/00000\.mask: expected \d+ bytes/);
  });

  it.each([
    [
      '{"messages": [{"role": "user", "content": "Hi"}]}',
      /bad\.jsonl:2: messages: expected an answer of the assistant/,
    ],
    ['{"messages": "Hi"}', /bad\.jsonl:2: messages: expected array/],
    ['{"messages": [{"role": "assistant"}]}', /bad\.jsonl:2: messages\[0\]\.content/],
    ['not JSON', /bad\.jsonl:2: expected JSON/],
  ])('of a file with %s are refused with its line, or made without it', async (line, message) => {
    const path = join(root, 'bad.jsonl');
    const good = JSON.stringify({ messages: hello });
    writeFileSync(path, `${good}\n${line}\n${good}\n`);
    await expect(buildChat({ inputs: [path], tokenizer, out })).rejects.toThrow(message);
    expect(existsSync(out)).toBe(false);
    const { badRecords, splits } = await buildChat({ inputs: [path], tokenizer, out, badRecords: 'skip' });
    expect([badRecords, splits.train!.conversations]).toEqual([1, 2]);
    await expect(buildChat({ inputs: [path], tokenizer, out })).rejects.toThrow(/expected a new folder/);
  });
});
