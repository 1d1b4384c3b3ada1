import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

/** Text and tokenizers that the data benches work on, unpacked into a folder of their own. */
export interface BenchCorpus {
  readonly folder: string;
  /** JSON lines with a field `text`. */
  readonly file: string;
  readonly texts: readonly string[];
  readonly bytes: number;
  /** tokenizer.json by name. */
  readonly tokenizers: Readonly<Record<'gpt2' | 'mistral', string>>;
  remove(): void;
}

/** Checkout that this file belongs to, compiled or not. */
function checkout(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}

/**
 * Unpacks the novels that ship with Strata.
 *
 * @param documents Makes this many documents of about 4 kB out of their paragraphs instead of taking whole novels.
 */
export function benchCorpus(documents?: number): BenchCorpus {
  const folder = mkdtempSync(join(tmpdir(), 'strata-bench-'));
  const novels = unzip('corpora/novels-small/train.jsonl.gz')
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { text: string }).text);
  const texts = documents === undefined ? novels : recombine(novels, documents);
  const file = join(folder, 'corpus.jsonl');
  writeFileSync(file, texts.map((text) => `${JSON.stringify({ text })}\n`).join(''));
  const tokenizers = { gpt2: join(folder, 'gpt2.json'), mistral: join(folder, 'mistral.json') };
  for (const [name, path] of Object.entries(tokenizers))
    writeFileSync(path, unzip(`test/fixtures/tokenizers/${name}.json.gz`));
  return {
    folder,
    file,
    texts,
    bytes: texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0),
    tokenizers,
    remove: () => rmSync(folder, { recursive: true }),
  };
}

const unzip = (path: string): string => gunzipSync(readFileSync(join(checkout(), path))).toString();

/** Documents of neighbouring paragraphs, taken here and there by a fixed rule. */
function recombine(novels: readonly string[], documents: number): string[] {
  const text = novels.join('\n\n');
  return Array.from({ length: documents }, (_, i) => {
    const start = text.indexOf(' ', (i * 104_729 + (i % 7) * 1_299_709) % (text.length - 8192));
    return text.slice(start + 1, start + 2048 + ((i * 7919) % 4096));
  });
}
