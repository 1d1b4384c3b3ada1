import { existsSync, readFileSync, statSync } from 'node:fs';
import { InputError } from '../../errors.js';

// Megatron-LM's IndexedDataset (megatron/core/datasets/indexed_dataset.py): magic, u64 version 1, u8 dtype, u64 sequences,
// u64 documents, int32 lengths, int64 byte offsets, int64 indexes of the sequences that documents start with.
const MAGIC = Buffer.from('MMIDIDX\0\0', 'latin1');
const HEADER_BYTES = MAGIC.length + 8 + 1 + 8 + 8;
const DTYPES: Readonly<Record<number, 2 | 4>> = { 8: 2, 4: 4 };
const MAX_INDEX_BYTES = 2 ** 31;

/** What a Megatron index says: sequences one behind the other. */
export interface MegatronIndex {
  readonly bytesPerToken: 2 | 4;
  readonly tokens: number;
  readonly lengths: Int32Array;
}

/** Reads an `.idx`, or undefined if there is none. @throws InputError naming the field that does not fit. */
export function readMegatronIndex(path: string): MegatronIndex | undefined {
  if (!existsSync(path)) return undefined;
  const { size } = statSync(path);
  if (size < HEADER_BYTES || size > MAX_INDEX_BYTES)
    throw new InputError(`${path}: expected ${HEADER_BYTES} to ${MAX_INDEX_BYTES} bytes, found ${size}.`);
  const bytes = readFileSync(path);
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC))
    throw new InputError(`${path}: expected a Megatron index (MMIDIDX), found another file.`);
  const version = bytes.readBigUInt64LE(9);
  if (version !== 1n) throw new InputError(`${path}: version: expected 1, found ${version}.`);
  const dtype = bytes[17] ?? 0;
  const bytesPerToken = DTYPES[dtype];
  if (bytesPerToken === undefined)
    throw new InputError(`${path}: dtype: expected 8 (uint16) or 4 (int32), found ${dtype}.`);
  const sequences = Number(bytes.readBigUInt64LE(18));
  if (size < HEADER_BYTES + sequences * 12)
    throw new InputError(`${path}: expected lengths and offsets of ${sequences} sequences, found ${size} bytes.`);
  const lengths = Int32Array.from({ length: sequences }, (_, i) => bytes.readInt32LE(HEADER_BYTES + i * 4));
  let tokens = 0;
  lengths.forEach((length, i) => {
    const offset = Number(bytes.readBigInt64LE(HEADER_BYTES + sequences * 4 + i * 8));
    if (length < 0 || offset !== tokens * bytesPerToken)
      throw new InputError(`${path}: sequence ${i}: expected it behind the one before, found offset ${offset}.`);
    tokens += length;
  });
  return { bytesPerToken, tokens, lengths };
}

/** The `.idx` for documents of these lengths in tokens, one sequence each. */
export function megatronIndex(lengths: readonly number[], bytesPerToken: 2 | 4): Buffer {
  const count = lengths.length;
  const bytes = Buffer.alloc(HEADER_BYTES + count * 12 + (count + 1) * 8);
  MAGIC.copy(bytes);
  bytes.writeBigUInt64LE(1n, 9);
  bytes[17] = bytesPerToken === 2 ? 8 : 4;
  bytes.writeBigUInt64LE(BigInt(count), 18);
  bytes.writeBigUInt64LE(BigInt(count + 1), 26);
  let tokens = 0;
  lengths.forEach((length, i) => {
    bytes.writeInt32LE(length, HEADER_BYTES + i * 4);
    bytes.writeBigInt64LE(BigInt(tokens * bytesPerToken), HEADER_BYTES + count * 4 + i * 8);
    tokens += length;
  });
  for (let document = 0; document <= count; document++)
    bytes.writeBigInt64LE(BigInt(document), HEADER_BYTES + count * 12 + document * 8);
  return bytes;
}
