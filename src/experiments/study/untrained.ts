import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fillInitial, weightSize } from '../../architecture/index.js';
import { publishFolder } from '../../files/atomic.js';
import { MANIFEST_FILE, saveModel, writeManifest } from '../../interop/index.js';
import { FlopLedger } from '../../planner/index.js';
import { parseConfig, planRun, type RunFacts } from '../../train/index.js';
import type { Trunk } from './trunks.js';

/** The plan of a run that trains nothing yet: its model, as data and config make it. */
export function drawnModel(run: Trunk['run'], facts: RunFacts) {
  const config = parseConfig({
    ...{ ...run, name: 'untrained' },
    stages: [
      {
        ...{ name: 'none', kind: 'train', until: { steps: 1 }, optimizer: { lr: 1 } },
        schedule: { kind: 'constant', warmup: 1 },
      },
    ],
  });
  return planRun(config, facts).stages[0]!;
}

/** Writes a model as its seed draws it, with a manifest that says that nothing was paid for it. */
export function writeUntrained(folder: string, run: Trunk['run'], facts: RunFacts): void {
  if (existsSync(join(folder, MANIFEST_FILE))) return;
  const temporary = `${folder}.partial`;
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(dirname(folder), { recursive: true });
  const { model } = drawnModel(run, facts);
  const files = saveModel(temporary, model, (spec) => {
    const values = new Float32Array(weightSize(spec));
    fillInitial(values, spec, model, run.seed ?? 1);
    return values;
  });
  writeManifest(temporary, { step: 0, ...new FlopLedger().totals() }, files);
  rmSync(folder, { recursive: true, force: true });
  publishFolder(temporary, folder);
}
