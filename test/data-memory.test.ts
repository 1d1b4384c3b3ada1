import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { Permutation, readIndex } from '../src/data/index.js';
import { strata } from './support/strata.js';
import { skipUnlessSlow } from './support/tiers.js';

const BYTES = 1e9;
/** Of the whole process, its workers included. */
const MOST_RESIDENT_BYTES = 500e6;
const PARAGRAPHS_PER_DOCUMENT = 12;

const unzip = (path: string): string =>
  gunzipSync(readFileSync(fileURLToPath(new URL(`../${path}`, import.meta.url)))).toString();

/** Writes JSON lines of the novels' paragraphs, shuffled anew each time all have been used; returns documents and bytes of text. */
function writeCorpus(file: string): { documents: number; textBytes: number } {
  const paragraphs = unzip('corpora/novels-small/train.jsonl.gz')
    .trim()
    .split('\n')
    .flatMap((line) => (JSON.parse(line) as { text: string }).text.split('\n\n'));
  const order = new Permutation(paragraphs.length, 1);
  const descriptor = openSync(file, 'w');
  let [written, documents, textBytes] = [0, 0, 0];
  for (let epoch = 0; written < BYTES; epoch++) {
    order.reseed(1, epoch);
    for (let i = 0; i < paragraphs.length && written < BYTES; i += PARAGRAPHS_PER_DOCUMENT) {
      const count = Math.min(PARAGRAPHS_PER_DOCUMENT, paragraphs.length - i);
      const text = Array.from({ length: count }, (_, k) => paragraphs[order.at(i + k)]).join('\n\n');
      written += writeSync(descriptor, `${JSON.stringify({ text })}\n`);
      documents++;
      textBytes += Buffer.byteLength(text);
    }
  }
  closeSync(descriptor);
  return { documents, textBytes };
}

test('a build of 1 GB of text with two workers stays below 500 MB of memory', {
  timeout: 1_800_000,
}, async (context) => {
  skipUnlessSlow(context);
  const folder = mkdtempSync(join(tmpdir(), 'strata-memory-'));
  try {
    const [corpus, tokenizer, out] = ['corpus.jsonl', 'tokenizer.json', 'data'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const wanted = writeCorpus(corpus);
    writeFileSync(tokenizer, unzip('test/fixtures/tokenizers/gpt2.json.gz'));
    const [observer, peak] = [join(folder, 'observer.cjs'), join(folder, 'peak')];
    writeFileSync(
      observer,
      `process.on('exit', () => require('node:fs').writeFileSync(${JSON.stringify(peak)}, String(process.resourceUsage().maxRSS)));`,
    );
    const started = performance.now();
    const { code, stderr } = await strata(
      ['data', 'build', corpus, '--tokenizer', tokenizer, '--out', out, '--workers', '2'],
      { env: { NODE_OPTIONS: `--require ${observer}` } },
    );
    expect(code, stderr).toBe(0);
    const resident = Number(readFileSync(peak, 'utf8')) * 1024;
    console.log(
      `${(wanted.textBytes / 1e6).toFixed(0)} MB of text in ${((performance.now() - started) / 1000).toFixed(0)} s, ` +
        `peak ${(resident / 1e6).toFixed(0)} MB`,
    );
    expect(readIndex(join(out, 'train'))).toMatchObject(wanted);
    expect(resident).toBeGreaterThan(0);
    expect(resident).toBeLessThan(MOST_RESIDENT_BYTES);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
