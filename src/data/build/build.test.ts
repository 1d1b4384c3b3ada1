import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDataset } from '../dataset.js';
import { Loader } from '../loader.js';
import { loadTokenizer } from '../tokenizer/load.js';
import { trainTokenizer } from '../tokenizer/train-tokenizer.js';
import { type BuildOptions, buildDataset } from './build.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-build-'));
const tokenizer = join(folder, 'tokenizer.json');
const novels = new URL('../../../corpora/novels-small/', import.meta.url).pathname;
const train = join(novels, 'train.jsonl.gz');
const validation = join(novels, 'validation.jsonl.gz');
let made = 0;
const newFolder = (): string => join(folder, `out-${made++}`);
const write = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};
const build = (options: Omit<BuildOptions, 'tokenizer' | 'out'> & Partial<BuildOptions>) =>
  buildDataset({ tokenizer, out: newFolder(), ...options });

/** Names and hashes of all files below a folder, `build.json` aside. */
function contentOf(root: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const name of readdirSync(root, { recursive: true, encoding: 'utf8' }).sort()) {
    const path = join(root, name);
    if (statSync(path).isFile() && name !== 'build.json')
      files[name] = createHash('sha256').update(readFileSync(path)).digest('hex');
  }
  return files;
}

beforeAll(async () => {
  await trainTokenizer({ inputs: [validation], vocabSize: 1000, out: tokenizer });
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('a build', () => {
  test('holds the tokens of each document, each with EOS behind it', async () => {
    const texts = ['One.', 'Two words', '<|endoftext|> inside', '日本'];
    const input = write('four.jsonl', texts.map((text) => JSON.stringify({ text })).join('\n'));
    const { splits } = await build({ inputs: [input] });
    const { folder: out, index } = splits.train!;
    using dataset = openDataset(out);
    const tokens = new Int32Array(dataset.tokens);
    dataset.read(0, tokens.length, tokens);
    const encoder = loadTokenizer(tokenizer);
    const expected = texts.flatMap((text) => [...encoder.encode(text), encoder.eosId!]);
    expect([...tokens]).toEqual(expected);
    expect(index).toMatchObject({ dtype: 'uint16', documents: 4, vocabSize: 1000, textBytes: 4 + 9 + 20 + 6 });
    const ends = new Uint32Array(new Uint8Array(readFileSync(join(out, '00000.ends'))).buffer);
    expect(ends.length).toBe(4);
    expect(ends.at(-1)).toBe(expected.length);
  });

  test('is the same for any number of workers, any interruption and any kill', async () => {
    const options = { inputs: [train], validation: { inputs: [validation] }, tokensPerShard: 300_000 };
    const whole = newFolder();
    await build({ ...options, out: whole });
    const expected = contentOf(whole);
    expect(Object.keys(expected).filter((name) => name.endsWith('.bin')).length).toBeGreaterThan(4);

    const threads = newFolder();
    await build({ ...options, out: threads, workers: 3 });
    expect(contentOf(threads)).toEqual(expected);

    const interrupted = newFolder();
    let calls = 0;
    for (let finished = false; !finished; calls++) {
      const stop = new AbortController();
      let batches = 0;
      const onProgress = (): void => void (++batches === 2 && stop.abort());
      ({ finished } = await build({ ...options, out: interrupted, signal: stop.signal, onProgress }));
      // What a crash may leave behind the checkpoint: a longer open file.
      const open = readdirSync(join(interrupted, 'train')).find((name) => name.endsWith('.bin.partial'));
      if (!finished && open !== undefined) writeFileSync(join(interrupted, 'train', open), 'torn', { flag: 'a' });
    }
    expect(calls).toBeGreaterThan(2);
    expect(contentOf(interrupted)).toEqual(expected);
  }, 30_000);

  test('sends documents to validation by their hash, whatever their order', async () => {
    const lines = Array.from({ length: 400 }, (_, i) => JSON.stringify({ text: `document number ${i}` }));
    const split = async (content: string[]) =>
      (await build({ inputs: [write('many.jsonl', content.join('\n'))], validation: { fraction: 0.25 } })).splits;
    const forth = await split(lines);
    const back = await split([...lines].reverse());
    expect(forth.validation!.index.documents + forth.train!.index.documents).toBe(400);
    // Binomial with mean 100 and standard deviation 8.7.
    expect(Math.abs(forth.validation!.index.documents - 100)).toBeLessThan(35);
    expect(back.validation!.index.documents).toBe(forth.validation!.index.documents);
    expect(back.validation!.index.tokens).toBe(forth.validation!.index.tokens);
  });

  test('of a long text file is one document, cut nowhere', async () => {
    const text = Array.from({ length: 300_000 }, (_, i) => `word${i % 977}${i % 7 === 0 ? '\n\n' : ' '}`).join('');
    const { splits } = await build({ inputs: [write('long.txt', text)], workers: 2 });
    using dataset = openDataset(splits.train!.folder);
    const encoder = loadTokenizer(tokenizer);
    const tokens = new Int32Array(dataset.tokens);
    dataset.read(0, tokens.length, tokens);
    const expected = encoder.encode(text);
    expect(dataset.documents).toBe(1);
    expect(Buffer.from(tokens.slice(0, -1).buffer).equals(Buffer.from(expected.buffer))).toBe(true);
  });

  test('done once is not done again; other options in its folder are refused', async () => {
    const out = newFolder();
    const input = write('one.jsonl', '{"text":"a"}\n');
    await build({ inputs: [input], out });
    const before = statSync(join(out, 'train/index.json')).mtimeMs;
    await build({ inputs: [input], out });
    expect(statSync(join(out, 'train/index.json')).mtimeMs).toBe(before);
    await expect(build({ inputs: [input], out, tokensPerShard: 5 })).rejects.toThrow('found another tokensPerShard');
  });
});

describe('quality steps', () => {
  const line = (text: string): string => `${JSON.stringify({ text })}\n`;
  const sentence = (i: number): string => Array.from({ length: 60 }, (_, k) => `w${(i * 61 + k) * 7919}`).join(' ');
  const documentsOf = (out: string): string[] => {
    using dataset = openDataset(out);
    const encoder = loadTokenizer(tokenizer);
    return Array.from({ length: dataset.documents }, (_, i) => {
      const { start, end } = dataset.documentRange(i);
      const tokens = new Int32Array(end - start - 1);
      dataset.read(start, tokens.length, tokens);
      return encoder.decode(tokens);
    });
  };

  test('drop what equals an earlier document, of validation data too', async () => {
    const held = write('held.jsonl', line('held out'));
    const input = write(
      'twice.jsonl',
      [sentence(1), sentence(2), 'held out', sentence(1), sentence(3)].map(line).join(''),
    );
    const { splits, duplicates } = await build({
      inputs: [input],
      validation: { inputs: [held] },
      deduplicate: 'exact',
    });
    expect(documentsOf(splits.train!.folder)).toEqual([sentence(1), sentence(2), sentence(3)]);
    expect(duplicates).toBe(2);
    expect(splits.train!.index.steps).toContainEqual({ name: 'deduplicate', kind: 'exact', dropped: 2 });
    expect(splits.train!.index.textBytes).toBe([1, 2, 3].reduce((sum, i) => sum + sentence(i).length, 0));
  });

  test('drop what nearly equals an earlier document', async () => {
    const near = `${sentence(1)} and a little more`;
    const input = write('near.jsonl', [sentence(1), near, sentence(2)].map(line).join(''));
    const exact = await build({ inputs: [input], deduplicate: 'exact' });
    const { splits } = await build({ inputs: [input], deduplicate: 'near' });
    expect(exact.duplicates).toBe(0);
    expect(documentsOf(splits.train!.folder)).toEqual([sentence(1), sentence(2)]);
  });

  test('give the same for any number of workers and interruptions', async () => {
    const texts = Array.from({ length: 5000 }, (_, i) => sentence((i * 37) % 3500));
    const input = write('shuffled.jsonl', texts.map(line).join(''));
    const options = {
      inputs: [input],
      deduplicate: 'near',
      limits: { repetition: true, minBytes: sentence(100).length },
    } as const;
    const whole = newFolder();
    const { duplicates, dropped } = await build({ ...options, out: whole });
    expect(duplicates).toBeGreaterThan(1400);
    expect(dropped.short).toBeGreaterThan(0);
    const other = newFolder();
    for (let finished = false; !finished; ) {
      const stop = new AbortController();
      let batches = 0;
      const onProgress = (): void => void (++batches === 1 && stop.abort());
      ({ finished } = await build({ ...options, out: other, workers: 2, signal: stop.signal, onProgress }));
    }
    expect(contentOf(other)).toEqual(contentOf(whole));
  }, 60_000);
});

describe('a build that is killed', () => {
  test('goes on to the same shards', async () => {
    const options: BuildOptions = { inputs: [train], tokenizer, out: newFolder(), tokensPerShard: 200_000 };
    const killed = { ...options, out: newFolder() };
    await buildDataset(options);
    const jiti = createRequire(import.meta.url).resolve('jiti');
    const source = fileURLToPath(new URL('./build.ts', import.meta.url));
    const script = `import(${JSON.stringify(pathToFileURL(jiti).href)}).then(async ({ createJiti }) => {
      const { buildDataset } = await createJiti(${JSON.stringify(source)}).import(${JSON.stringify(source)});
      await buildDataset({ ...${JSON.stringify(killed)}, onProgress: () => console.log('batch') });
    });`;
    for (const batches of [1, 2, 4]) {
      const child = spawn(process.execPath, ['--eval', script], { stdio: ['ignore', 'pipe', 'inherit'] });
      let seen = 0;
      child.stdout.on('data', (text: Buffer) => {
        seen += text.toString().split('batch').length - 1;
        if (seen >= batches) child.kill('SIGKILL');
      });
      await once(child, 'exit');
    }
    await buildDataset(killed);
    expect(contentOf(killed.out)).toEqual(contentOf(options.out));
  }, 60_000);
});

describe('bad input', () => {
  test.each([
    ['cut.jsonl.gz', gzipSync('{"text":"a"}\n'.repeat(1000)).subarray(0, 60), 'expected whole gzip data'],
    ['empty.jsonl.gz', '', 'expected whole gzip data, found an empty file'],
    ['noise.jsonl.zst', 'no zstd at all, but some text', 'expected whole zstd data'],
    ['noise.parquet', 'PAR1 but nothing behind it PAR1', 'expected a whole Parquet file'],
    ['empty.parquet', '', 'expected a Parquet file, found only 0 bytes'],
    ['other.csv', 'a,b\n1,2\n', 'expected a column "text", found "a", "b"'],
    ['bad.jsonl', '{"text":"a"}\n{"text":1}\n', ':2: field "text": expected text, found a number'],
    ['torn.jsonl', '{"text":"a"}\n{"te', ':2: expected a JSON object, found bad JSON'],
    ['bytes.txt', Buffer.from([0x61, 0xff]), ':1: expected UTF-8'],
    ['nothing.jsonl', '\n\n', 'expected documents for train, found none'],
  ])('%s is refused in a sentence and leaves nothing', async (name, content, expected) => {
    const out = newFolder();
    const input = write(name, content);
    await expect(build({ inputs: [input], out })).rejects.toThrow(expected);
    expect(readdirSync(out)).toEqual([]);
  });

  test('may be skipped and is counted', async () => {
    const input = write('mixed.jsonl', '{"text":"a"}\n{"text":1}\nnoise\n{"text":"b"}\n');
    const lines: number[] = [];
    const result = await build({ inputs: [input], badRecords: 'skip', onBadRecord: ({ line }) => lines.push(line) });
    expect(result.badRecords).toBe(2);
    expect(lines).toEqual([2, 3]);
    expect(result.splits.train!.index.documents).toBe(2);
  });

  test('a damaged data set is refused by name and field', async () => {
    const { splits } = await build({ inputs: [write('ok.jsonl', '{"text":"some words here"}\n')] });
    const out = splits.train!.folder;
    const shard = join(out, '00000.bin');
    const bytes = readFileSync(shard);
    bytes[0]! ^= 1;
    writeFileSync(shard, bytes);
    expect(() => openDataset(out)).toThrow(`${shard}: expected the checksum`);
    truncateSync(shard, 4);
    expect(() => openDataset(out)).toThrow(`${shard}: expected ${bytes.length} bytes`);
    rmSync(shard);
    expect(() => openDataset(out)).toThrow(`${shard}: expected a shard`);
    const index = join(out, 'index.json');
    writeFileSync(index, readFileSync(index, 'utf8').replace('"uint16"', '"float64"'));
    expect(() => openDataset(out)).toThrow(`${index}: dtype: `);
  });
});

describe('the loader', () => {
  test('gives each sequence of an epoch once, with targets one token on, for any share', async () => {
    const { splits } = await build({ inputs: [validation], tokensPerShard: 100_000 });
    using dataset = openDataset(splits.train!.folder);
    const length = 100;
    const loader = new Loader(dataset, { sequenceLength: length, seed: 3 });
    const all = new Int32Array(dataset.tokens);
    dataset.read(0, all.length, all);
    const count = loader.sequencesPerEpoch;
    const inputs = new Int32Array(count * length);
    const targets = new Int32Array(count * length);
    loader.read(count * 2, count, inputs, targets);
    const seen = new Set<number>();
    for (let i = 0; i < count; i++) {
      const position = loader.positionOf(count * 2 + i);
      seen.add(position);
      const start = position * length;
      if (i % 97 !== 0) continue;
      expect([...inputs.subarray(i * length, (i + 1) * length)]).toEqual([...all.subarray(start, start + length)]);
      expect([...targets.subarray(i * length, (i + 1) * length)]).toEqual([
        ...all.subarray(start + 1, start + length + 1),
      ]);
    }
    expect(seen.size).toBe(count);
  });

  test('gives two ranks together what one rank gets, and refuses uneven shares', async () => {
    const { splits } = await build({ inputs: [validation] });
    using dataset = openDataset(splits.train!.folder);
    const loader = new Loader(dataset, { sequenceLength: 32, seed: 3 });
    const whole = new Int32Array(8 * 32);
    const parts = new Int32Array(8 * 32);
    const targets = new Int32Array(8 * 32);
    loader.read(1000, 8, whole, targets);
    for (const rank of [0, 1, 2, 3])
      expect(loader.read(1000, 8, parts.subarray(rank * 64), targets.subarray(rank * 64), { rank, worldSize: 4 })).toBe(
        2,
      );
    expect(parts).toEqual(whole);
    expect(() => loader.read(0, 8, whole, targets, { rank: 0, worldSize: 3 })).toThrow('3 ranks can share evenly');
  });

  test('reads in the order of the file where it is not to shuffle', async () => {
    const { splits } = await build({ inputs: [validation] });
    using dataset = openDataset(splits.train!.folder);
    const loader = new Loader(dataset, { sequenceLength: 32, seed: 3, shuffle: false });
    expect([0, 1, 2, loader.sequencesPerEpoch].map((index) => loader.positionOf(index))).toEqual([0, 1, 2, 0]);
  });
});
