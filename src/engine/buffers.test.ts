import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, it } from 'vitest';
import { counters, Memory, Scope, type Tensor } from './buffers.js';
import { toBfloat16 } from './dtype.js';
import { loadLibtorch } from './libtorch/load.js';
import { info } from './libtorch/tensors.js';
import { mmOut } from './libtorch/products.js';

loadLibtorch({ threads: 2 });
const none = counters();

afterEach(() => expect(counters()).toEqual(none));

const f32 = (...shape: number[]) => ({ dtype: 'f32', shape }) as const;

describe('Memory', () => {
  it('is aligned, counted, and writable from JavaScript', () => {
    const small = new Memory(100);
    const large = new Memory(5 << 20);
    expect(small.address % 64n).toBe(0n);
    expect(large.address % BigInt(2 << 20)).toBe(0n);
    expect(counters()).toEqual({ buffers: 2, bytes: 100 + (5 << 20), handles: 0 });
    large.asFloat32()[1_000_000] = 2.5;
    expect(large.asFloat32(4_000_000, 1)[0]).toBe(2.5);
    large.zero(4_000_000, 4);
    expect(large.asFloat32(4_000_000, 1)[0]).toBe(0);
    small.free();
    large.free();
    small.free();
  });

  it('throws after free and outside its range, and an array that was kept does not crash the process', () => {
    const memory = new Memory(5 << 20);
    const stale = memory.asInt32();
    stale.fill(7);
    expect(() => memory.asInt32(4, (5 << 20) / 4)).toThrow(/outside a memory/);
    expect(() => memory.asInt32(-4, 1)).toThrow(/outside|whole/);
    memory.free();
    expect(() => memory.asInt32()).toThrow(/after it had been freed/);
    expect(() => memory.address).toThrow(/after it had been freed/);
    expect(stale[5]).toBe(process.platform === 'linux' ? 0 : 7);
  });
});

describe('Tensor', () => {
  it('hands libtorch its own memory, with offset and strides', () => {
    using scope = new Scope();
    const arena = scope.memory(64 * 4);
    const a = arena.tensor(f32(2, 3), 64);
    a.write(Float32Array.of(1, 2, 3, 4, 5, 6));
    expect(info(a.handle())).toEqual({ dtype: 'f32', shape: [2, 3], strides: [3, 1], address: a.address });
    expect(info(a.transposedHandle())).toEqual({ dtype: 'f32', shape: [3, 2], strides: [1, 3], address: a.address });
    const row = a.view(3, [3]);
    expect(row.read()).toEqual(Float32Array.of(4, 5, 6));
    expect(info(row.handle()).address).toBe(a.address + 12n);
    const out = scope.tensor(f32(2, 2));
    mmOut(out.handle(), a.handle(), a.transposedHandle());
    expect([...out.data()]).toEqual([14, 32, 32, 77]);
    const column = a.stridedHandle([2, 1], [3, 1], 2);
    expect(a.stridedHandle([2, 1], [3, 1], 2)).toBe(column);
    expect(info(column).address).toBe(a.address + 8n);
    expect(() => a.stridedHandle([3, 1], [3, 1], 0)).toThrow(/outside the tensor/);
    expect(() => a.view(4, [3])).toThrow(/outside/);
    expect(() => a.write(Float64Array.of(1))).toThrow(/cannot take Float64Array/);
  });

  it('throws when it is used after its scope ended, unless it was kept', () => {
    let lost: Tensor, kept: Tensor;
    {
      using scope = new Scope();
      lost = scope.from(f32(2), Float32Array.of(1, 2));
      lost.handle();
      kept = scope.keep(scope.from(f32(2), Float32Array.of(3, 4)));
    }
    for (const use of [
      () => lost.handle(),
      () => lost.data(),
      () => lost.read(),
      () => lost.view(0, [1]),
      () => lost.address,
    ])
      expect(use).toThrow(/after it had been freed/);
    expect(kept.read()).toEqual(Float32Array.of(3, 4));
    kept.memory.free();
  });

  it('names the op, shapes and types where libtorch refuses', () => {
    using scope = new Scope();
    const a = scope.tensor(f32(2, 3));
    const b = scope.tensor({ dtype: 'f64', shape: [4, 5] });
    expect(() => mmOut(a.handle(), a.handle(), b.transposedHandle())).toThrow(
      /libtorch refused mm of f32\[2, 3\], f32\[2, 3\], f64\[5, 4\] with strides \[1, 5\]: .*shape/,
    );
  });
});

describe('a thousand steps', () => {
  it('leave counters and resident memory where they were', async () => {
    const ones = new Float32Array(600_000).fill(1);
    const step = () => {
      using scope = new Scope();
      const a = scope.tensor(f32(600, 1000));
      const b = scope.tensor(f32(1000, 8));
      a.write(ones);
      b.write(new Float32Array(8000).fill(2));
      const out = scope.tensor(f32(600, 8));
      mmOut(out.handle(), a.handle(), b.handle());
      expect(out.read()[4799]).toBe(2000);
    };
    const run = async (steps: number) => {
      for (let i = 0; i < steps; i++) {
        step();
        if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      return process.memoryUsage.rss();
    };
    const before = await run(200);
    const after = await run(1000);
    expect(counters()).toEqual(none);
    // A step allocates 2.4 MB: a leak of one of its three tensors in a hundred would show.
    expect(after - before).toBeLessThan(24e6);
  }, 30_000);
});

it('gives small memory back once no array over it is left', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const use = () => {
    using memory = new Memory(1 << 20);
    memory.asUint8().fill(1);
  };
  const before = process.memoryUsage.rss();
  for (let i = 0; i < 500; i++) {
    use();
    if (i % 20 === 0) {
      collect();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  expect(process.memoryUsage.rss() - before).toBeLessThan(100e6);
});

it('rounds to bfloat16 as IEEE does, ties to even', () => {
  expect([...toBfloat16([1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, -2, NaN])]).toEqual([0x3f80, 0x3f80, 0x3f82, 0xc000, 0x7fc0]);
});
