import { countParameters } from '../../architecture/index.js';
import type { FloatDType } from '../safetensors/index.js';
import type { Checkpoint } from './checkpoint.js';
import { checkpointName, type PaidStage, stageTable } from './lineage.js';

/** The model card of an exported checkpoint, as Markdown with the hub's front matter. */
export function exportCard(checkpoint: Checkpoint, stages: readonly PaidStage[], dtype: FloatDType): string {
  const { config, family, manifest } = checkpoint;
  const name = checkpointName(checkpoint.folder);
  const parents = manifest?.['parents'] as readonly { readonly name?: string }[] | undefined;
  const operators = [...new Set(stages.flatMap(({ operator }) => operator ?? []))];
  const { total, nonEmbedding } = countParameters(config);
  const count = (value: number): string => value.toLocaleString('en-US');
  return (
    [
      [
        '---',
        `base_model: ${JSON.stringify(parents?.[0]?.name ?? name)}`,
        'library_name: transformers',
        'pipeline_tag: text-generation',
        `tags: [${['strata', ...(operators.length === 0 ? [] : ['model-growth', ...operators])].join(', ')}]`,
        '---',
      ].join('\n'),
      `# ${name}`,
      `\`${name}\` as Strata wrote it, with weights in ${dtype}: ${family.architecture}, ${config.num_hidden_layers} layers, ${count(total)} parameters (${count(nonEmbedding)} without embeddings).`,
      ...(operators.length === 0
        ? []
        : [`It was grown by ${operators.map((operator) => `\`${operator}\``).join(', ')}.`]),
      ...(stages.length === 0 ? [] : ['## Training compute', stageTable(stages)]),
      manifest?.flops === undefined
        ? 'What its training cost is not known to Strata.'
        : `In all ${count(manifest.tokens ?? 0)} tokens and ${manifest.flops.toExponential(4)} FLOPs (matrix products and attention, counted exactly), its base included.`,
    ].join('\n\n') + '\n'
  );
}
