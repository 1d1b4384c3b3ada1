/** Numbers from 0 to 1, excluding 1. */
export type Random = () => number;

/** A generator of its own for every case, so that each can be tried alone. Source: T. Ettinger, mulberry32 (public domain). */
export function randomFrom(seed: number): Random {
  let state = Math.imul(seed + 1, 0x9e3779b1);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const integer = (random: Random, below: number): number => Math.floor(random() * below);
const choose = <T>(random: Random, list: readonly T[]): T => list[integer(random, list.length)]!;

/** Numbers at which sizes and offsets go wrong. */
const edges = [
  0n,
  1n,
  2n,
  3n,
  127n,
  255n,
  65535n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

/** One to four changes of bytes, most of them among the first `head`. */
export function mutateBytes(original: Buffer, random: Random, head: number): Buffer {
  let bytes: Buffer = Buffer.from(original);
  for (let edits = 1 + integer(random, 4); edits > 0; edits--) {
    const at = integer(random, Math.max(1, random() < 0.8 ? Math.min(head, bytes.length) : bytes.length));
    bytes = choose(random, byteEdits)(bytes, at, random);
  }
  return bytes;
}

type ByteEdit = (bytes: Buffer, at: number, random: Random) => Buffer;

const overwrite = (bytes: Buffer, at: number, written: Buffer): Buffer => {
  written.copy(bytes, at, 0, Math.max(0, Math.min(written.length, bytes.length - at)));
  return bytes;
};

const spliced = (bytes: Buffer, at: number, removed: number, inserted: Uint8Array): Buffer =>
  Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at + removed)]);

function edge(random: Random): Buffer {
  const number = Buffer.alloc(8);
  number.writeBigUInt64LE(choose(random, edges));
  return number.subarray(0, choose(random, [1, 2, 4, 4, 8, 8]));
}

const byteEdits: readonly ByteEdit[] = [
  (bytes, at, random) => overwrite(bytes, at, Buffer.of(integer(random, 256))),
  (bytes, at, random) => overwrite(bytes, at, Buffer.of((bytes[at] ?? 0) ^ (1 << integer(random, 8)))),
  (bytes, at, random) => overwrite(bytes, at, edge(random)),
  (bytes, at, random) => overwrite(bytes, at - (at % 4), edge(random)),
  (bytes, at, random) =>
    spliced(bytes, at, 0, Buffer.from(Array.from({ length: 1 + integer(random, 8) }, () => integer(random, 256)))),
  (bytes, at, random) => spliced(bytes, at, 1 + integer(random, 16), Buffer.alloc(0)),
  (bytes, at, random) =>
    spliced(bytes, integer(random, bytes.length + 1), 0, bytes.subarray(at, at + integer(random, 64))),
  (bytes, at) => bytes.subarray(0, at),
];

/** Changes of a JSON text as a value, of its characters, or both. */
export function mutateText(original: Buffer, random: Random): Buffer {
  const which = random();
  const edited = which < 0.7 ? mutateJson(original, random) : original;
  return which < 0.6 ? edited : mutateBytes(edited, random, edited.length);
}

/** One to three values of a JSON object removed, exchanged, or replaced by others that nobody expects. */
export function mutateJson(original: Buffer, random: Random): Buffer {
  const json = { root: JSON.parse(original.toString('utf8')) as unknown };
  for (let edits = 1 + integer(random, 3); edits > 0; edits--) {
    const { holder, key } = pick(json.root, random) ?? { holder: json, key: 'root' };
    choose(random, jsonEdits)(holder, key, random);
  }
  return Buffer.from(JSON.stringify(json.root ?? null));
}

type Holder = Record<string, unknown>;
type JsonEdit = (holder: Holder, key: string, random: Random) => void;

/** A place somewhere in a value. */
function pick(value: unknown, random: Random): { holder: Holder; key: string } | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const keys = Object.keys(value);
  if (keys.length === 0) return undefined;
  const key = choose(random, keys);
  const deeper = random() < 0.6 ? pick((value as Holder)[key], random) : undefined;
  return deeper ?? { holder: value as Holder, key };
}

const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)]);

const unexpected: readonly ((random: Random) => unknown)[] = [
  () => null,
  () => true,
  () => '',
  () => 'x'.repeat(100_000),
  () => '\u001b[2J\n\u009b',
  () => '../../outside.safetensors',
  () => [],
  () => ({}),
  () => ({ __proto__: null, constructor: 1 }),
  () => nested(3),
  () => nested(1000),
  () => Array.from({ length: 1000 }, (_, i) => i),
  (random) => Number(choose(random, edges)),
  (random) => -Number(choose(random, edges)),
  (random) => integer(random, 20),
  (random) => 10 ** integer(random, 12),
  (random) => random() * 10,
  () => 1e308,
  () => 5e-324,
];

const jsonEdits: readonly JsonEdit[] = [
  (holder, key, random) => void (holder[key] = choose(random, unexpected)(random)),
  (holder, key, random) => void (holder[key] = choose(random, unexpected)(random)),
  (holder, key, random) =>
    void (holder[key] =
      typeof holder[key] === 'number' ? (holder[key] as number) + integer(random, 3) - 1 : holder[key]),
  (holder, key) => void Reflect.deleteProperty(holder, key),
  (holder, key, random) => {
    const other = choose(random, Object.keys(holder));
    [holder[key], holder[other]] = [holder[other], holder[key]];
  },
  (holder, key, random) =>
    void (holder[choose(random, ['__proto__', 'a', 'layer_types', '\u001b[31m\n', 'x'.repeat(5000)])] = holder[key]),
];
