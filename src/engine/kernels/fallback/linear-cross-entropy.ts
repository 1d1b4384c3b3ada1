import { at, chunkRows, size, type DType, type LogitAttributes } from '../../../ops/index.js';
import { arg } from '../../libtorch/dispatch.js';
import { addmmOut, copy, mmOut, zero } from '../../libtorch/products.js';
import { fromBlob, type Handle } from '../../libtorch/tensors.js';
import type { Kernel, KernelCall, TensorMemory } from '../types.js';
import { Aten, computeType } from './aten.js';

type Call = Pick<KernelCall<LogitAttributes>, 'inputs' | 'outputs' | 'workspace' | 'attributes'>;

/** What the chunks share: operands in the type of the logits. */
interface Operands {
  readonly x: Handle;
  readonly w: Handle;
  readonly wTransposed: Handle;
  readonly targets: Handle;
  readonly weights: Handle;
}

/** Gradients in the type of the logits; `dw` is added to. */
interface Gradients {
  readonly dx: Handle;
  readonly dw?: Handle | undefined;
}

const transposed = (aten: Aten, handle: Handle, rows: number, columns: number, offset = 0): Handle =>
  aten.view(handle, [columns, rows], [1, columns], offset);

function prepareOperands(aten: Aten, inputs: readonly TensorMemory[]): Operands {
  const [x, w, targets, weights] = [at(inputs, 0), at(inputs, 1), at(inputs, 2), at(inputs, 3)];
  const wide = aten.wide(w);
  return {
    x: aten.wide(x),
    w: wide,
    wTransposed: transposed(aten, wide, size(w.type, 0), size(w.type, 1)),
    targets: aten.convert(targets.handle(), 'i64', targets.type.shape),
    weights: weights.handle(),
  };
}

/** Losses of all rows and their weighted sum, chunk by chunk; gradients too where asked. The losses do not depend on that. */
function run(call: Call, operands: Operands, gradients?: Gradients): void {
  const [x, w, losses] = [at(call.inputs, 0).type, at(call.inputs, 1).type, at(call.outputs, 1)];
  const [rows, columns, vocabulary] = [size(x, 0), size(x, 1), size(w, 0)];
  const dtype = computeType(x.dtype);
  const { softcap } = call.attributes;
  const chunk = chunkRows(rows, vocabulary);
  for (let start = 0; start < rows; start += chunk) {
    using aten = new Aten();
    const count = Math.min(chunk, rows - start);
    const raw = aten.own(fromBlob(call.workspace, dtype, [count, vocabulary]));
    const part = aten.view(operands.x, [count, columns], [columns, 1], start * columns);
    mmOut(raw, part, operands.wTransposed);
    const z = softcap === undefined ? raw : aten.softcap(raw, softcap);
    const picked = pickTargets(aten, z, dtype, operands, start, count);
    copy(losses.stridedHandle([count, 1], [1, 1], start), picked.losses);
    if (gradients === undefined) continue;
    const dCapped = logitGradient(aten, z, picked, aten.view(operands.weights, [count, 1], [1, 1], start));
    const dz = softcap === undefined ? dCapped : throughSoftcap(aten, dCapped, z, softcap);
    mmOut(aten.view(gradients.dx, [count, columns], [columns, 1], start * columns), dz, operands.w);
    if (gradients.dw) addmmOut(gradients.dw, gradients.dw, transposed(aten, dz, count, vocabulary), part);
  }
}

/** Columns [count, 1] of a chunk. */
interface Picked {
  readonly losses: Handle;
  /** Whether the row counts: its target is not negative. */
  readonly counted: Handle;
  /** Targets, 0 where negative. */
  readonly index: Handle;
  readonly zeros: Handle;
}

function pickTargets(aten: Aten, z: Handle, dtype: DType, operands: Operands, start: number, count: number): Picked {
  const [zeros, first] = [aten.empty(dtype, [count, 1]), aten.empty('i64', [count, 1])];
  zero(zeros);
  zero(first);
  const target = aten.view(operands.targets, [count, 1], [1, 1], start);
  const counted = aten.call('ge', 'Tensor', target, first);
  const index = aten.call('maximum', '', target, first);
  const chosen = aten.call('gather', '', z, arg.int(1), index, arg.bool(false));
  const denominator = aten.call('logsumexp', '', z, arg.intList([1]), arg.bool(true));
  const losses = aten.call('where', 'self', counted, aten.sub(denominator, chosen), zeros);
  return { losses, counted, index, zeros };
}

function logitGradient(aten: Aten, z: Handle, { counted, index, zeros }: Picked, weights: Handle): Handle {
  const probabilities = aten.call('_softmax', '', z, arg.int(1), arg.bool(false));
  const slope = aten.call('scatter_add', '', probabilities, arg.int(1), index, aten.addScalar(zeros, -1));
  return aten.call('where', 'self', counted, aten.mul(slope, weights), zeros);
}

/** Gradient before the cap: dz * (1 - (z / cap)^2), z being what came out of it. */
function throughSoftcap(aten: Aten, dz: Handle, z: Handle, cap: number): Handle {
  const tanh = aten.mulScalar(z, 1 / cap);
  return aten.sub(dz, aten.mul(dz, aten.mul(tanh, tanh)));
}

/** total = sum of weights * losses, in f64. */
function writeTotal(aten: Aten, { inputs, outputs }: Pick<Call, 'inputs' | 'outputs'>): void {
  const [total, losses, weights] = [at(outputs, 0), at(outputs, 1), at(inputs, 3)];
  const shape = losses.type.shape;
  const products = aten.mul(aten.convert(losses.handle(), 'f64', shape), aten.convert(weights.handle(), 'f64', shape));
  copy(total.stridedHandle([], []), aten.sum(products, 0));
}

export const linearCrossEntropy: Kernel<LogitAttributes> = (call) => () => {
  using aten = new Aten();
  run(call, prepareOperands(aten, call.inputs));
  writeTotal(aten, call);
};

export const linearCrossEntropyBackward: Kernel<LogitAttributes & { readonly weightGradient: boolean }> = (call) => {
  const { inputs, outputs, accumulate, attributes } = call;
  const [x, w, dx] = [at(inputs, 0), at(inputs, 1), at(outputs, 2)];
  const dw = attributes.weightGradient ? at(outputs, 3) : undefined;
  const dtype = computeType(x.type.dtype);
  return () => {
    using aten = new Aten();
    if (dw && !accumulate[3]) zero(dw.handle());
    const gradients = {
      dx: dtype === dx.type.dtype ? dx.handle() : aten.empty(dtype, x.type.shape),
      dw: dw && (dtype === dw.type.dtype ? dw.handle() : aten.convert(dw.handle(), dtype, w.type.shape)),
    };
    run(call, prepareOperands(aten, inputs), gradients);
    writeTotal(aten, call);
    if (gradients.dx !== dx.handle()) copy(dx.handle(), gradients.dx);
    if (dw && gradients.dw !== undefined && gradients.dw !== dw.handle()) copy(dw.handle(), gradients.dw);
  };
};
