import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, parquetSchema } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { InputError } from '../../errors.js';
import type { Batch, ReadOptions } from './batch.js';
import type { InputFile } from './inputs.js';

const MIN_FILE_BYTES = 12;
const MAX_COLUMN_BYTES = 2 ** 30;

/** A batch for each row group; its rows are read by the worker. */
export async function* parquetBatches(file: InputFile, options: ReadOptions): AsyncGenerator<Batch> {
  if (file.size < MIN_FILE_BYTES)
    throw new InputError(`${file.path}: expected a Parquet file, found only ${file.size} bytes.`);
  const metadata = await reading(file, async () => parquetMetadataAsync(await asyncBufferFromFile(file.path)));
  const columns = parquetSchema(metadata).children.map((child) => child.element.name);
  if (!columns.includes(options.field))
    throw new InputError(
      `${file.path}: expected a column "${options.field}", found ${columns.map((name) => `"${name}"`).join(', ')}.`,
    );
  let row = 0;
  for (const [index, group] of metadata.row_groups.entries()) {
    const rows = Number(group.num_rows);
    const column = group.columns.find((chunk) => chunk.meta_data?.path_in_schema[0] === options.field)?.meta_data;
    const size = Number(column?.total_uncompressed_size ?? 0);
    if (size > MAX_COLUMN_BYTES)
      throw new InputError(
        `${file.path}: row group ${index}: expected at most ${MAX_COLUMN_BYTES} bytes of "${options.field}", found ${size}.`,
      );
    yield { file, bytes: new Uint8Array(0), firstLine: row + 1, rows: { start: row, end: row + rows } };
    options.onRead?.(Number(group.total_compressed_size ?? group.total_byte_size));
    row += rows;
  }
}

/** The values of a batch's text column. */
export async function parquetTexts(batch: Batch, field: string): Promise<unknown[]> {
  const { start, end } = batch.rows ?? { start: 0, end: 0 };
  const rows = await reading(batch.file, async () =>
    parquetReadObjects({
      file: await asyncBufferFromFile(batch.file.path),
      columns: [field],
      rowStart: start,
      rowEnd: end,
      compressors,
    }),
  );
  return rows.map((row: Record<string, unknown>) => row[field]);
}

async function reading<T>(file: InputFile, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof InputError) throw error;
    const found = error instanceof Error ? error.message : String(error);
    throw new InputError(`${file.path}: expected a whole Parquet file, found: ${found}.`);
  }
}
