import { stringify } from 'yaml';
import { readRun } from '../../records/index.js';
import type { ComputeStatement } from './statement.js';
import { LIMITS } from './verify.js';

/** The model card of a run, as Markdown with the hub's front matter; every figure comes from the statement or the records. */
export function modelCard(statement: ComputeStatement, folder: string): string {
  const { records, manifest } = readRun(folder, { maxTrainRecords: 1 });
  const model = statement.model ?? {};
  const front = {
    library_name: 'transformers',
    pipeline_tag: 'text-generation',
    tags: ['strata', ...new Set(records.growth.map(({ operator }) => `growth-${operator}`))],
  };
  const final = records.validation.at(-1);
  const rows = statement.stages.map(
    ({ stage, tokens, flopsExact }) => `| ${stage} | ${tokens} | ${Number(flopsExact).toExponential(4)} |`,
  );
  const growths = records.growth.map(
    ({ operator, tokens, sourceParameters, targetParameters }) =>
      `- \`${operator}\` after ${tokens} tokens${sourceParameters === undefined ? '' : `, ${sourceParameters} to ${targetParameters ?? '?'} parameters`}`,
  );
  const evals = records.evals.map(
    ({ task, metric, value, stderr }) => `| ${task} | ${metric} | ${value.toFixed(4)} | ${stderr?.toFixed(4) ?? ''} |`,
  );
  return [
    `---\n${stringify(front)}---`,
    `# ${statement.run}`,
    `A language model of ${String(model['parameters'] ?? 'unknown')} parameters (${String(model['num_hidden_layers'] ?? '?')} layers of ${String(model['hidden_size'] ?? '?')}), trained with ${statement.createdBy}.`,
    growths.length === 0 ? 'It was trained from scratch.' : `It was grown:\n\n${growths.join('\n')}`,
    `## Training compute\n\n| stage | tokens | FLOPs |\n| --- | ---: | ---: |\n${rows.join('\n')}\n\nTotal: ${statement.total.tokens} tokens, ${Number(statement.total.flopsExact).toExponential(4)} FLOPs (matrix products and attention, exactly)` +
      `${statement.total.flops6nd === null ? '' : `; ${statement.total.flops6nd.toExponential(4)} by the 6 N D convention`}.` +
      `${statement.parentFlops === 'unknown' ? ' What its parent cost is unknown and not included.' : ''} Energy was not measured.`,
    `## Data\n\nTraining: ${manifest?.data.train?.path ?? 'unknown'} (${manifest?.data.train?.hash ?? 'no checksum'}). Validation: ${manifest?.data.validation?.path ?? 'unknown'} (${manifest?.data.validation?.hash ?? 'no checksum'}).`,
    final === undefined ? '' : `## Results\n\nFinal validation loss: ${final.loss.toFixed(4)} nats per token.`,
    evals.length === 0
      ? ''
      : `| task | metric | value | standard error |\n| --- | --- | ---: | ---: |\n${evals.join('\n')}`,
    `## Checking this card\n\n\`statement.json\` beside this file can be checked with \`strata card verify RUN\`. ${LIMITS}`,
  ]
    .filter((part) => part !== '')
    .join('\n\n')
    .concat('\n');
}
