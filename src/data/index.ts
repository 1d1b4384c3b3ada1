export { type BuildOptions, type BuildResult, buildDataset } from './build/build.js';
export type { BuildProgress } from './build/pass.js';
export { Dataset, openDataset } from './dataset.js';
export { Loader, type LoaderOptions, type Share } from './loader.js';
export { Permutation } from './permutation.js';
export { type ShardIndex, readIndex } from './shards/index-file.js';
export type { SourceFormat } from './sources/inputs.js';
export { TokenizerFile } from './tokenizer/file.js';
export { loadTokenizer } from './tokenizer/load.js';
export {
  type TrainTokenizerOptions,
  type TrainTokenizerResult,
  trainTokenizer,
} from './tokenizer/train-tokenizer.js';
export type { Tokenizer } from './tokenizer/types.js';
export { type DatasetStats, datasetStats } from './shards/stats.js';
export { verifyDataset } from './shards/verify.js';
export type { Deduplication } from './quality/deduplicate.js';
export type { HeuristicLimits } from './quality/heuristics.js';
export { type ExportFormat, exportTokens } from './formats/export.js';
export { type ImportOptions, importTokens } from './formats/import.js';
export { buildChat, type ChatOptions, type ChatResult, type ChatSplit } from './chat/build.js';
export { type MixOptions, mixDatasets } from './mix/mix.js';
