import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { buildTinyData, tinyRun } from '../../test/support/tiny-run.js';
import { executeOnFolder, planGrowth } from '../growth/index.js';
import { openCheckpoint } from '../interop/index.js';
import { parseConfig } from './config/index.js';
import { prepareOnFolder } from './prepare-folder.js';
import { runTraining } from './run.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-prepare-'));
let data = '';
beforeAll(async () => {
  data = await buildTinyData(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('learns an expansion for a folder, and books it onto what the source cost', async () => {
  const optimizer = { lr: 4e-3 };
  const stages = [{ name: 'base', kind: 'train' as const, until: { steps: 10 }, optimizer }];
  const model = { ...(tinyRun(data).model as object), num_hidden_layers: 2 };
  const base = await runTraining(parseConfig({ ...tinyRun(data), model, stages }), {
    out: join(folder, 'base'),
    threads: 1,
  });
  using checkpoint = openCheckpoint(base.folder);
  const options = { steps: 6, learningRate: 0.01, warmupSteps: 1 };
  const plan = planGrowth({ operator: 'ligo-depth', source: checkpoint.config, factor: 2, options });
  const learned = await prepareOnFolder(plan, checkpoint, { data, sequenceLength: 64, batchTokens: 512, threads: 1 });
  expect(learned.losses).toHaveLength(6);
  expect(learned.losses[5]).toBeLessThan(learned.losses[0]!);
  const out = join(folder, 'grown');
  const { manifest } = await executeOnFolder(plan, checkpoint, out, {
    learned: learned.tensor,
    manifest: learned.manifest,
  });
  expect(BigInt(manifest['flopsExact'] as string)).toBe(BigInt(base.flopsExact) + learned.flops);
  expect(manifest['tokens']).toBe(base.tokens);
  using grown = openCheckpoint(out);
  const up = 'model.layers.3.mlp.up_proj.weight';
  const w = learned.tensor('ligo.depth.up');
  const [a, b] = [0, 1].map((layer) => checkpoint.read(up.replace('3', String(layer))));
  expect(grown.read(up)[7]).toBeCloseTo(w[6]! * a![7]! + w[7]! * b![7]!, 6);
  const predicted = planGrowth({ operator: 'lesa', source: grown.config, options: { epochs: 2, hidden: 16 } });
  const layers = await prepareOnFolder(predicted, grown, { threads: 1 });
  const deeper = await executeOnFolder(predicted, grown, join(folder, 'deeper'), {
    learned: layers.tensor,
    manifest: layers.manifest,
  });
  expect(BigInt(deeper.manifest['flopsExact'] as string)).toBe(BigInt(manifest['flopsExact'] as string) + layers.flops);
  await expect(prepareOnFolder(plan, checkpoint, { data, sequenceLength: 99_999 })).rejects.toThrow(
    /max_position_embeddings are 64/,
  );
});
