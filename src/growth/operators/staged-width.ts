import { z } from 'zod';
import { type Family, type ModelConfig } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import type { Expression } from '../expression.js';
import { defineOperator } from '../operator.js';
import type { PlanDraft } from '../plan.js';
import type { TargetSizes } from '../target.js';
import { changedAxes, embeddingFactor, isInput, pairedSpecs, scaleGain } from '../width.js';
import { diagonalCopies, widerConfig, widthMaps } from '../width-maps.js';

/** The whole factor by which all widths grow. */
function commonFactor(id: string, source: ModelConfig, target: ModelConfig): number {
  const factor = target.hidden_size / source.hidden_size;
  for (const field of ['hidden_size', 'intermediate_size', 'num_attention_heads', 'num_key_value_heads'] as const)
    if (!Number.isInteger(factor) || target[field] !== factor * source[field])
      throw new InputError(
        `Operator ${id} grows all widths by one whole factor: ${field} ${source[field]} must become a multiple, ` +
          `${factor * source[field]} here, found ${target[field]}.`,
      );
  return factor;
}

/** Independent copies side by side: matrices become block-diagonal, what stands after the stream is divided by their number. */
export function planStagedWidth(
  id: string,
  family: Family,
  source: ModelConfig,
  sizes: TargetSizes,
  widthFactor: number | undefined,
): PlanDraft {
  const target = widerConfig(id, family, source, sizes, widthFactor);
  const factor = commonFactor(id, source, target);
  const maps = { ...widthMaps(source, target, 'circular', 0), diagonal: true };
  const tensors: Record<string, Expression> = {};
  for (const { spec, source: from } of pairedSpecs(family, source, target)) {
    const copy: Expression = { op: 'copy', of: from.name };
    const changed = changedAxes(spec, from, maps);
    const isMatrix = changed.length === 2 && changed.some(({ axis }) => isInput(spec, axis));
    if (isMatrix) tensors[spec.name] = diagonalCopies(copy, changed, factor);
    else {
      const taken = changed.reduce<Expression>(
        (of, { axis, index, unit }) => ({ op: 'take', axis, index, ...unit, of }),
        copy,
      );
      const table = spec.role === 'embedding' ? embeddingFactor(family, target.hidden_size, source.hidden_size) : 1;
      tensors[spec.name] = table === 1 ? taken : { op: 'scale', by: table, of: taken };
      if (spec.role === 'finalNorm' && factor > 1) {
        // With a tied table that was made smaller the gain is made larger by as much.
        const tied = target.tie_word_embeddings ? embeddingFactor(family, target.hidden_size, source.hidden_size) : 1;
        const offset = spec.kind === 'weight' ? (family.normGainOffset ?? 0) : 0;
        tensors[spec.name] = scaleGain(taken, 1 / (factor * tied), offset, target.hidden_size);
      }
    }
  }
  return { target, maps, tensors };
}

/** Staged training's width operator. */
export const stagedWidth = defineOperator({
  id: 'staged-width',
  title: 'staged training, width: independent copies side by side',
  paper: 'Shen et al. 2022, arXiv 2203.06211',
  direction: 'width',
  size: 'larger',
  summary:
    'Puts copies of the model side by side (block-diagonal matrices); the final norm is divided by their number.',
  options: z.strictObject({}),
  reaches: 'one whole factor for hidden size, ffn, heads and kv heads',
  preservesFunction: {
    claimed: true,
    condition: 'exactly, and the training dynamics with grow-linear optimizer state',
  },
  drawing: `[ 1 2 ]  ->  [ 1 2 . . ]        factor 2
[ 3 4 ]      [ 3 4 . . ]
             [ . . 1 2 ]
             [ . . 3 4 ]`,
  advice:
    'The halves get equal gradients until noise, dropout or new rates part them; --opt noise=0.2 parts them, at the price of the function.',
  plan({ family, source, sizes, widthFactor }) {
    const draft = planStagedWidth('staged-width', family, source, sizes, widthFactor);
    return { ...draft, warnings: [stagedWarning] };
  },
});

export const stagedWarning =
  'the copies get equal gradients and stay equal for ever, unless the optimizer state grows by pad-zero or noise is mixed in';
