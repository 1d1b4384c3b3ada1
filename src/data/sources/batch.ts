import type { InputFile } from './inputs.js';

/** A stretch of a file that one worker turns into documents. Cut by content alone, so the same for any number of workers. */
export interface Batch {
  readonly file: InputFile;
  /** Content of whole records (text: of one document or a part of it); empty for Parquet. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Line of the first record (from 1), for messages; of Parquet the first row. */
  readonly firstLine: number;
  /** Parquet: the rows of the batch. */
  readonly rows?: { readonly start: number; readonly end: number };
  /** CSV: which column holds the text. */
  readonly column?: number;
  /** Text: whether the document starts and ends with this batch. */
  readonly starts?: boolean;
  readonly ends?: boolean;
}

export interface ReadOptions {
  /** Field (JSONL) or column (Parquet, CSV) that holds the text. */
  readonly field: string;
  /** Whether a text file may be cut between words into several batches of one document. */
  readonly cutText: boolean;
  readonly onRead?: (bytes: number) => void;
}
