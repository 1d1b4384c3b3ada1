import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { importTokens } from '../formats/import.js';
import { mixDatasets } from '../mix/mix.js';
import { trainTokenizer } from '../tokenizer/train-tokenizer.js';
import { verifyDataset } from './verify.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-conversion-'));
const tokenizer = join(folder, 'tokenizer.json');
const tokensPerShard = 1000;
const files = Array.from({ length: 8 }, (_, i) => join(folder, `tokens-${i}.bin`));
const [first, second] = [join(folder, 'first'), join(folder, 'second')] as const;

beforeAll(async () => {
  const text = join(folder, 'text.txt');
  writeFileSync(text, 'a few words to make a tokenizer of');
  await trainTokenizer({ inputs: [text], vocabSize: 260, out: tokenizer });
  // Documents of 1 to 30 tokens; EOS is 0.
  files.forEach((file, i) =>
    writeFileSync(
      file,
      Uint16Array.from({ length: 700 }, (_, k) => (k === 699 || k % (7 + i * 3) === 6 ? 0 : 1 + ((k * 31 + i) % 250))),
    ),
  );
  importTokens({ inputs: files.slice(0, 5), tokenizer, out: first });
  importTokens({ inputs: files.slice(5), tokenizer, out: second });
});
afterAll(() => rmSync(folder, { recursive: true }));

const contentOf = (out: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(out)
      .sort()
      .map((name) => [name, readFileSync(join(out, name), 'hex')]),
  );

/** Calls a function of a module in a process that kills itself at the `calls`-th report of progress; returns the reports. */
function killed(module: string, name: string, options: object, calls: number): number[] {
  const jiti = createRequire(import.meta.url).resolve('jiti');
  const source = fileURLToPath(new URL(module, import.meta.url));
  const script = `import(${JSON.stringify(pathToFileURL(jiti).href)}).then(async ({ createJiti }) => {
    const { ${name} } = await createJiti(${JSON.stringify(source)}).import(${JSON.stringify(source)});
    let calls = 0;
    const onProgress = (tokens) => {
      require('node:fs').writeSync(1, tokens + '\\n');
      if (++calls === ${calls}) process.kill(process.pid, 'SIGKILL');
    };
    ${name}({ ...${JSON.stringify(options)}, onProgress });
  });`;
  const { signal, stdout, stderr } = spawnSync(process.execPath, ['--eval', script], { encoding: 'utf8' });
  expect(signal, stderr).toBe('SIGKILL');
  return stdout.trim().split('\n').map(Number);
}

describe('a conversion that is killed goes on at the last whole shard, to the same files', () => {
  test.each([
    [
      'mix',
      '../mix/mix.ts',
      'mixDatasets',
      (out: string) => {
        const sources = [first, second].map((path, i) => ({ folder: path, weight: 3 - i }));
        return { sources, tokens: 9000, maxEpochs: 4, seed: 5, tokensPerShard, out };
      },
      mixDatasets,
      250,
    ],
    [
      'import',
      '../formats/import.ts',
      'importTokens',
      (out: string) => ({ inputs: files, tokenizer, tokensPerShard, out }),
      importTokens,
      3,
    ],
  ] as const)('%s', (kind, module, name, optionsOf, call, calls) => {
    const [whole, out] = [join(folder, `${kind}-whole`), join(folder, `${kind}-killed`)];
    (call as (options: object) => void)(optionsOf(whole));
    let stood = 0;
    for (const times of [calls, calls]) {
      const reports = killed(module, name, optionsOf(out), times);
      // It goes on behind the whole shards of the process before.
      expect(reports[0]).toBeGreaterThan(stood);
      stood = Math.floor(reports.at(-1)! / tokensPerShard / 2) * tokensPerShard;
      expect(stood).toBeGreaterThan(0);
      expect(existsSync(out)).toBe(false);
    }
    const after: number[] = [];
    (call as (options: object) => void)({ ...optionsOf(out), onProgress: (tokens: number) => after.push(tokens) });
    expect(after[0]).toBeGreaterThan(stood);
    expect(contentOf(out)).toEqual(contentOf(whole));
    expect(existsSync(`${out}.partial`)).toBe(false);
    verifyDataset(out);
  });

  test('another call starts anew', () => {
    const out = join(folder, 'other');
    killed('../formats/import.ts', 'importTokens', { inputs: files, tokenizer, tokensPerShard, out }, 4);
    expect(existsSync(join(`${out}.partial`, 'progress.json'))).toBe(true);
    const again = importTokens({ inputs: files.slice(0, 2), tokenizer, tokensPerShard, out });
    expect(again.tokens).toBe(1400);
    expect(readdirSync(out).sort()).toEqual(['00000.bin', '00000.ends', 'index.json', 'tokenizer.json']);
  });

  test('what is damaged is not gone on with', () => {
    const out = join(folder, 'damaged');
    mkdirSync(`${out}.partial`);
    writeFileSync(join(`${out}.partial`, 'progress.json'), '{"config":');
    expect(importTokens({ inputs: files, tokenizer, out }).tokens).toBe(5600);
  });
});
