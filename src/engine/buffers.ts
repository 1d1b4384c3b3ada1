import koffi from 'koffi';
import { WorkError } from '../errors.js';
import { dtypeBytes, numElements, tensorBytes, type TensorType, type Value } from '../ops/types.js';
import { arrayTypes, type ElementArray } from './dtype.js';
import { contiguousStrides, fromBlob, liveHandles, reinterpret, release, type Handle } from './libtorch/tensors.js';
import { allocate, system, type Block } from './system.js';

/** Memory and handles that are alive; every engine test asserts that it ends where it began. */
export interface Counters {
  readonly buffers: number;
  readonly bytes: number;
  readonly handles: number;
}

let liveBuffers = 0;
let liveBytes = 0;

/** What is alive now. Bytes are those asked for, without alignment. */
export const counters = (): Counters => ({ buffers: liveBuffers, bytes: liveBytes, handles: liveHandles() });

/** An ArrayBuffer of V8 holds less than 4 GiB; larger memory is viewed in parts. */
const MOST_VIEW_BYTES = 2 ** 31;

/**
 * Addresses outlive `free` while JavaScript still holds an array over them: such an array then reads zeros or garbage, but
 * the process does not crash.
 */
const viewed = new Map<Block, { arrays: number; freed: boolean }>();
const forgotten = new FinalizationRegistry<Block>((block) => {
  const state = viewed.get(block);
  if (state === undefined || --state.arrays > 0) return;
  viewed.delete(block);
  if (state.freed) block.release();
});

/** Memory that we own: aligned, in one piece, its content undefined until written. */
export class Memory {
  readonly bytes: number;
  readonly #block: Block;
  readonly #tensors = new Set<Tensor>();
  #array: WeakRef<ArrayBuffer> | undefined;
  #freed = false;

  /** @throws WorkError where the system has no more. */
  constructor(bytes: number) {
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw new RangeError(`bytes must be a whole number, not ${bytes}`);
    this.bytes = bytes;
    this.#block = allocate(bytes);
    liveBuffers++;
    liveBytes += bytes;
  }

  get freed(): boolean {
    return this.#freed;
  }

  /** Address of the first byte. Throws after `free`. */
  get address(): bigint {
    this.#checkAlive();
    return this.#block.address;
  }

  /** A tensor in this memory, from `offset` (bytes) on; its handles are freed with the memory at the latest. */
  tensor(type: TensorType, offset = 0): Tensor {
    this.#checkRange(offset, tensorBytes(type));
    const tensor = new Tensor(type, this, offset, () => this.#tensors.delete(tensor));
    this.#tensors.add(tensor);
    return tensor;
  }

  /** `count` f64 values from `offset` (bytes) on, without a copy. */
  asFloat64(offset = 0, count = this.#count(offset, 8)): Float64Array {
    return new Float64Array(...this.#view(offset, count, 8));
  }

  /** `count` f32 values from `offset` (bytes) on, without a copy. */
  asFloat32(offset = 0, count = this.#count(offset, 4)): Float32Array {
    return new Float32Array(...this.#view(offset, count, 4));
  }

  /** The bits of `count` bf16 values from `offset` (bytes) on, without a copy. */
  asUint16(offset = 0, count = this.#count(offset, 2)): Uint16Array {
    return new Uint16Array(...this.#view(offset, count, 2));
  }

  /** `count` i64 values from `offset` (bytes) on, without a copy. */
  asBigInt64(offset = 0, count = this.#count(offset, 8)): BigInt64Array {
    return new BigInt64Array(...this.#view(offset, count, 8));
  }

  /** `count` i32 values from `offset` (bytes) on, without a copy. */
  asInt32(offset = 0, count = this.#count(offset, 4)): Int32Array {
    return new Int32Array(...this.#view(offset, count, 4));
  }

  /** `count` bytes from `offset` on, without a copy. */
  asUint8(offset = 0, count = this.#count(offset, 1)): Uint8Array {
    return new Uint8Array(...this.#view(offset, count, 1));
  }

  /** Sets `count` bytes from `offset` on to zero. */
  zero(offset = 0, count = this.bytes - offset): void {
    this.#checkRange(offset, count);
    system().memset(this.#block.address + BigInt(offset), 0, count);
  }

  /** Copies JavaScript memory to `offset` (bytes). */
  write(from: ArrayBufferView, offset = 0): void {
    this.#checkRange(offset, from.byteLength);
    if (from.byteLength > 0) system().memcpy(this.#block.address + BigInt(offset), from, from.byteLength);
  }

  /** Fills JavaScript memory from `offset` (bytes) on. */
  read(into: ArrayBufferView, offset = 0): void {
    this.#checkRange(offset, into.byteLength);
    if (into.byteLength > 0) system().memcpy(into, this.#block.address + BigInt(offset), into.byteLength);
  }

  /** Gives the memory back, and the handles of all tensors in it. A second call does nothing. */
  free(): void {
    if (this.#freed) return;
    for (const tensor of [...this.#tensors]) tensor.releaseHandles();
    this.#freed = true;
    liveBuffers--;
    liveBytes -= this.bytes;
    const state = viewed.get(this.#block);
    if (state === undefined) this.#block.release();
    else {
      state.freed = true;
      this.#block.discard();
    }
  }

  [Symbol.dispose](): void {
    this.free();
  }

  #count(offset: number, elementBytes: number): number {
    return Math.floor((this.bytes - offset) / elementBytes);
  }

  #view(offset: number, count: number, elementBytes: number): [ArrayBuffer, number, number] {
    const bytes = count * elementBytes;
    this.#checkRange(offset, bytes);
    if (this.bytes <= MOST_VIEW_BYTES) {
      const known = this.#array?.deref();
      const array = known ?? this.#arrayOver(0, this.bytes);
      if (known === undefined) this.#array = new WeakRef(array);
      return [array, offset, count];
    }
    if (bytes > MOST_VIEW_BYTES)
      throw new RangeError(`a view of ${bytes} bytes was asked for; at most ${MOST_VIEW_BYTES} are possible at once`);
    return [this.#arrayOver(offset, bytes), 0, count];
  }

  #arrayOver(offset: number, bytes: number): ArrayBuffer {
    const array = koffi.view(this.#block.address + BigInt(offset), bytes);
    const state = viewed.get(this.#block) ?? { arrays: 0, freed: false };
    state.arrays++;
    viewed.set(this.#block, state);
    forgotten.register(array, this.#block);
    return array;
  }

  #checkAlive(): void {
    if (this.#freed) throw new WorkError('Memory of a tensor was used after it had been freed.');
  }

  #checkRange(offset: number, bytes: number): void {
    this.#checkAlive();
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(bytes) || offset < 0 || bytes < 0)
      throw new RangeError(`offset ${offset} and length ${bytes} must be whole numbers`);
    if (offset + bytes > this.bytes)
      throw new RangeError(`bytes ${offset} to ${offset + bytes} lie outside a memory of ${this.bytes} bytes`);
  }
}

/** A contiguous, row-major tensor in a `Memory`; libtorch's handles of it are made when first asked for. */
export class Tensor implements Value {
  readonly type: TensorType;
  readonly memory: Memory;
  /** Bytes from the start of the memory. */
  readonly offset: number;
  readonly #forget: () => void;
  #handle: Handle | undefined;
  #transposed: Handle | undefined;
  #others: Map<string, Handle> | undefined;
  #released = false;

  /** Made by `Memory.tensor`, which checks the range. */
  constructor(type: TensorType, memory: Memory, offset: number, forget: () => void) {
    this.type = type;
    this.memory = memory;
    this.offset = offset;
    this.#forget = forget;
  }

  /** Where the first element is. Throws after the memory was freed. */
  get address(): bigint {
    this.#checkAlive();
    return this.memory.address + BigInt(this.offset);
  }

  /** libtorch's handle of this tensor; it stays this tensor's. */
  handle(): Handle {
    this.#checkAlive();
    return (this.#handle ??= fromBlob(this.address, this.type.dtype, this.type.shape));
  }

  /** A handle with the last two dimensions swapped, over the same memory. */
  transposedHandle(): Handle {
    this.#checkAlive();
    if (this.#transposed !== undefined) return this.#transposed;
    const [shape, strides] = [[...this.type.shape], contiguousStrides(this.type.shape)];
    for (const list of [shape, strides]) list.push(...list.splice(-2).reverse());
    return (this.#transposed = reinterpret(this.handle(), shape, strides));
  }

  /** A handle with any sizes and strides (in elements) over the same memory; `offset` counts elements. */
  stridedHandle(shape: readonly number[], strides = contiguousStrides(shape), offset = 0): Handle {
    const last = offset + shape.reduce((sum, size, i) => sum + Math.max(0, size - 1) * (strides[i] ?? 0), 0);
    if (offset < 0 || (last >= numElements(this.type.shape) && numElements(shape) > 0))
      throw new RangeError(`[${shape.join(', ')}] with strides [${strides.join(', ')}] reaches outside the tensor`);
    const key = `${shape.join()};${strides.join()};${offset}`;
    const known = this.#others?.get(key);
    if (known !== undefined) return known;
    const made = reinterpret(this.handle(), shape, strides, offset);
    (this.#others ??= new Map<string, Handle>()).set(key, made);
    return made;
  }

  /** A contiguous part as a tensor of its own, without a copy; `offset` counts elements. */
  view(offset: number, shape: readonly number[]): Tensor {
    this.#checkAlive();
    if (offset < 0 || offset + numElements(shape) > numElements(this.type.shape))
      throw new RangeError(
        `[${shape.join(', ')}] from element ${offset} on lies outside [${this.type.shape.join(', ')}]`,
      );
    const { dtype } = this.type;
    return this.memory.tensor({ dtype, shape }, this.offset + offset * dtypeBytes[dtype]);
  }

  /** The elements as a JavaScript array over the same memory; valid until the memory is freed. bf16 as bits. */
  data(): ElementArray {
    const { dtype, shape } = this.type;
    const count = numElements(shape);
    const { memory, offset } = this;
    switch (dtype) {
      case 'f64':
        return memory.asFloat64(offset, count);
      case 'f32':
        return memory.asFloat32(offset, count);
      case 'bf16':
        return memory.asUint16(offset, count);
      case 'i64':
        return memory.asBigInt64(offset, count);
      case 'i32':
        return memory.asInt32(offset, count);
      case 'bool':
        return memory.asUint8(offset, count);
      default:
        return dtype satisfies never;
    }
  }

  /** A copy of the elements, which outlives the tensor. bf16 as bits. */
  read(): ElementArray {
    this.#checkAlive();
    const copy = new arrayTypes[this.type.dtype](numElements(this.type.shape));
    this.memory.read(copy, this.offset);
    return copy;
  }

  /** Sets all elements; the array's type and length must be the tensor's. */
  write(values: ElementArray): void {
    this.#checkAlive();
    const { dtype, shape } = this.type;
    if (!(values instanceof arrayTypes[dtype]) || values.length !== numElements(shape))
      throw new RangeError(`${dtype}[${shape.join(', ')}] cannot take ${values.constructor.name}(${values.length})`);
    this.memory.write(values, this.offset);
  }

  /** Gives the handles back and ends this tensor; the memory stays. */
  releaseHandles(): void {
    if (this.#released) return;
    this.#released = true;
    for (const handle of [this.#transposed, ...(this.#others?.values() ?? []), this.#handle])
      if (handle !== undefined) release(handle);
    this.#handle = this.#transposed = this.#others = undefined;
    this.#forget();
  }

  #checkAlive(): void {
    if (this.#released || this.memory.freed)
      throw new WorkError(
        `A tensor ${this.type.dtype}[${this.type.shape.join(', ')}] was used after it had been freed.`,
      );
  }
}

/** Frees what was allocated in it when it ends (`using scope = new Scope()`), except what was kept. */
export class Scope {
  readonly #memories = new Set<Memory>();
  readonly #handles: Handle[] = [];

  /** Memory that lives as long as the scope. */
  memory(bytes: number): Memory {
    const memory = new Memory(bytes);
    this.#memories.add(memory);
    return memory;
  }

  /** A tensor with memory of its own; its content is undefined. */
  tensor(type: TensorType): Tensor {
    return this.memory(tensorBytes(type)).tensor(type);
  }

  /** A tensor holding given values. */
  from(type: TensorType, values: ElementArray): Tensor {
    const tensor = this.tensor(type);
    tensor.write(values);
    return tensor;
  }

  /** Takes over a handle that a call returned. */
  adopt(handle: Handle): Handle {
    this.#handles.push(handle);
    return handle;
  }

  /** Lets a tensor of this scope live on: whoever asked for it frees its memory. */
  keep(tensor: Tensor): Tensor {
    if (!this.#memories.delete(tensor.memory)) throw new RangeError('only a tensor of this scope can be kept');
    return tensor;
  }

  [Symbol.dispose](): void {
    for (const handle of this.#handles.splice(0)) release(handle);
    for (const memory of this.#memories) memory.free();
    this.#memories.clear();
  }
}
