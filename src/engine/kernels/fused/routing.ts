import { at, size, type RouteAttributes, type RoutingLossAttributes } from '../../../ops/index.js';
import type { FusedKernel, KernelCall } from '../types.js';
import { all, pack, prepare } from './arguments.js';
import { kernelFunction } from './library.js';

export const routeGate: FusedKernel<RouteAttributes> = ({ inputs, outputs, attributes, workspace }) => {
  const [z, capacity] = [at(inputs, 0), at(inputs, 1)];
  if (!all('f32', [z])) return undefined;
  const { scale, gap } = attributes;
  return prepare('routeGate', [z, capacity, at(outputs, 0), workspace, size(z.type, 0)], [scale, gap]);
};

export const routeGateBackward: FusedKernel<RouteAttributes> = ({ inputs, outputs, attributes, accumulate }) => {
  if (!all('f32', inputs)) return undefined;
  const { scale, gap } = attributes;
  const rows = size(at(inputs, 1).type, 0);
  return prepare('routeGateBackward', [...inputs, at(outputs, 0), rows, at(accumulate, 0)], [scale, gap]);
};

export const scaleRows: FusedKernel<object> = ({ inputs, outputs, accumulate }) => {
  if (!all('f32', inputs)) return undefined;
  const { type } = at(inputs, 0);
  return prepare('scaleRows', [...inputs, at(outputs, 0), size(type, 0), size(type, 1), at(accumulate, 0)]);
};

const rowPair =
  (name: 'rowDot' | 'rowSimilarity'): FusedKernel<object> =>
  ({ inputs, outputs }) => {
    if (!all('f32', inputs)) return undefined;
    const { type } = at(inputs, 0);
    return prepare(name, [...inputs, at(outputs, 0), size(type, 0), size(type, 1)]);
  };

export const rowDot = rowPair('rowDot');
export const rowSimilarity = rowPair('rowSimilarity');

const loss =
  (backward: boolean) =>
  ({ inputs, outputs, attributes, workspace }: KernelCall<RoutingLossAttributes>): (() => void) | undefined => {
    const [weights, capacity, ...layers] = inputs;
    const [total, shares, ...gradients] = outputs;
    if (weights === undefined || !all('f32', [weights, ...layers])) return undefined;
    const count = layers.length / 2;
    const sizes = [size(weights.type, 0), count, backward];
    const cells = BigUint64Array.of(
      ...pack([weights, capacity, total, shares, workspace, ...sizes], [attributes.coefficient]),
      ...pack([...layers, ...gradients]),
    );
    const kernel = kernelFunction('routingLoss');
    return () => kernel(cells);
  };

export const routingLoss: FusedKernel<RoutingLossAttributes> = loss(false);
export const routingLossBackward: FusedKernel<RoutingLossAttributes> = loss(true);
