import type { Family, ModelConfig } from '../architecture/index.js';
import { InputError } from '../errors.js';

/** Sizes of a target under Hugging Face's names; what is left out stays. */
export type TargetSizes = Partial<
  Pick<
    ModelConfig,
    | 'num_hidden_layers'
    | 'hidden_size'
    | 'num_attention_heads'
    | 'num_key_value_heads'
    | 'intermediate_size'
    | 'head_dim'
  >
>;

export const depthFields = ['num_hidden_layers'] as const;
export const widthFields = ['hidden_size', 'num_attention_heads', 'num_key_value_heads', 'intermediate_size'] as const;

/** What `source` becomes with other sizes; lists with one entry per layer are filled from the layers given. */
export function resizedConfig(
  family: Family,
  source: ModelConfig,
  sizes: TargetSizes,
  layerOf: (target: number) => number = (i) => i % Math.max(1, source.num_hidden_layers),
): ModelConfig {
  const layers = sizes.num_hidden_layers ?? source.num_hidden_layers;
  const perLayer = Object.entries(source).filter(
    ([field, value]) => /layer/.test(field) && Array.isArray(value) && value.length === source.num_hidden_layers,
  );
  const lists = perLayer.map(([field, value]) => [
    field,
    Array.from({ length: layers }, (_, i) => (value as unknown[])[layerOf(i)]),
  ]);
  return family.fromHuggingFace(
    { ...source, head_dim: source.head_dim, ...sizes, ...Object.fromEntries(lists) },
    'target',
  );
}

/** `size * factor`, which must be whole. */
export function multiplied(field: string, size: number, factor: number): number {
  const product = size * factor;
  const whole = Math.round(product);
  if (Math.abs(product - whole) > 1e-9 * product || whole < 0)
    throw new InputError(
      `Factor ${factor} would make ${field} ${product}, which is no whole number; give the size itself.`,
    );
  return whole;
}

/** The number of target layers that a request names: by size, or as a factor. */
export function requestedLayers(
  source: ModelConfig,
  sizes: TargetSizes,
  factor: number | undefined,
): number | undefined {
  if (sizes.num_hidden_layers !== undefined) return sizes.num_hidden_layers;
  return factor === undefined ? undefined : multiplied('num_hidden_layers', source.num_hidden_layers, factor);
}

/** The target widths that a request names; undefined where it names none. */
export function requestedWidths(
  source: ModelConfig,
  sizes: TargetSizes,
  factor: number | undefined,
): TargetSizes | undefined {
  const widths: Partial<Record<(typeof widthFields)[number], number>> = {};
  for (const field of widthFields) {
    const size = sizes[field] ?? (factor === undefined ? undefined : multiplied(field, source[field], factor));
    if (size !== undefined) widths[field] = size;
  }
  return Object.keys(widths).length === 0 ? undefined : widths;
}
