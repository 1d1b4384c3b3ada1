export { compiledLogitPasses } from '../engine/logits.js';
export { Decoder, type DecoderOptions, type Sequence } from './decoder.js';
export { endTokens, generate, type GenerateOptions } from './generate.js';
export { type LoadedModel, loadModel, type Model } from './model.js';
export {
  PackedForward,
  type PackedForwardOptions,
  type PackedRows,
  type RoutedBranches,
  type TokenScores,
} from './packed-forward.js';
export { argmaxOf, largestIndices, logSumExp, type SampledToken, Sampler, type SamplingOptions } from './sampling.js';
export { TextStream } from './text-stream.js';
export { type RowRun } from './tiles.js';
