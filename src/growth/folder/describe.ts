import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { countParameters } from '../../architecture/index.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { type Checkpoint, checkpointName, type PaidStage, paidStages, stageTable } from '../../interop/index.js';
import { sha256 } from '../../records/canonical.js';
import { addedLayers } from '../moments.js';
import type { Plan } from '../plan.js';

/** What a grown folder says of its growth beside config.json: `strata.json`. */
export const GROWTH_FILE = 'strata.json';

/**
 * Writes strata.json and the model card of a grown model.
 *
 * @param learned Fields of the manifest out of a phase in which the operator learned: what was paid, that phase included.
 * @returns Fields of its manifest: parents, and what was paid for them.
 */
export function writeGrowthRecords(
  folder: string,
  plan: Plan,
  checkpoint: Checkpoint,
  learned: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
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
  const fields = { ...manifestFields(plan, checkpoint, learned), ...learned };
  writeFileAtomic(join(folder, 'README.md'), modelCard(plan, checkpoint, fields));
  return fields;
}

function manifestFields(
  plan: Plan,
  checkpoint: Checkpoint,
  learned: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const parent = checkpoint.manifest;
  const manifestPath = join(checkpoint.folder, 'manifest.json');
  const carried = Object.entries(parent ?? {}).filter(([field]) => /^(step|tokens|flops.*)$/.test(field));
  return {
    kind: 'grown',
    operator: plan.operator,
    planHash: plan.planHash,
    ...Object.fromEntries(carried),
    ...(parent?.flops === undefined ? { parentFlops: 'unknown' } : {}),
    stages: stagesOf(plan, checkpoint, learned),
    parents: [
      {
        name: checkpointName(checkpoint.folder),
        ...(existsSync(manifestPath) ? { manifestSha256: sha256(readFileSync(manifestPath)) } : {}),
      },
    ],
  };
}

/** The stages of the source, and this growth: what its learning cost, or nothing. */
function stagesOf(
  plan: Plan,
  { folder, manifest }: Checkpoint,
  learned: Readonly<Record<string, unknown>>,
): PaidStage[] {
  const { flopsExact = '0' } = (learned['prepare'] ?? {}) as { flopsExact?: string };
  const growth = { stage: plan.operator, operator: plan.operator, planHash: plan.planHash, tokens: 0, flopsExact };
  return [...paidStages(folder, manifest), growth];
}

function modelCard(plan: Plan, checkpoint: Checkpoint, fields: Record<string, unknown>): string {
  const [source, target] = [countParameters(plan.source), countParameters(plan.target)];
  const count = (value: number): string => value.toLocaleString('en-US');
  const name = checkpointName(checkpoint.folder);
  const flops = fields['flops'] === undefined ? 'unknown' : (fields['flops'] as number).toExponential(3);
  const stages = stageTable((fields['stages'] as PaidStage[] | undefined) ?? []);
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
${stages === '' ? '' : `\n${stages}\n`}`;
}
