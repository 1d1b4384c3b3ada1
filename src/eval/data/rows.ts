import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { InputError } from '../../errors.js';
import { RowError } from '../tasks/row.js';
import type { Row, SourceFile, Split, Task } from '../tasks/types.js';
import { readParquetRows } from './parquet.js';

/** Rows of one split and where they came from. */
export interface SplitRows {
  readonly rows: readonly Row[];
  readonly files: readonly ReadFile[];
}

/** A data file as it was found. */
export interface ReadFile {
  readonly path: string;
  readonly sha256: string;
  /** Whether the checksum is the recorded one; of Parquet exports, which differ from one another, only the rows are counted. */
  readonly verified: boolean;
}

export interface DataOptions {
  /** Take files whose rows or checksum are not the recorded ones: another version, or a part, of the data. */
  readonly acceptAny?: boolean;
}

/** Benchmarks are small: what is larger is another file. */
const MAX_FILE_BYTES = 256 << 20;

/**
 * Reads a split of a task out of a data folder.
 *
 * Files are looked for under `FOLDER/TASK/` and in the folder itself: the published ones, else Parquet.
 *
 * @throws InputError where none is there, or they are not the published rows (unless `acceptAny`).
 */
export async function readSplit(
  task: Task,
  split: Split,
  folder: string,
  options: DataOptions = {},
): Promise<SplitRows> {
  const published = findFile(folder, split.file);
  const found =
    published === undefined ? await readParquet(task, split, folder) : readPublished(published, split, folder, options);
  if (options.acceptAny !== true && found.rows.length !== split.file.rows)
    throw new InputError(
      `${found.files[0]?.path}: expected the ${split.file.rows} rows of ${task.title} (${split.name}), found ${found.rows.length}.`,
    );
  return found;
}

function findFile(folder: string, { path }: SourceFile): string | undefined {
  return [join(folder, path), join(folder, basename(path))].find((candidate) => existsSync(candidate));
}

function readPublished(path: string, split: Split, folder: string, options: DataOptions): SplitRows {
  const text = readChecked(path, split.file, options);
  const rows = split.cut === undefined ? cutJsonLines(path, text.text) : cutText(path, split.cut, text.text);
  if (split.labels === undefined) return { rows, files: [text.file] };
  const labelsPath = findFile(folder, split.labels);
  if (labelsPath === undefined)
    throw new InputError(`${path}: its labels are missing: expected ${join(folder, split.labels.path)}.`);
  const labels = readChecked(labelsPath, split.labels, options);
  const values = labels.text.trim().split('\n');
  if (values.length !== rows.length)
    throw new InputError(
      `${labelsPath}: expected ${rows.length} labels, one per row of ${path}, found ${values.length}.`,
    );
  return { rows: rows.map((row, i) => ({ ...row, label: values[i]?.trim() })), files: [text.file, labels.file] };
}

function readChecked(path: string, known: SourceFile, options: DataOptions): { text: string; file: ReadFile } {
  const bytes = readBytes(path);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const verified = sha256 === known.sha256;
  if (known.sha256 !== undefined && !verified && options.acceptAny !== true)
    throw new InputError(
      `${path}: its SHA-256 begins with ${sha256.slice(0, 12)}, but that of the published file with ${known.sha256.slice(0, 12)}; ` +
        'it is another version or damaged (--any-data takes it all the same).',
    );
  return { text: bytes.toString('utf8'), file: { path, sha256, verified } };
}

function readBytes(path: string): Buffer {
  const { size } = statSync(path);
  if (size > MAX_FILE_BYTES) throw new InputError(`${path}: ${size} bytes, at most ${MAX_FILE_BYTES} are read.`);
  return readFileSync(path);
}

function cutJsonLines(path: string, text: string): Row[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.map((line, i) => {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      throw new InputError(`${path}, line ${i + 1}: expected JSON, found ${JSON.stringify(line.slice(0, 40))}.`);
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new InputError(`${path}, line ${i + 1}: expected a JSON object, found ${line.slice(0, 40)}.`);
    return value as Row;
  });
}

function cutText(path: string, cut: (text: string) => Row[], text: string): Row[] {
  try {
    return cut(text);
  } catch (error) {
    throw error instanceof RowError ? new InputError(`${path}: ${error.message}.`, { cause: error }) : error;
  }
}

/** What to get, and where it belongs. */
function missingData(task: Task, split: Split, folder: string): string {
  if (!existsSync(folder)) return `The data folder ${folder} does not exist (--data names it).`;
  const isExamples = split !== task.split;
  const files = [split.file, split.labels].flatMap((file) => (file === undefined ? [] : [join(folder, file.path)]));
  const parquet = join(folder, split.parquet.folder, `${split.parquet.prefix}*.parquet`);
  return (
    `The data of ${task.title}${isExamples ? `, from whose ${split.name} split few-shot examples are drawn,` : ''} is missing: ` +
    `get ${task.origin}, and put the ${split.name} split at ${files.join(' and ')} or at ${parquet}.`
  );
}

async function readParquet(task: Task, split: Split, folder: string): Promise<SplitRows> {
  const paths = [join(folder, split.parquet.folder), folder].flatMap((place) =>
    parquetFiles(place, split.parquet.prefix),
  );
  if (paths.length === 0) throw new InputError(missingData(task, split, folder));
  const rows: Row[] = [];
  const files: ReadFile[] = [];
  for (const path of paths) {
    const bytes = readBytes(path);
    for (const row of await readParquetRows(path)) rows.push(row);
    files.push({ path, sha256: createHash('sha256').update(bytes).digest('hex'), verified: false });
  }
  return { rows, files };
}

/** Parquet files of a split in a folder, in the order of their numbers. */
function parquetFiles(folder: string, prefix: string): string[] {
  if (!existsSync(folder) || !statSync(folder).isDirectory()) return [];
  return readdirSync(folder)
    .filter((name) => name.startsWith(prefix) && name.endsWith('.parquet'))
    .sort()
    .map((name) => join(folder, name));
}
