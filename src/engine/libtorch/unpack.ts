import { createHash } from 'node:crypto';
import { createWriteStream, mkdirSync, statfsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import yauzl, { type Entry, type ZipFile } from 'yauzl';
import { WorkError } from '../../errors.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { libraryFile } from './find.js';

/** Lists the SHA-256 of every unpacked file, as `sha256sum --check` reads it. */
export const CHECKSUM_FILE = 'SHA256SUMS';

/** Libraries in the wheel that libtorch_cpu does not need: Python's bindings, tests, and what runs on other devices. */
const NOT_NEEDED = /python|_test|custom_ops|backend_with_compiler|shm|cuda|cudnn|nvrtc|libtorch\.(so|dylib)/;
const RECORD = /^torch-([\d.]+)[^/]*\.dist-info\/RECORD$/;
const SPARE_BYTES = 64 << 20;

const isNeeded = (name: string): boolean =>
  name === 'torch/version.py' ||
  /^torch\.libs\/[^/]+$/.test(name) ||
  (/^torch\/lib\/lib[^/]+\.(so|dylib)[^/]*$/.test(name) && !NOT_NEEDED.test(name));

/** What a wheel holds, read from its directory. */
export interface WheelContent {
  readonly needed: readonly Entry[];
  readonly record: Entry;
  /** Without the build's name: `2.13.0`. */
  readonly version: string;
  readonly cuda: boolean;
  readonly bytes: number;
}

/** Opens a wheel of torch. Throws a WorkError naming the file where it is none for this system. */
export async function openWheel(path: string): Promise<{ zip: ZipFile; content: WheelContent }> {
  let zip: ZipFile;
  const entries: Entry[] = [];
  try {
    zip = await yauzl.openPromise(path, { autoClose: false });
    for await (const entry of zip.eachEntry()) entries.push(entry);
  } catch (error) {
    throw new WorkError(
      `${path}: expected a wheel of torch, found none (${(error as Error).message.replace(/\.$/, '')}).`,
      { cause: error },
    );
  }
  const needed = entries.filter((entry) => isNeeded(entry.fileName));
  const record = entries.find((entry) => RECORD.test(entry.fileName));
  const library = `torch/lib/${libraryFile('torch_cpu')}`;
  if (record === undefined || !needed.some((entry) => entry.fileName === library)) {
    zip.close();
    throw new WorkError(`${path}: expected a wheel of torch for this system, but it holds no ${library}.`);
  }
  const cuda = entries.some((entry) => /^torch\/lib\/libtorch_cuda\.so/.test(entry.fileName));
  const version = RECORD.exec(record.fileName)?.[1] ?? '';
  const bytes = needed.reduce((sum, entry) => sum + entry.uncompressedSize, 0);
  return { zip, content: { needed, record, version, cuda, bytes } };
}

/**
 * Unpacks the libraries of a wheel into a folder, checks them against the wheel's own checksums and writes ours.
 *
 * @throws WorkError where a file is damaged or the disk has no room.
 */
export async function unpackWheel(
  zip: ZipFile,
  content: WheelContent,
  folder: string,
  progress: (doneBytes: number, totalBytes: number) => void,
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  requireSpace(folder, content.bytes);
  const recorded = await readRecord(zip, content.record);
  const lines: string[] = [];
  let done = 0;
  for (const entry of content.needed) {
    const path = join(folder, entry.fileName);
    mkdirSync(dirname(path), { recursive: true });
    const hash = await writeEntry(zip, entry, path, (bytes) => progress((done += bytes), content.bytes));
    const expected = recorded.get(entry.fileName);
    if (expected !== hash.toString('base64url'))
      throw new WorkError(
        `The wheel of torch is damaged: ${entry.fileName} does not have the checksum that it records.`,
      );
    lines.push(`${hash.toString('hex')}  ${entry.fileName}\n`);
  }
  writeFileAtomic(join(folder, CHECKSUM_FILE), lines.join(''));
}

async function writeEntry(zip: ZipFile, entry: Entry, path: string, written: (bytes: number) => void): Promise<Buffer> {
  const hash = createHash('sha256');
  const tap = new Transform({
    transform(chunk: Buffer, _, next) {
      hash.update(chunk);
      written(chunk.length);
      next(null, chunk);
    },
  });
  try {
    await pipeline(await zip.openReadStreamPromise(entry), tap, createWriteStream(path, { mode: 0o755 }));
    const file = await open(path);
    await file.sync().finally(() => file.close());
  } catch (error) {
    throw new WorkError(`${path}: cannot be written: ${(error as Error).message}.`, { cause: error });
  }
  return hash.digest();
}

/** Lines of `name,sha256=<base64url>,size`; names of libraries hold no commas. */
async function readRecord(zip: ZipFile, entry: Entry): Promise<Map<string, string>> {
  const chunks: Buffer[] = [];
  for await (const chunk of await zip.openReadStreamPromise(entry)) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString('utf8');
  return new Map(
    [...text.matchAll(/^([^,\n"]+),sha256=([\w-]+),\d+\r?$/gm)].map(([, name = '', hash = '']) => [name, hash]),
  );
}

function requireSpace(folder: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize >= bytes + SPARE_BYTES) return;
  const [need, free] = [bytes + SPARE_BYTES, bavail * bsize].map((count) => `${Math.ceil(count / 2 ** 20)} MiB`);
  throw new WorkError(`${folder}: unpacking libtorch needs ${need}, but the disk has ${free} free.`);
}
