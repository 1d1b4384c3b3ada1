import { maskedCrc32c } from './crc32c.js';

/** A number to be drawn: one point of the curve `tag`. */
export interface Scalar {
  readonly tag: string;
  readonly step: number;
  /** Seconds since the Unix epoch. */
  readonly wallTime: number;
  readonly value: number;
}

/** What every event file begins with. */
export const fileVersion = (wallTime: number): Buffer =>
  framed(Buffer.concat([float64(1, wallTime), bytes(3, Buffer.from('brain.Event:2'))]));

/** An event with one scalar, as it stands in an event file. Source: tensorflow/core/util/event.proto and summary.proto. */
export function scalarEvent({ tag, step, wallTime, value }: Scalar): Buffer {
  const point = Buffer.concat([bytes(1, Buffer.from(tag)), float32(2, value)]);
  return framed(Buffer.concat([float64(1, wallTime), varint(2, step), bytes(5, bytes(1, point))]));
}

/** A TFRecord: length, its checksum, data, its checksum. */
function framed(data: Buffer): Buffer {
  const length = Buffer.alloc(12);
  length.writeBigUInt64LE(BigInt(data.length));
  length.writeUInt32LE(maskedCrc32c(length.subarray(0, 8)), 8);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(maskedCrc32c(data));
  return Buffer.concat([length, data, checksum]);
}

/** Wire types of protocol buffers: https://protobuf.dev/programming-guides/encoding. */
const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;

const key = (field: number, wire: number): Buffer => Buffer.of((field << 3) | wire);

function encodeVarint(value: number): Buffer {
  const out: number[] = [];
  let rest = BigInt(value);
  do {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    out.push(rest === 0n ? low : low | 0x80);
  } while (rest !== 0n);
  return Buffer.from(out);
}

const varint = (field: number, value: number): Buffer => Buffer.concat([key(field, VARINT), encodeVarint(value)]);

const bytes = (field: number, data: Buffer): Buffer =>
  Buffer.concat([key(field, LENGTH), encodeVarint(data.length), data]);

function float64(field: number, value: number): Buffer {
  const data = Buffer.alloc(8);
  data.writeDoubleLE(value);
  return Buffer.concat([key(field, FIXED64), data]);
}

function float32(field: number, value: number): Buffer {
  const data = Buffer.alloc(4);
  data.writeFloatLE(value);
  return Buffer.concat([key(field, FIXED32), data]);
}
