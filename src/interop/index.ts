export {
  Checkpoint,
  checkpointSteps,
  openCheckpoint,
  readModelConfig,
  resolveCheckpoint,
} from './huggingface/checkpoint.js';
export {
  copyExtraFiles,
  DEFAULT_SHARD_BYTES,
  planShards,
  type Shard,
  storedBytes,
  writeConfig,
  writeIndex,
} from './huggingface/folder.js';
export {
  hashFile,
  type Manifest,
  MANIFEST_FILE,
  readManifest,
  verifyManifest,
  writeManifest,
} from './huggingface/manifest.js';
export { checkpointName, type PaidStage, paidStages, stageTable } from './huggingface/lineage.js';
export { requireEndedMasks } from './huggingface/masks.js';
export { type SaveOptions, saveModel } from './huggingface/save.js';
export { assembleStored, isStraight, type StoredGroup, storedGroups, tensorPlans } from './huggingface/stored.js';
export { openWeightFiles, type StoredTensor, type WeightFiles } from './huggingface/weights.js';
export { inspectPath } from './inspect.js';
export { weightFileFormat, type WeightFileFormat } from './inspect-file.js';
export type { Inspection, InspectionChecks, InspectOptions } from './inspection.js';
export { type GgufHeader, readGgufHeader } from './gguf/reader.js';
export { exportHuggingFace } from './huggingface/export.js';
export { exportGguf, type GgufResult } from './gguf/export.js';
export { type GgmlType, ggmlTypes } from './gguf/format.js';
export { exportLlama2c } from './llama2c/export.js';
export { importLlama2c } from './llama2c/import.js';
export { exportTensorboard, type TensorboardResult } from './tensorboard/export.js';
export { readJsonObject } from './json.js';
export * from './safetensors/index.js';
