import { createHash } from 'node:crypto';
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { InputError } from '../../errors.js';

export const INDEX_FILE = 'index.json';
export const FORMAT = 'strata-shards';
export const FORMAT_VERSION = 1;
const SAMPLE_BYTES = 2 ** 16;

const count = z.int().min(0);
const hex = (length: number) =>
  z.string().regex(new RegExp(`^[0-9a-f]{${length}}$`), `expected ${length} hexadecimal digits`);

const shardSchema = z.strictObject({
  file: z.string().regex(/^[^/\\]+\.bin$/, 'expected the name of a .bin file in the same folder'),
  tokens: count,
  documents: count,
  /** SHA-256 of the token file and of the document ends. */
  sha256: hex(64),
  endsSha256: hex(64),
  /** SHA-256 of the first and last 64 KiB of the token file: read on every open. */
  sample: hex(64),
  /** SHA-256 of the mask of tokens that are trained on, one byte a token; without one all are. */
  maskSha256: hex(64).optional(),
});

const indexSchema = z.strictObject({
  format: z.literal(FORMAT),
  version: z.literal(FORMAT_VERSION),
  split: z.enum(['train', 'validation']),
  dtype: z.enum(['uint16', 'uint32']),
  vocabSize: z.int().min(1),
  tokenizer: z.strictObject({ file: z.string(), sha256: hex(64), eosId: count }),
  tokens: count,
  documents: count,
  /** Bytes of UTF-8 text that the tokens stand for, separators not counted. */
  textBytes: count,
  shards: z.array(shardSchema),
  sources: z.array(z.strictObject({ path: z.string(), bytes: count })),
  /** What was done to the documents, in order, with counts. */
  steps: z.array(z.looseObject({ name: z.string() })),
});

/** The index of a folder of token shards. */
export type ShardIndex = z.infer<typeof indexSchema>;
export type ShardEntry = z.infer<typeof shardSchema>;

export const bytesPerToken = (dtype: ShardIndex['dtype']): number => (dtype === 'uint16' ? 2 : 4);

/** The type that holds every id of a vocabulary. */
export const dtypeFor = (vocabSize: number): ShardIndex['dtype'] => (vocabSize <= 65536 ? 'uint16' : 'uint32');

/** Name of the file with a shard's document ends (uint32, tokens from the shard's start). */
export const endsFile = (shard: string): string => shard.replace(/\.bin$/, '.ends');

/** Name of the file that says which of a shard's tokens are trained on. */
export const maskFile = (shard: string): string => shard.replace(/\.bin$/, '.mask');

/** Reads a folder's index. @throws InputError naming file and field. */
export function readIndex(folder: string): ShardIndex {
  const file = join(folder, INDEX_FILE);
  if (!existsSync(file)) throw new InputError(`${folder}: expected token shards with an ${INDEX_FILE}, found none.`);
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new InputError(`${file}: expected JSON, found ${error instanceof Error ? error.message : String(error)}.`);
  }
  const result = indexSchema.safeParse(json);
  if (!result.success) {
    const issue = result.error.issues[0];
    throw new InputError(`${file}: ${issue ? `${z.core.toDotPath(issue.path)}: ${issue.message}` : 'not an index'}.`);
  }
  for (const field of ['tokens', 'documents'] as const) {
    const total = result.data.shards.reduce((sum, shard) => sum + shard[field], 0);
    if (total !== result.data[field])
      throw new InputError(
        `${file}: ${field}: expected the sum over the shards, ${total}, found ${result.data[field]}.`,
      );
  }
  return result.data;
}

/** The cheap checksum of an open file: SHA-256 of its first and last 64 KiB. */
export function sampleChecksum(descriptor: number): string {
  const { size } = fstatSync(descriptor);
  const head = Buffer.alloc(Math.min(size, SAMPLE_BYTES));
  const tail = Buffer.alloc(Math.min(size, SAMPLE_BYTES));
  readSync(descriptor, head, 0, head.length, 0);
  readSync(descriptor, tail, 0, tail.length, size - tail.length);
  return createHash('sha256').update(head).update(tail).digest('hex');
}

/** SHA-256 of a whole file. */
export function fileSha256(path: string, onRead: (bytes: number) => void = () => {}): string {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(2 ** 20);
  const descriptor = openSync(path, 'r');
  try {
    for (let read = readSync(descriptor, buffer); read > 0; read = readSync(descriptor, buffer)) {
      hash.update(buffer.subarray(0, read));
      onRead(read);
    }
  } finally {
    closeSync(descriptor);
  }
  return hash.digest('hex');
}
