import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../../errors.js';

export type SourceFormat = 'text' | 'jsonl' | 'parquet' | 'csv' | 'tsv';
export type Compression = 'none' | 'gzip' | 'zstd';

/** A file of documents. */
export interface InputFile {
  readonly path: string;
  readonly format: SourceFormat;
  readonly compression: Compression;
  /** Bytes on disk. */
  readonly size: number;
  /** Time of the last change, in milliseconds. */
  readonly modified: number;
}

const FORMATS: Readonly<Record<string, SourceFormat>> = {
  txt: 'text',
  text: 'text',
  md: 'text',
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  parquet: 'parquet',
  csv: 'csv',
  tsv: 'tsv',
};
const COMPRESSIONS: Readonly<Record<string, Compression>> = { gz: 'gzip', zst: 'zstd', zstd: 'zstd' };
const KNOWN = '.txt, .md, .jsonl, .ndjson, .parquet, .csv or .tsv, each also with .gz or .zst';

/**
 * The files that files, folders and globs stand for, in order: as given, within a folder or glob by name.
 *
 * Folders are searched to the bottom for files with a known ending. `**`, `*`, `?`, `[abc]` and `{a,b}` are expanded.
 *
 * @param format For files whose name does not tell.
 * @throws InputError if nothing is found or a named file's format is not known.
 */
export function expandInputs(inputs: readonly string[], format?: SourceFormat): InputFile[] {
  return inputs.flatMap((input) => {
    if (existsSync(input)) return statSync(input).isDirectory() ? folderFiles(input) : [describeFile(input, format)];
    if (!/[*?[{]/.test(input)) throw new InputError(`${input}: expected a file, folder or glob, found nothing.`);
    const files = globFiles(input).map((path) => describeFile(path, format));
    if (files.length === 0) throw new InputError(`${input}: expected files that match, found none.`);
    return files;
  });
}

function folderFiles(folder: string): InputFile[] {
  const files = walk(folder).filter((path) => formatOf(path) !== undefined);
  if (files.length === 0) throw new InputError(`${folder}: expected files that end in ${KNOWN}, found none.`);
  return files.map((path) => describeFile(path, undefined));
}

function describeFile(path: string, given: SourceFormat | undefined): InputFile {
  const known = formatOf(path);
  const format = given ?? known?.format;
  if (format === undefined) throw new InputError(`${path}: expected a name that ends in ${KNOWN}, or --format.`);
  const compression = known?.compression ?? COMPRESSIONS[path.split('.').at(-1) ?? ''] ?? 'none';
  const { size, mtimeMs } = statSync(path);
  if (format === 'parquet' && compression !== 'none')
    throw new InputError(`${path}: expected Parquet as it is (it compresses its own pages), found .${compression}.`);
  return { path, format, compression, size, modified: mtimeMs };
}

function formatOf(path: string): { format: SourceFormat; compression: Compression } | undefined {
  const endings = path.toLowerCase().split('.');
  const compression = COMPRESSIONS[endings.at(-1) ?? ''];
  const format = FORMATS[endings.at(compression === undefined ? -1 : -2) ?? ''];
  return format === undefined || endings.length < 2 ? undefined : { format, compression: compression ?? 'none' };
}

/** All files below a folder, sorted by path. */
function walk(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.name.startsWith('.')) return [];
      return statSync(path).isDirectory() ? walk(path) : [path];
    });
}

function globFiles(pattern: string): string[] {
  const fixed = pattern.slice(0, pattern.search(/[*?[{]/));
  const slash = fixed.lastIndexOf('/');
  const root = slash < 0 ? '.' : fixed.slice(0, slash + 1);
  if (!existsSync(root)) return [];
  const expression = globExpression(slash < 0 ? pattern : pattern.slice(slash + 1));
  const prefix = root === '.' ? 0 : join(root).replace(/\/$/, '').length + (join(root) === '/' ? 0 : 1);
  return walk(root).filter((path) => expression.test(path.slice(prefix)));
}

function globExpression(glob: string): RegExp {
  let depth = 0;
  const source = glob.replace(/\*\*\/|\*\*|\*|\?|\[[^\]/]+\]|[{},]|[.+^$()|\\[\]]/g, (part) => {
    if (part === '**/') return '(?:.*/)?';
    if (part === '**') return '.*';
    if (part === '*') return '[^/]*';
    if (part === '?') return '[^/]';
    if (part === '{') return depth++ < 0 ? '' : '(?:';
    if (part === '}') return depth-- > 0 ? ')' : '\\}';
    if (part === ',') return depth > 0 ? '|' : ',';
    return part.startsWith('[') && part.length > 1 ? part : `\\${part}`;
  });
  return new RegExp(`^${source}$`, 'u');
}
