import { countParameters, parseModelConfig, preset, type ModelConfig } from '../architecture/index.js';

/** A model for a wanted size, and where its shape came from. */
export interface ShapeChoice {
  readonly config: ModelConfig;
  readonly source: string;
}

/** The paper's sizes by their nominal parameters. */
const nominal: readonly (readonly [params: number, name: string])[] = [
  [0.41e9, 'gstack-410m'],
  [1.1e9, 'gstack-1.1b'],
  [3e9, 'gstack-3b'],
  [7e9, 'gstack-7b'],
];
const NOMINAL_TOLERANCE = 0.05;

/** Hidden size and layers of models in use: the study tiers (12 layers), the paper's sizes, Llama 2 13B and 70B. */
const depthByHidden: readonly (readonly [hidden: number, layers: number])[] = [
  [64, 12],
  [256, 12],
  [768, 12],
  [1024, 24],
  [2048, 24],
  [2560, 32],
  [4096, 32],
  [5120, 40],
  [8192, 80],
];
const DEPTH_WEIGHT = 0.1;
const MAX_HIDDEN = 32_768;

/**
 * A Llama of about a wanted number of parameters.
 *
 * The paper's own shapes where the size is one of its nominal sizes; else the hidden size whose usual depth, a multiple of `factor`, comes
 * nearest.
 *
 * @param params Wanted parameters, embeddings included.
 * @param factor Depth factor of the growth, which divides the layers.
 */
export function shapeFor(params: number, factor: number, sequenceLength: number, vocabSize?: number): ShapeChoice {
  const known = nominal.find(([size]) => Math.abs(params / size - 1) <= NOMINAL_TOLERANCE);
  if (known !== undefined && vocabSize === undefined) {
    const config = preset(known[1], { max_position_embeddings: sequenceLength });
    return { config, source: `preset ${known[1]}, the shape of G_stack's paper` };
  }
  const vocab = vocabSize ?? usualVocab(params);
  let best: { config: ModelConfig; distance: number } | undefined;
  for (let hidden = 64; hidden <= MAX_HIDDEN; hidden += stepOf(hidden)) {
    const usual = usualLayers(hidden);
    for (const layers of layerChoices(usual, factor)) {
      const config = llamaOf(hidden, layers, vocab, sequenceLength);
      const size = countParameters(config).total;
      const distance = Math.abs(Math.log(size / params)) + DEPTH_WEIGHT * Math.abs(Math.log(layers / usual));
      if (best === undefined || distance < best.distance) best = { config, distance };
    }
    if (12 * hidden * hidden * usual > 4 * params && best !== undefined) break;
  }
  if (best === undefined) throw new Error('no shape was tried');
  return { config: best.config, source: 'nearest Llama shape with the depth that models of its width usually have' };
}

const stepOf = (hidden: number): number => (hidden < 512 ? 32 : hidden < 1024 ? 64 : hidden < 4096 ? 128 : 512);

/** Small vocabularies for small models, or the embedding would be most of the model. */
const usualVocab = (params: number): number => (params < 5e6 ? 2048 : params < 1e8 ? 4096 : 32_000);

function usualLayers(hidden: number): number {
  const above = depthByHidden.findIndex(([size]) => size >= hidden);
  const high = depthByHidden[above === -1 ? depthByHidden.length - 1 : above];
  const low = depthByHidden[Math.max(0, (above === -1 ? depthByHidden.length : above) - 1)];
  if (high === undefined || low === undefined || high[0] === low[0]) return high?.[1] ?? 12;
  const share = Math.log(hidden / low[0]) / Math.log(high[0] / low[0]);
  return Math.exp(Math.log(low[1]) + Math.min(1, share) * Math.log(high[1] / low[1]));
}

function layerChoices(usual: number, factor: number): number[] {
  const groups = Math.max(1, Math.round(usual / factor));
  return [groups - 1, groups, groups + 1].filter((count) => count >= 1).map((count) => count * factor);
}

function llamaOf(hidden: number, layers: number, vocab: number, positions: number): ModelConfig {
  const headDim = hidden >= 2048 ? 128 : hidden < 256 ? hidden / 4 : hidden % 64 === 0 ? 64 : 32;
  const heads = hidden / headDim;
  const roundTo = hidden >= 1024 ? 256 : 16;
  return parseModelConfig(
    {
      vocab_size: vocab,
      hidden_size: hidden,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      num_key_value_heads: hidden >= 4096 && heads % 8 === 0 ? 8 : heads,
      // SwiGLU has three matrices, so 8/3 of the hidden size has the parameters of the usual 4 with two (Shazeer 2020, arXiv 2002.05202).
      intermediate_size: Math.ceil((8 * hidden) / 3 / roundTo) * roundTo,
      max_position_embeddings: positions,
      rms_norm_eps: 1e-5,
    },
    'planned model',
  );
}
