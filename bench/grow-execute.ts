import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ModelConfig, preset, RandomStream, weightSize } from '../src/architecture/index.js';
import { WorkError } from '../src/errors.js';
import { planGrowth, storedSpecs } from '../src/growth/index.js';
import { saveModel } from '../src/interop/index.js';
import { measurePaired } from './pairs.js';
import type { Bench, BenchResult, CaseResult } from './types.js';
import { peerPython } from './venv.js';

/** 12 layers of the 1.1B size in bf16: 1.5 GB; three times the layers make 4 GB. */
const SOURCE = { num_hidden_layers: 12 };

const BF16_BYTES = 2;
/** What growth may hold beside the largest tensor. */
const ALLOWED_BYTES = 200e6;

interface GrowCase {
  readonly name: string;
  readonly cold: boolean;
  readonly operator: string;
  readonly factor: number;
  readonly options?: readonly string[];
}

const cases: readonly GrowCase[] = [
  { name: 'stack, warm', cold: false, operator: 'stack', factor: 3 },
  { name: 'stack, cold', cold: true, operator: 'stack', factor: 3 },
  { name: 'average (a third computed), warm', cold: false, operator: 'average', factor: 1.5 },
  {
    name: 'hypercloning without noise (all computed), warm',
    cold: false,
    operator: 'hypercloning',
    factor: 2,
    options: ['faithful=true'],
  },
  { name: 'hypercloning (noise drawn), warm', cold: false, operator: 'hypercloning', factor: 2 },
];

/** The command under measurement, and the largest memory that it held. */
class Grower {
  readonly #observer: string;
  readonly #peak: string;
  peakBytes = 0;

  constructor(root: string) {
    [this.#observer, this.#peak] = [join(root, 'observer.cjs'), join(root, 'peak')];
    // Linux: the high-water mark of the program itself; resourceUsage counts what its parent held when it was started.
    writeFileSync(
      this.#observer,
      `const { existsSync, readFileSync, writeFileSync } = require('node:fs');
process.on('exit', () => {
  const status = existsSync('/proc/self/status') ? readFileSync('/proc/self/status', 'utf8') : '';
  const kilobytes = /^VmHWM:\\s+(\\d+)/m.exec(status)?.[1] ?? process.resourceUsage().maxRSS;
  writeFileSync(${JSON.stringify(this.#peak)}, String(kilobytes));
});
`,
    );
  }

  run(base: string, out: string, { operator, factor, options = [] }: GrowCase): void {
    const main = fileURLToPath(new URL('../src/cli/main.js', import.meta.url));
    const grow = ['grow', base, '--operator', operator, '--factor', String(factor), '--out', out, '--quiet'];
    const args = ['--require', this.#observer, main, ...grow, ...options.flatMap((option) => ['--opt', option])];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    if (status !== 0) throw new WorkError(`bench: strata ${grow.join(' ')} failed: ${stderr.trim()}`);
    this.peakBytes = Math.max(this.peakBytes, Number(readFileSync(this.#peak, 'utf8')) * 1024);
  }
}

function sh(script: string): void {
  const { status, stderr } = spawnSync('bash', ['-ec', script], { encoding: 'utf8' });
  if (status !== 0) throw new WorkError(`bench: ${script.slice(0, 80)} failed: ${stderr.trim()}`);
}

/** Drops the pages of a folder's files from the cache, or reads them into it. */
function setCache(folder: string, cold: boolean): void {
  for (const name of readdirSync(folder))
    sh(
      cold
        ? `sync '${join(folder, name)}'; dd if='${join(folder, name)}' iflag=nocache count=0 status=none`
        : `cat '${join(folder, name)}' > /dev/null`,
    );
}

/** Bytes of the target's largest tensor, as it is stored. */
function largestBytes(source: ModelConfig, operator: string, factor: number): number {
  const { target } = planGrowth({ operator, source, factor });
  return BF16_BYTES * Math.max(...storedSpecs(target).map(weightSize));
}

const bytesOf = (folder: string): number =>
  readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);

async function seconds(work: () => unknown): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

/** Writes the source: numbers that do not repeat, so that nothing can be compressed or shared. */
function writeSource(folder: string): ModelConfig {
  const config = preset('gstack-1.1b', SOURCE);
  const numbers = new Float32Array(2048 * 32000);
  new RandomStream(1, 'bench').fillNormal(numbers, 0.02);
  saveModel(folder, config, (spec) => numbers.subarray(0, weightSize(spec)), { dtype: 'BF16' });
  return config;
}

/** mergekit's passthrough, which stacks whole layers; undefined where pip cannot get it. */
function mergekit(log: (line: string) => void): string | undefined {
  try {
    return join(dirname(peerPython(['mergekit', 'transformers'], log)), 'mergekit-yaml');
  } catch (error) {
    if (!(error instanceof WorkError)) throw error;
    log(`mergekit is left out: ${error.message}`);
    return undefined;
  }
}

export const bench: Bench = {
  summary: 'growing a checkpoint folder, against cp + sync + sha256sum of the same bytes and mergekit',
  defaultRepetitions: 3,
  async run(options): Promise<BenchResult> {
    const root = mkdtempSync(join(tmpdir(), 'strata-grow-'));
    const [base, out, copy, merged] = ['base', 'out', 'copy', 'merged'].map((name) => join(root, name)) as [
      string,
      string,
      string,
      string,
    ];
    const results: CaseResult[] = [];
    try {
      const source = writeSource(base);
      const merger = mergekit(options.log);
      for (const one of cases) {
        const { name, cold, operator, factor } = one;
        if (options.filter !== undefined && !name.includes(options.filter)) continue;
        const grower = new Grower(root);
        const grow = (): Promise<number> => {
          rmSync(out, { recursive: true, force: true });
          setCache(base, cold);
          return seconds(() => grower.run(base, out, one));
        };
        // What the copy copies must be there first, whoever is measured first.
        await grow();
        const peers: Record<string, () => Promise<number>> = {
          cp: () => {
            rmSync(copy, { recursive: true, force: true });
            setCache(out, cold);
            return seconds(() =>
              sh(`cp -r --reflink=never '${out}' '${copy}'; sync '${copy}'/*; sha256sum '${copy}'/* > /dev/null`),
            );
          },
        };
        if (merger !== undefined && operator === 'stack')
          peers['mergekit'] = () => {
            const slice = `- sources: [{model: ${base}, layer_range: [0, ${source.num_hidden_layers}]}]\n`;
            const config = join(root, 'mergekit.yml');
            writeFileSync(config, `slices:\n${slice.repeat(3)}merge_method: passthrough\ndtype: bfloat16\n`);
            rmSync(merged, { recursive: true, force: true });
            setCache(base, cold);
            return seconds(() => sh(`'${merger}' '${config}' '${merged}'`));
          };
        const result = await measurePaired({ case: name, unit: 's', better: 'lower', ours: grow, peers }, options);
        results.push({
          ...result,
          details: {
            'output bytes': bytesOf(out),
            'peak resident bytes': grower.peakBytes,
            'largest tensor and 200 MB, bytes': largestBytes(source, operator, factor) + ALLOWED_BYTES,
          },
        });
        rmSync(copy, { recursive: true, force: true });
        rmSync(merged, { recursive: true, force: true });
      }
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
    return {
      results,
      versions: {},
      notes: [
        'Source: 12 layers of the 1.1B size in bf16, numbers drawn. Ours is the command strata grow, start included: it writes, syncs and hashes the grown folder.',
        'cp: cp --reflink=never of the grown folder, sync of the copy, sha256sum of the copy.',
        'Cold: the files that are read were dropped from the page cache before; warm: they were read into it.',
      ],
    };
  },
};
