import { cite, InputError } from '../../errors.js';
import { isDeeperThan } from '../json.js';
import { isStoredDType, type StoredDType, storedDtypeBytes } from './dtype.js';

/** The largest header that is read: the format's own limit. */
export const MAX_HEADER_BYTES = 100_000_000;
const MAX_DIMENSIONS = 32;

/** One tensor of a safetensors file. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  /** First byte in the file. */
  readonly offset: number;
  /** Number of bytes. */
  readonly bytes: number;
}

/** What the header of a safetensors file says. */
export interface SafetensorsHeader {
  /** In the order in which they lie in the file. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Readonly<Record<string, string>>;
  /** Where the tensors begin. */
  readonly dataOffset: number;
}

/** Number of elements of a shape, or undefined where it is not exact. */
function countElements(shape: readonly number[]): number | undefined {
  let count = 1;
  for (const size of shape) count *= size;
  return Number.isSafeInteger(count) ? count : undefined;
}

/**
 * Parses a header and checks that its tensors cover the file without gap or overlap.
 *
 * @param text The JSON bytes, without the 8-byte length.
 * @param fileBytes Size of the whole file.
 * @param file Named in errors.
 * @throws InputError naming file and tensor.
 */
export function parseHeader(text: Uint8Array, fileBytes: number, file: string): SafetensorsHeader {
  const fail = (what: string): never => {
    throw new InputError(`${file}: ${what}.`);
  };
  const json = parseJson(text, file);
  const dataOffset = 8 + text.length;
  const dataBytes = fileBytes - dataOffset;
  let metadata: Record<string, string> = {};
  const entries: TensorEntry[] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name === '__metadata__') metadata = parseMetadata(value, file);
    else entries.push(parseEntry(name, value, dataOffset, file));
  }
  entries.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let end = dataOffset;
  for (const { name, offset, bytes } of entries) {
    if (offset < end) fail(`tensor ${cite(name)} overlaps the one before it`);
    if (offset > end) fail(`${offset - end} bytes before tensor ${cite(name)} belong to no tensor`);
    end = offset + bytes;
    if (end > fileBytes)
      fail(`tensor ${cite(name)} ends at byte ${end - dataOffset} of the data, but there are only ${dataBytes}`);
  }
  if (end !== fileBytes) fail(`${fileBytes - end} bytes at the end belong to no tensor`);
  return { tensors: new Map(entries.map((entry) => [entry.name, entry])), metadata, dataOffset };
}

function parseJson(text: Uint8Array, file: string): Record<string, unknown> {
  let decoded: string;
  try {
    decoded = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(text);
  } catch {
    throw new InputError(`${file}: the safetensors header is not valid UTF-8.`);
  }
  if (!decoded.startsWith('{')) throw new InputError(`${file}: the safetensors header must begin with "{".`);
  if (isDeeperThan(decoded, MAX_DEPTH)) throw new InputError(`${file}: the safetensors header is nested too deeply.`);
  let json: unknown;
  try {
    json = JSON.parse(decoded);
  } catch {
    throw new InputError(`${file}: the safetensors header is not valid JSON.`);
  }
  const duplicate = findDuplicateKey(decoded);
  if (duplicate !== undefined) throw new InputError(`${file}: the safetensors header names ${cite(duplicate)} twice.`);
  return json as Record<string, unknown>;
}

const MAX_DEPTH = 4;

/** JSON.parse keeps the last of two equal keys silently, so they are looked for in the text. Takes valid JSON. */
function findDuplicateKey(json: string): string | undefined {
  const seen: (Set<string> | undefined)[] = [];
  for (let i = 0; i < json.length; i++) {
    const c = json[i];
    if (c === '{') seen.push(new Set());
    else if (c === '[') seen.push(undefined);
    else if (c === '}' || c === ']') seen.pop();
    else if (c === '"') {
      const start = i;
      for (i++; json[i] !== '"'; i++) if (json[i] === '\\') i++;
      let next = i + 1;
      while (/\s/.test(json[next] ?? '')) next++;
      if (json[next] !== ':') continue;
      const key = JSON.parse(json.slice(start, i + 1)) as string;
      const keys = seen.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return undefined;
}

function parseMetadata(value: unknown, file: string): Record<string, string> {
  const valid =
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((text) => typeof text === 'string');
  if (!valid) throw new InputError(`${file}: the header's __metadata__ must map texts to texts.`);
  return value as Record<string, string>;
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function parseEntry(name: string, value: unknown, dataOffset: number, file: string): TensorEntry {
  const fail = (what: string): never => {
    throw new InputError(`${file}: tensor ${cite(name)} ${what}.`);
  };
  if (typeof value !== 'object' || value === null) return fail('has no description');
  const { dtype, shape, data_offsets: offsets } = value as Record<string, unknown>;
  if (typeof dtype !== 'string' || !isStoredDType(dtype))
    return fail(`has dtype ${cite(dtype)}, which Strata does not know`);
  if (!Array.isArray(shape) || shape.length > MAX_DIMENSIONS || !shape.every(isSize))
    return fail('has a shape that is not a list of sizes');
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize))
    return fail('has data_offsets that are not two byte positions');
  const [begin, end] = offsets as [number, number];
  const count = countElements(shape as number[]);
  const bytes = count === undefined ? undefined : count * storedDtypeBytes[dtype];
  if (bytes === undefined || !Number.isSafeInteger(bytes)) return fail(`has a shape too large to count: [${shape}]`);
  if (end - begin !== bytes)
    return fail(`of shape [${shape}] and dtype ${dtype} needs ${bytes} bytes, its offsets give ${end - begin}`);
  return { name, dtype, shape: shape as number[], offset: dataOffset + begin, bytes };
}

/** Bytes of a header for tensors in the given order: 8-byte length and JSON, padded to a multiple of 8. */
export function encodeHeader(
  tensors: readonly { readonly name: string; readonly dtype: StoredDType; readonly shape: readonly number[] }[],
  metadata: Readonly<Record<string, string>>,
): { header: Buffer; offsets: number[]; fileBytes: number } {
  let position = 0;
  const offsets: number[] = [];
  // Without a prototype, so that a tensor may be called __proto__.
  const json = Object.assign(Object.create(null) as Record<string, unknown>, { __metadata__: metadata });
  for (const { name, dtype, shape } of tensors) {
    const bytes = (countElements(shape) ?? NaN) * storedDtypeBytes[dtype];
    json[name] = { dtype, shape, data_offsets: [position, position + bytes] };
    offsets.push(position);
    position += bytes;
  }
  const text = Buffer.from(JSON.stringify(json));
  const padded = Buffer.alloc(8 + Math.ceil(text.length / 8) * 8, ' ');
  padded.writeBigUInt64LE(BigInt(padded.length - 8), 0);
  text.copy(padded, 8);
  return {
    header: padded,
    offsets: offsets.map((offset) => offset + padded.length),
    fileBytes: padded.length + position,
  };
}
