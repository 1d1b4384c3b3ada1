import { type Family, familyOf, type ModelConfig, type WeightSpec } from '../architecture/index.js';
import { shapeOfSpec, zeroLike } from './depth.js';
import type { Expression } from './expression.js';
import type { MaskRamp, WidthMaps } from './plan.js';
import { changedAxes, embeddingFactor, isInput, pairedSpecs, scaleGain } from './width.js';

/** What fills the new parts of a weight; each expression has the shape of the target. */
export interface NewParts {
  /** Old outputs that read new inputs. */
  readonly right: Expression;
  /** New outputs that read old inputs. */
  readonly below: Expression;
  /** New outputs that read new inputs. */
  readonly corner: Expression;
}

/** How an operator that adds new units fills them. */
export interface BlockRules {
  /** Maps with -1 for new units, old ones in order. */
  readonly maps: WidthMaps;
  /** New parts of matrices. */
  readonly matrix: (spec: WeightSpec) => NewParts;
  /** New columns of the embedding. */
  readonly embedding: (spec: WeightSpec) => Expression;
  /** Factor of old norm gains. */
  readonly gain?: number;
  /** Value of new norm gains. */
  readonly newGain: number;
}

/** The tensors of a model in which the source is the old block and all new units are filled by rules. */
export function blockWidth(
  family: Family,
  source: ModelConfig,
  target: ModelConfig,
  rules: BlockRules,
): Record<string, Expression> {
  const tensors: Record<string, Expression> = {};
  for (const { spec, source: from } of pairedSpecs(family, source, target))
    tensors[spec.name] = blockTensor(spec, from, target, rules);
  if (target.tie_word_embeddings) foldTable(family, source, target, tensors);
  return tensors;
}

function blockTensor(spec: WeightSpec, from: WeightSpec, target: ModelConfig, rules: BlockRules): Expression {
  const copy: Expression = { op: 'copy', of: from.name };
  const changed = changedAxes(spec, from, rules.maps);
  if (changed.length === 0) return copy;
  const selection = ({ index, unit }: (typeof changed)[number]): { index: readonly number[]; unit?: number } => ({
    index,
    ...unit,
  });
  const rows = changed.find(({ axis }) => axis === 0);
  const columns = changed.find(({ axis }) => axis === 1);
  if (spec.axes.length === 1) {
    const isGain = spec.kind === 'weight' && spec.axes[0]!.role === 'hidden';
    const { gain = 1 } = rules;
    const offset = familyOf(target).normGainOffset ?? 0;
    const old = isGain ? scaleGain(copy, gain, offset, from.axes[0]!.size) : copy;
    const fresh: Expression = isGain
      ? { op: 'constant', by: rules.newGain - offset, shape: shapeOfSpec(spec) }
      : zeroLike(spec);
    return { op: 'block', rows: selection(rows!), of: [[old], [fresh]] };
  }
  if (!isInput(spec, 1)) {
    const factor =
      spec.role === 'embedding' ? embeddingFactor(familyOf(target), target.hidden_size, from.axes[1]!.size) : 1;
    const old: Expression = factor === 1 ? copy : { op: 'scale', by: factor, of: copy };
    return { op: 'block', columns: selection(columns!), of: [[old, rules.embedding(spec)]] };
  }
  const { right, below, corner } = rules.matrix(spec);
  if (columns === undefined) return { op: 'block', rows: selection(rows!), of: [[copy], [below]] };
  if (rows === undefined) return { op: 'block', columns: selection(columns), of: [[copy, right]] };
  return {
    op: 'block',
    rows: selection(rows),
    columns: selection(columns),
    of: [
      [copy, right],
      [below, corner],
    ],
  };
}

/** A tied table that was made smaller for the embedding's sake is made up for in the final norm's gain. */
function foldTable(
  family: Family,
  source: ModelConfig,
  target: ModelConfig,
  tensors: Record<string, Expression>,
): void {
  const factor = embeddingFactor(family, target.hidden_size, source.hidden_size);
  for (const { name, role, kind } of family.weights(target))
    if (role === 'finalNorm' && kind === 'weight')
      tensors[name] = scaleGain(tensors[name]!, 1 / factor, family.normGainOffset ?? 0, target.hidden_size);
}

/** Masks of the axes that grow, in the order given. */
export function widthMasks(
  kind: MaskRamp['kind'],
  source: ModelConfig,
  target: ModelConfig,
  maps: WidthMaps,
  order: readonly ('hidden' | 'ffn' | 'heads')[],
): Omit<MaskRamp, 'start' | 'end'>[] {
  const sizes = {
    hidden: [source.hidden_size, target.hidden_size],
    ffn: [source.intermediate_size, target.intermediate_size],
    heads: [source.num_attention_heads, target.num_attention_heads],
  } as const;
  return order
    .filter((axis) => sizes[axis][0] !== sizes[axis][1])
    .map((axis) => {
      const [old, size] = sizes[axis];
      const heads = maps.heads[0] ?? [];
      const newEntries = heads.flatMap((from, i) => (from < 0 ? [i] : []));
      return { kind, axis, old, size, ...(axis === 'heads' ? { newEntries } : {}) };
    });
}
