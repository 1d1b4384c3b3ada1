import { EagerContext } from '../../src/engine/eager.js';
import { Tensor, type Scope } from '../../src/engine/buffers.js';
import { fromBfloat16, toBfloat16 } from '../../src/engine/dtype.js';
import { GRADIENT_SEED, ops, type DType, type OpName, type OpRule, type Value } from '../../src/ops/index.js';
import { valuesOf, type InputSpec, type OpCase } from '../golden/ops.js';

export type FloatType = 'f64' | 'f32' | 'bf16';

/** The rule of an op, its attributes' type forgotten. */
export const ruleOf = (op: string): OpRule<object> => ops[op as OpName] as unknown as OpRule<object>;

/** Element types of inputs that do not follow the activations: positions and weights of the loss stay wide. */
function dtypeOf(spec: InputSpec, dtype: FloatType, op: string, index: number): DType {
  if (spec.dtype !== 'float') return spec.dtype;
  const wide = (op === 'linearCrossEntropy' && index === 3) || (op === 'rotary' && index > 0);
  return wide && dtype === 'bf16' ? 'f32' : dtype;
}

/** A tensor of what a specification stands for. */
export function tensorOf(scope: Scope, spec: InputSpec, dtype: DType): Tensor {
  const values = valuesOf(spec);
  const type = { dtype, shape: spec.shape };
  switch (dtype) {
    case 'f64':
      return scope.from(type, Float64Array.from(values));
    case 'f32':
      return scope.from(type, Float32Array.from(values));
    case 'bf16':
      return scope.from(type, toBfloat16(values));
    case 'i32':
      return scope.from(type, Int32Array.from(values));
    default:
      throw new Error(`no golden input is ${dtype}`);
  }
}

/** Elements as numbers. */
export const numbersOf = (value: Value): ArrayLike<number> => {
  if (!(value instanceof Tensor)) throw new Error('expected a tensor');
  const data = value.read();
  if (data instanceof BigInt64Array) throw new Error('no golden output is i64');
  return data instanceof Uint16Array ? fromBfloat16(data) : data;
};

/** The inputs of a case. */
export const inputsOf = (scope: Scope, golden: OpCase, dtype: FloatType): Tensor[] =>
  golden.inputs.map((spec, i) => tensorOf(scope, spec, dtypeOf(spec, dtype, golden.op, i)));

/** Runs a case forward and, by its rule, backward. */
export function runCase(
  scope: Scope,
  golden: OpCase,
  dtype: FloatType,
  inputs: readonly Value[] = inputsOf(scope, golden, dtype),
): { outputs: Value[]; gradients: (Value | undefined)[] } {
  const rule = ruleOf(golden.op);
  const context = new EagerContext(scope);
  const outputs = context.apply(rule, inputs, golden.attributes);
  if (golden.gradients === undefined) return { outputs, gradients: [] };
  const { gradients } = rule.backward?.({
    context,
    inputs,
    outputs,
    attributes: golden.attributes,
    gradients: [golden.dy ? tensorOf(scope, golden.dy, dtype) : GRADIENT_SEED],
    sinks: golden.gradients.map((gradient) => (gradient ? {} : undefined)),
  }) ?? { gradients: [] };
  return { outputs, gradients: [...gradients] };
}
