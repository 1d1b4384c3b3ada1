import {
  at,
  size,
  type RouteAttributes,
  type RoutedFeedForwardAttributes,
  type RoutingLossAttributes,
} from '../../../ops/index.js';
import { arg } from '../../libtorch/dispatch.js';
import { copy } from '../../libtorch/products.js';
import type { Handle } from '../../libtorch/tensors.js';
import type { Kernel, KernelCall, TensorMemory } from '../types.js';
import { Aten } from './aten.js';

const constant = (aten: Aten, value: number): Handle => aten.addScalar(aten.zeros('f64', []), value);

/** A tensor in f64 with another shape of as many elements. */
const wide = (aten: Aten, tensor: TensorMemory, shape: readonly number[]): Handle =>
  aten.convert(tensor.stridedHandle(shape), 'f64', shape);

const sigmoid = (aten: Aten, z: Handle): Handle => aten.call('sigmoid', '', z);

/** Places in ascending order: 0 for the smallest, equal ones in their own order. */
function ranks(aten: Aten, values: Handle, descending: boolean): Handle {
  const order = aten.call('argsort', 'stable', values, arg.bool(true), arg.int(0), arg.bool(descending));
  return aten.call('argsort', 'stable', order, arg.bool(true), arg.int(0), arg.bool(false));
}

/** Which values belong to the first `count`, or equal the last of those: 1 or 0. */
function firstOnes(aten: Aten, values: Handle, count: Handle, descending: boolean): Handle {
  const inside = aten.call('lt', 'Tensor', ranks(aten, values, descending), count);
  const outside = constant(aten, descending ? Infinity : -Infinity);
  const edge = aten.call(descending ? 'min' : 'max', '', aten.call('where', 'self', inside, values, outside));
  const chosen = aten.call(descending ? 'ge' : 'le', 'Tensor', values, edge);
  return aten.mul(chosen, constant(aten, 1));
}

export const routeGate: Kernel<RouteAttributes> = ({ inputs, outputs, attributes: { scale, gap } }) => {
  const [z, capacity, gate] = [at(inputs, 0), at(inputs, 1), at(outputs, 0)];
  const rows = size(z.type, 0);
  return () => {
    using aten = new Aten();
    const logits = wide(aten, z, [rows]);
    const kept = aten.call('ceil', '', aten.addScalar(aten.mulScalar(capacity.stridedHandle([], []), rows), -1e-9));
    const factor = aten.addScalar(aten.mulScalar(sigmoid(aten, logits), gap), scale / 2 - gap / 2);
    aten.write(gate, aten.mul(factor, firstOnes(aten, logits, kept, true)));
  };
};

export const routeGateBackward: Kernel<RouteAttributes> = ({ inputs, outputs, accumulate, attributes: { gap } }) => {
  const [dGate, z, gate] = [at(inputs, 0), at(inputs, 1), at(inputs, 2)];
  const rows = size(z.type, 0);
  return () => {
    using aten = new Aten();
    const p = sigmoid(aten, wide(aten, z, [rows]));
    const slope = aten.mulScalar(aten.mul(p, aten.addScalar(aten.mulScalar(p, -1), 1)), gap);
    const open = aten.call('ne', 'Tensor', wide(aten, gate, [rows]), constant(aten, 0));
    const dz = aten.mul(aten.mul(wide(aten, dGate, [rows]), slope), open);
    aten.write(at(outputs, 0), aten.view(dz, [rows, 1], [1, 1]), accumulate[0]);
  };
};

export const scaleRows: Kernel<object> = ({ inputs, outputs, accumulate }) => {
  const [x, g, y] = [at(inputs, 0), at(inputs, 1), at(outputs, 0)];
  return () => {
    using aten = new Aten();
    aten.write(y, aten.mul(aten.wide(x), aten.view(aten.wide(g), [size(x.type, 0), 1], [1, 1])), accumulate[0]);
  };
};

export const rowDot: Kernel<object> = ({ inputs, outputs }) => {
  const [a, b] = [at(inputs, 0), at(inputs, 1)];
  return () => {
    using aten = new Aten();
    aten.write(at(outputs, 0), aten.sum(aten.mul(aten.wide(a), aten.wide(b)), 1));
  };
};

export const rowSimilarity: Kernel<object> = ({ inputs, outputs }) => {
  const [x, f] = [at(inputs, 0), at(inputs, 1)];
  return () => {
    using aten = new Aten();
    const [a, b] = [wide(aten, x, x.type.shape), wide(aten, f, f.type.shape)];
    const sum = aten.add(a, b);
    const inner = (left: Handle, right: Handle): Handle => aten.sum(aten.mul(left, right), 1);
    const length = aten.call('sqrt', '', aten.mul(inner(a, a), inner(sum, sum)));
    const still = aten.call('eq', 'Tensor', length, constant(aten, 0));
    const cosine = aten.div(inner(a, sum), length);
    aten.write(at(outputs, 0), aten.call('where', 'self', still, constant(aten, 1), cosine));
  };
};

function lossKernel({ inputs, outputs, attributes }: KernelCall<RoutingLossAttributes>, backward: boolean): () => void {
  const [weights, capacity, ...layers] = inputs;
  const count = layers.length / 2;
  const rows = size(at(inputs, 0).type, 0);
  return () => {
    using aten = new Aten();
    const stack = (tensors: readonly TensorMemory[]): Handle => {
      const joined = aten.empty('f64', [count * rows]);
      tensors.forEach((tensor, i) => copy(aten.view(joined, [rows], [1], i * rows), tensor.stridedHandle([rows])));
      return joined;
    };
    const [z, similarity] = [stack(layers.slice(0, count)), stack(layers.slice(count))];
    const wanted = aten.mulScalar(at([capacity!], 0).stridedHandle([], []), count * rows);
    const lowest = aten.call('floor', '', aten.addScalar(wanted, 0.5));
    const label = firstOnes(aten, similarity, lowest, false);
    const byLayer = (handle: Handle): Handle => aten.view(handle, [count, rows], [rows, 1]);
    const weight = aten.mulScalar(wide(aten, weights!, [1, rows]), attributes.coefficient / count);
    const softplus = aten.call('log1p', '', aten.call('exp', '', aten.mulScalar(aten.call('abs', '', z), -1)));
    const positive = aten.call('relu', '', z);
    const entropy = aten.add(aten.sub(positive, aten.mul(z, label)), softplus);
    const weighted = aten.sum(aten.mul(byLayer(entropy), weight), 1);
    copy(at(outputs, 0).stridedHandle([], []), aten.sum(weighted, 0));
    copy(at(outputs, 1).handle(), aten.mean(byLayer(label), 1));
    if (!backward) return;
    const dz = aten.mul(byLayer(aten.sub(sigmoid(aten, z), label)), weight);
    outputs.slice(2).forEach((output, i) => aten.write(output, aten.view(dz, [rows, 1], [1, 1], i * rows)));
  };
}

export const routingLoss: Kernel<RoutingLossAttributes> = (call) => lossKernel(call, false);
export const routingLossBackward: Kernel<RoutingLossAttributes> = (call) => lossKernel(call, true);

export const routedFeedForward: Kernel<RoutedFeedForwardAttributes> = ({ inputs, outputs, attributes }) => {
  const [x, z, gain, gateUp, down] = [at(inputs, 0), at(inputs, 1), at(inputs, 2), at(inputs, 3), at(inputs, 4)];
  const [y, computed] = [at(outputs, 0), at(outputs, 1)];
  const [rows, columns, ffn] = [size(x.type, 0), size(x.type, 1), size(down.type, 1)];
  const { eps, scale, gap } = attributes;
  return () => {
    using aten = new Aten();
    const logits = aten.view(aten.wide(z), [rows], [1]);
    const kept = aten.call('ge', 'Tensor', logits, aten.zeros(x.type.dtype === 'f64' ? 'f64' : 'f32', []));
    copy(computed.handle(), kept);
    const data = aten.wide(x);
    const places = aten.call('squeeze', 'dim', aten.call('nonzero', '', kept), arg.int(1));
    const chosen = aten.call('index_select', '', data, arg.int(0), places);
    const rstd = aten.call('rsqrt', '', aten.addScalar(aten.mean(aten.mul(chosen, chosen), 1, true), eps));
    const normed = aten.mul(aten.mul(chosen, rstd), aten.wide(gain));
    const turned = (tensor: TensorMemory, from: number, count: number, width: number): Handle =>
      aten.view(aten.wide(tensor), [width, count], [1, width], from * width);
    const gate = aten.call('mm', '', normed, turned(gateUp, 0, ffn, columns));
    const up = aten.call('mm', '', normed, turned(gateUp, ffn, ffn, columns));
    const inner = aten.mul(aten.call('silu', '', gate), up);
    const p = sigmoid(aten, aten.call('index_select', '', logits, arg.int(0), places));
    const factor = aten.addScalar(aten.mulScalar(p, gap), scale / 2 - gap / 2);
    const branch = aten.mul(
      aten.call('mm', '', inner, turned(down, 0, columns, ffn)),
      aten.call('unsqueeze', '', factor, arg.int(1)),
    );
    aten.write(y, aten.call('index_copy', '', data, arg.int(0), places, aten.add(chosen, branch)));
  };
};
