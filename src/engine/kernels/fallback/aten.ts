import { WorkError } from '../../../errors.js';
import { at, type DType } from '../../../ops/index.js';
import { arg, dispatch, type Argument } from '../../libtorch/dispatch.js';
import { libtorch, type Libtorch } from '../../libtorch/load.js';
import { copy, zero } from '../../libtorch/products.js';
import { check, emptyStrided, owned, reinterpret, release, type Handle } from '../../libtorch/tensors.js';
import type { TensorMemory } from '../types.js';

/** What the dispatcher cannot call, as these operators have a `Scalar` in their schema. */
interface ScalarCalls {
  readonly add: (a: Handle, b: Handle, alpha: number, result: BigUint64Array) => number;
  readonly addScalar: (a: Handle, b: number, alpha: number, result: BigUint64Array) => number;
  readonly mulScalar: (a: Handle, b: number, result: BigUint64Array) => number;
}

let bound: { readonly of: Libtorch; readonly calls: ScalarCalls } | undefined;

function scalarCalls(): ScalarCalls {
  const engine = libtorch();
  if (bound?.of === engine) return bound.calls;
  const { library } = engine;
  try {
    const calls = {
      add: library.func('int32_t aoti_torch_cpu_add_Tensor(uint64_t, uint64_t, double, void *)'),
      addScalar: library.func('int32_t aoti_torch_cpu_add_Scalar(uint64_t, double, double, void *)'),
      mulScalar: library.func('int32_t aoti_torch_cpu_mul_Scalar(uint64_t, double, void *)'),
    } as unknown as ScalarCalls;
    bound = { of: engine, calls };
    return calls;
  } catch (cause) {
    throw new WorkError(`libtorch ${engine.place.version} lacks a function that the kernels made of its calls need.`, {
      cause,
    });
  }
}

const result = new BigUint64Array(1);

/** Type in which a kernel computes: bf16 is widened, all others are kept. */
export const computeType = (dtype: DType): DType => (dtype === 'bf16' ? 'f32' : dtype);

/**
 * Tensors that a kernel makes on its way, deleted when it ends (`using aten = new Aten()`).
 *
 * All results belong to it; arguments are not consumed.
 */
export class Aten {
  readonly #handles: Handle[] = [];

  own(handle: Handle): Handle {
    this.#handles.push(handle);
    return handle;
  }

  [Symbol.dispose](): void {
    for (const handle of this.#handles) release(handle);
    this.#handles.length = 0;
  }

  /** Any operator with one result, on arguments made by `arg`, or handles. */
  call(op: string, overload: string, ...args: readonly (Argument | Handle)[]): Handle {
    const prepared = args.map((argument) => (typeof argument === 'bigint' ? arg.tensor(argument) : argument));
    return this.own(at(dispatch(`aten::${op}`, overload, prepared), 0));
  }

  /** An uninitialised tensor. */
  empty(dtype: DType, shape: readonly number[]): Handle {
    return this.own(emptyStrided(dtype, shape));
  }

  /** A tensor of zeros. */
  zeros(dtype: DType, shape: readonly number[]): Handle {
    const handle = this.empty(dtype, shape);
    zero(handle);
    return handle;
  }

  /** A converted copy. */
  convert(handle: Handle, dtype: DType, shape: readonly number[]): Handle {
    const converted = this.empty(dtype, shape);
    copy(converted, handle);
    return converted;
  }

  /** A tensor in the type that kernels compute in: itself, or a converted copy. */
  wide(tensor: TensorMemory): Handle {
    const { dtype, shape } = tensor.type;
    const target = computeType(dtype);
    return target === dtype ? tensor.handle() : this.convert(tensor.handle(), target, shape);
  }

  view(handle: Handle, shape: readonly number[], strides: readonly number[], offset = 0): Handle {
    return this.own(reinterpret(handle, shape, strides, offset));
  }

  /** a + alpha b, broadcast. */
  add(a: Handle, b: Handle, alpha = 1): Handle {
    const status = scalarCalls().add(a, b, alpha, result);
    if (status !== 0) check(status, 'add', [a, b]);
    return this.own(owned(result[0]));
  }

  sub(a: Handle, b: Handle): Handle {
    return this.add(a, b, -1);
  }

  addScalar(a: Handle, b: number): Handle {
    check(scalarCalls().addScalar(a, b, 1, result), 'add', [a]);
    return this.own(owned(result[0]));
  }

  mul(a: Handle, b: Handle): Handle {
    return this.call('mul', 'Tensor', a, b);
  }

  mulScalar(a: Handle, b: number): Handle {
    check(scalarCalls().mulScalar(a, b, result), 'mul', [a]);
    return this.own(owned(result[0]));
  }

  div(a: Handle, b: Handle): Handle {
    return this.call('div', 'Tensor', a, b);
  }

  /** cap * tanh(a / cap). */
  softcap(a: Handle, cap: number): Handle {
    return this.mulScalar(this.call('tanh', '', this.mulScalar(a, 1 / cap)), cap);
  }

  sum(a: Handle, dim: number, keepDim = false): Handle {
    return this.call('sum', 'dim_IntList', a, arg.optional(arg.intList([dim])), arg.bool(keepDim), arg.none);
  }

  mean(a: Handle, dim: number, keepDim = false): Handle {
    return this.call('mean', 'dim', a, arg.optional(arg.intList([dim])), arg.bool(keepDim), arg.none);
  }

  /** output = value, or output + value, rounded to the output's type once. */
  write(output: TensorMemory, value: Handle, accumulate = false): void {
    copy(output.handle(), accumulate ? this.add(this.wide(output), value) : value);
  }
}
