import { familyOf, type ModelConfig, type WeightRole } from '../architecture/index.js';
import type { MaskRamp } from '../growth/index.js';
import { type ForwardMasks, forwardOf } from '../model/index.js';

type Vectors<T> = { -readonly [N in keyof ForwardMasks<T>['vectors']]: T };

/** The value of a mask when `share` of its stage is done: 0 until its ramp starts, 1 from its end on, a straight line in between. */
export const maskValue = ({ start, end }: Pick<MaskRamp, 'start' | 'end'>, share: number): number =>
  Math.min(1, Math.max(0, (share - start) / (end - start)));

/** Entries that a mask is for. */
const newEntriesOf = ({ old, size, newEntries }: MaskRamp): readonly number[] =>
  newEntries ?? Array.from({ length: size - old }, (_, i) => old + i);

/** The first of the masks' axes that a model's forward cannot fade in. */
export const unmaskedAxis = (masks: readonly MaskRamp[], config: ModelConfig): MaskRamp['axis'] | undefined =>
  masks.find(({ axis }) => forwardOf(config).maskedAxes?.includes(axis) !== true)?.axis;

/** Which vectors a model needs to follow its masks, and how long they are. */
export function maskShape(masks: readonly MaskRamp[], config: ModelConfig): ForwardMasks<number> {
  const vectors = Object.entries(maskVectors(masks, config, 0)).map(([name, values]) => [name, values.length]);
  const layers = masks.find(({ axis }) => axis === 'layers');
  return {
    vectors: Object.fromEntries(vectors) as ForwardMasks<number>['vectors'],
    fadedLayers: layers === undefined ? [] : newEntriesOf(layers),
  };
}

/**
 * The vectors of a model's masks when `share` of its stage is done.
 *
 * `random` (Du et al., arXiv 2405.15319, appendix A) masks outputs of products, and multiplies norms by sqrt(sum(m) / h'); `msg` (Yao et al.,
 * arXiv 2305.02869) takes the mean square over what is unmasked, sum(x^2 m) / sum(m), and masks the ffn behind its activation. Both are the
 * source's function at 0 and the plain model at 1.
 */
export function maskVectors(
  masks: readonly MaskRamp[],
  config: ModelConfig,
  share: number,
): Partial<Vectors<Float64Array>> {
  const vectors: Partial<Vectors<Float64Array>> = {};
  for (const mask of masks) {
    const value = maskValue(mask, share);
    const fresh = newEntriesOf(mask);
    if (mask.axis === 'hidden') {
      Object.assign(vectors, hiddenVectors(mask, config.hidden_size, fresh, value));
      if (hasLayerNorms(config)) Object.assign(vectors, meanVectors(vectors.hidden!));
    }
    if (mask.axis === 'ffn') {
      const ffn = faded(config.intermediate_size, fresh, value);
      if (mask.kind === 'msg') vectors.ffn = ffn;
      else vectors.gateUp = isGated(config) ? Float64Array.of(...ffn, ...ffn) : ffn;
    }
    if (mask.axis === 'heads') Object.assign(vectors, headVectors(config, fresh, value));
    if (mask.axis === 'layers') {
      const all = (x: number): Float64Array => new Float64Array(config.hidden_size).fill(x);
      if (mask.kind === 'msg') Object.assign(vectors, { layer: all(value), rest: all(1 - value) });
      else vectors.branch = all(value);
    }
  }
  return vectors;
}

/** Ones, and `value` at the entries named; each stands for `unit` neighbours. */
function faded(size: number, entries: readonly number[], value: number, unit = 1): Float64Array {
  const vector = new Float64Array(size * unit).fill(1);
  for (const entry of entries) vector.fill(value, entry * unit, (entry + 1) * unit);
  return vector;
}

function hiddenVectors(
  { kind }: MaskRamp,
  size: number,
  fresh: readonly number[],
  value: number,
): Partial<Vectors<Float64Array>> {
  const hidden = faded(size, fresh, value);
  const share = (size - fresh.length * (1 - value)) / size;
  if (kind === 'random') return { hidden, normInput: hidden, normOutput: hidden.map((m) => m * Math.sqrt(share)) };
  // mean((x a)^2) is sum(x^2 m) / sum(m) with a = sqrt(m / share); the output is x m rstd w again.
  return {
    hidden,
    normInput: hidden.map((m) => Math.sqrt(m / share)),
    normOutput: hidden.map((m) => Math.sqrt(m * share)),
  };
}

/** What takes the mean of the unmasked entries from all. */
const meanVectors = (hidden: Float64Array): Partial<Vectors<Float64Array>> => {
  const sum = hidden.reduce((total, m) => total + m, 0);
  return { normMean: hidden.map((m) => m / sum), normShift: new Float64Array(hidden.length).fill(-1) };
};

const hasWeight = (config: ModelConfig, role: WeightRole, kind: 'weight' | 'bias'): boolean =>
  familyOf(config)
    .weights(config)
    .some((spec) => spec.role === role && spec.kind === kind);

/** Norms with a bias take a mean off first. */
const hasLayerNorms = (config: ModelConfig): boolean => hasWeight(config, 'finalNorm', 'bias');
const isGated = (config: ModelConfig): boolean => hasWeight(config, 'gate', 'weight');

/** New heads: queries masked; values with them where the kv head is new as well, else what the head reads from an old one. */
function headVectors(config: ModelConfig, fresh: readonly number[], value: number): Partial<Vectors<Float64Array>> {
  const { num_attention_heads: heads, num_key_value_heads: kvHeads, head_dim: unit } = config;
  const perGroup = heads / kvHeads;
  const isNew = new Set(fresh);
  const groups = Array.from({ length: kvHeads }, (_, group) => group);
  const newGroups = groups.filter((group) =>
    Array.from({ length: perGroup }, (_, i) => group * perGroup + i).every((head) => isNew.has(head)),
  );
  const ofNewGroup = new Set(newGroups);
  const inOldGroup = fresh.filter((head) => !ofNewGroup.has(Math.floor(head / perGroup)));
  const keyValue = faded(kvHeads, newGroups, value, unit);
  return {
    queryKeyValue: Float64Array.of(...faded(heads, fresh, value, unit), ...keyValue, ...keyValue),
    attended: faded(heads, inOldGroup, value, unit),
  };
}
