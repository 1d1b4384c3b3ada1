export { type BuildOptions, type BuildProgress, type BuildResult, buildDataset } from './build/build.js';
export { Dataset, openDataset } from './dataset.js';
export { Loader, type LoaderOptions, type Share } from './loader.js';
export { Permutation } from './permutation.js';
export { type ShardIndex, readIndex } from './shards/index-file.js';
export type { SourceFormat } from './sources/inputs.js';
export { loadTokenizer } from './tokenizer/load.js';
export {
  type TrainTokenizerOptions,
  type TrainTokenizerResult,
  trainTokenizer,
} from './tokenizer/train-tokenizer.js';
export type { Tokenizer } from './tokenizer/types.js';
export { type DatasetStats, datasetStats } from './shards/stats.js';
export { verifyDataset } from './shards/verify.js';
