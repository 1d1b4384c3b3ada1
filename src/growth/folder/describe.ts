import { existsSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { countParameters } from '../../architecture/index.js';
import { writeFileAtomic } from '../../files/atomic.js';
import type { Checkpoint } from '../../interop/index.js';
import { sha256 } from '../../records/canonical.js';
import { addedLayers } from '../moments.js';
import type { Plan } from '../plan.js';

/** What a grown folder says of its growth beside config.json: `strata.json`. */
export const GROWTH_FILE = 'strata.json';

/**
 * Writes strata.json and the model card of a grown model.
 *
 * @returns Fields of its manifest: parents, and what was paid for them.
 */
export function writeGrowthRecords(folder: string, plan: Plan, checkpoint: Checkpoint): Record<string, unknown> {
  const growth = {
    operator: plan.operator,
    options: plan.options,
    planHash: plan.planHash,
    preservesFunction: plan.preservesFunction,
    growthFactor: plan.growthFactor,
    sourceParameters: countParameters(plan.source).total,
    targetParameters: countParameters(plan.target).total,
    addedLayers: addedLayers(plan),
    ...(plan.layers === undefined ? {} : { layers: plan.layers }),
    ...(plan.masks === undefined ? {} : { masks: plan.masks }),
  };
  writeFileAtomic(join(folder, GROWTH_FILE), `${JSON.stringify({ format: 1, growth }, null, 1)}\n`);
  const fields = manifestFields(plan, checkpoint);
  writeFileAtomic(join(folder, 'README.md'), modelCard(plan, checkpoint, fields));
  return fields;
}

function manifestFields(plan: Plan, checkpoint: Checkpoint): Record<string, unknown> {
  const parent = checkpoint.manifest;
  const manifestPath = join(checkpoint.folder, 'manifest.json');
  const carried = Object.entries(parent ?? {}).filter(([field]) => /^(step|tokens|stages|flops.*)$/.test(field));
  return {
    kind: 'grown',
    operator: plan.operator,
    planHash: plan.planHash,
    ...Object.fromEntries(carried),
    ...(parent?.flops === undefined ? { parentFlops: 'unknown' } : {}),
    parents: [
      {
        name: nameOf(checkpoint.folder),
        ...(existsSync(manifestPath) ? { manifestSha256: sha256(readFileSync(manifestPath)) } : {}),
      },
    ],
  };
}

/** A run's checkpoint is named with its run and step, any other folder by its own name. */
function nameOf(folder: string): string {
  const parts = resolve(folder).split('/');
  return parts.at(-2) === 'checkpoints' ? `${parts.at(-3)}@${parts.at(-1)}` : basename(resolve(folder));
}

function modelCard(plan: Plan, checkpoint: Checkpoint, fields: Record<string, unknown>): string {
  const [source, target] = [countParameters(plan.source), countParameters(plan.target)];
  const count = (value: number): string => value.toLocaleString('en-US');
  const name = nameOf(checkpoint.folder);
  const flops = fields['flops'] === undefined ? 'unknown' : (fields['flops'] as number).toExponential(3);
  const changed = Object.keys(plan.target)
    .filter((field) => JSON.stringify(plan.target[field]) !== JSON.stringify(plan.source[field]))
    .map((field) => `| ${field} | ${JSON.stringify(plan.source[field])} | ${JSON.stringify(plan.target[field])} |`);
  return `---
base_model: ${JSON.stringify(name)}
library_name: transformers
pipeline_tag: text-generation
tags: [strata, model-growth, ${plan.operator}]
---

# ${name}, grown by ${plan.operator}

This model was made out of \`${name}\` by the growth operator \`${plan.operator}\` of Strata. It has not been trained since.

| | source | target |
|---|---|---|
| parameters | ${count(source.total)} | ${count(target.total)} |
| without embeddings | ${count(source.nonEmbedding)} | ${count(target.nonEmbedding)} |
${changed.join('\n')}

- Growth factor (ratio of parameters without embeddings): ${plan.growthFactor.toFixed(3)}
- Computes the same function as its source: ${plan.preservesFunction.claimed ? 'yes' : 'no'} (${plan.preservesFunction.condition})
- FLOPs paid for it so far, its source included: ${flops}
- Options: \`${JSON.stringify(plan.options)}\`
- Plan: \`${plan.planHash}\`
`;
}
