import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type ModelConfig, preset, RandomStream, weightSize } from '../src/architecture/index.js';
import { WorkError } from '../src/errors.js';
import { executeOnFolder, type Plan, planGrowth } from '../src/growth/index.js';
import { openCheckpoint, saveModel } from '../src/interop/index.js';
import { measurePaired } from './pairs.js';
import type { Bench, BenchResult, CaseResult } from './types.js';
import { peerPython } from './venv.js';

/** 12 layers of the 1.1B size in bf16: 1.5 GB; three times the layers make 4 GB. */
const SOURCE = { num_hidden_layers: 12 };

interface GrowCase {
  readonly name: string;
  readonly cold: boolean;
  readonly plan: Plan;
}

function casesOf(source: ModelConfig): GrowCase[] {
  const stack = planGrowth({ operator: 'stack', source, factor: 3 });
  const width = planGrowth({ operator: 'hypercloning', source, factor: 2 });
  return [
    { name: 'stack, warm', cold: false, plan: stack },
    { name: 'stack, cold', cold: true, plan: stack },
    { name: 'hypercloning (computed, not copied), warm', cold: false, plan: width },
  ];
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
      for (const { name, cold, plan } of casesOf(source)) {
        if (options.filter !== undefined && !name.includes(options.filter)) continue;
        const grow = async (): Promise<number> => {
          rmSync(out, { recursive: true, force: true });
          setCache(base, cold);
          using checkpoint = openCheckpoint(base);
          return await seconds(() => executeOnFolder(plan, checkpoint, out));
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
        if (merger !== undefined && plan.operator === 'stack')
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
          details: { 'output bytes': bytesOf(out), 'peak of the plan, bytes': plan.peakBytes },
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
        'Source: 12 layers of the 1.1B size in bf16, numbers drawn. Ours writes, syncs and hashes the grown folder.',
        'cp: cp --reflink=never of the grown folder, sync of the copy, sha256sum of the copy.',
        'Cold: the files that are read were dropped from the page cache before; warm: they were read into it.',
      ],
    };
  },
};
