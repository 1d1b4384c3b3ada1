export { canonicalJson, sha256 } from './canonical.js';
export { CHAIN_START, chainHash } from './chain.js';
export { trainFields, type TrainColumns, type TrainField } from './columns.js';
export { findRunFolders } from './find.js';
export {
  parseRecord,
  readRecords,
  streamRecords,
  type ReadOptions,
  type RecordProblems,
  type RunRecords,
} from './reader.js';
export {
  hasUnknownParentFlops,
  isRunFolder,
  readRun,
  readRunManifest,
  recordsPath,
  runManifestSchema,
  writeRunManifest,
  type Run,
  type RunManifest,
} from './run.js';
export {
  isRecordKind,
  recordSchemas,
  type EvalRecord,
  type EventRecord,
  type GrowthRecord,
  type MeasurementRecord,
  type RecordKind,
  type RunRecord,
  type TrainRecord,
  type ValidationRecord,
} from './schema.js';
export { RecordWriter, type RecordInput, type WriterOptions } from './writer.js';
