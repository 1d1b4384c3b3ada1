import { ADAMW_SCALARS, at, type MuonMomentumAttributes, type MuonUpdateAttributes } from '../../../ops/index.js';
import type { Kernel, TensorMemory } from '../types.js';
import { Aten } from './aten.js';

/** Handle without dimensions: its type does not widen that of the products. */
const scalar = (scalars: TensorMemory, name: (typeof ADAMW_SCALARS)[number]): bigint =>
  scalars.stridedHandle([], [], ADAMW_SCALARS.indexOf(name));

export const muonMomentum: Kernel<MuonMomentumAttributes> = ({ inputs, outputs, attributes: { momentum } }) => {
  const [g, m, scalars] = [at(inputs, 0), at(inputs, 1), at(inputs, 2)];
  return () => {
    using aten = new Aten();
    const gradient = aten.mul(aten.wide(g), scalar(scalars, 'gradientScale'));
    const next = aten.add(aten.mulScalar(aten.wide(m), momentum), gradient, 1 - momentum);
    aten.write(at(outputs, 1), aten.add(aten.mulScalar(next, momentum), gradient, 1 - momentum));
    aten.write(at(outputs, 0), next);
  };
};

export const unitNorm: Kernel<{ readonly eps: number }> = ({ inputs, outputs, attributes: { eps } }) => {
  const [x, sum] = [at(inputs, 0), at(inputs, 1)];
  return () => {
    using aten = new Aten();
    const norm = aten.addScalar(aten.call('sqrt', '', sum.stridedHandle([], [])), eps);
    aten.write(at(outputs, 0), aten.div(aten.wide(x), norm));
  };
};

export const muonUpdate: Kernel<MuonUpdateAttributes> = ({ inputs, outputs, attributes: { scale, weightDecay } }) => {
  const [p, o, scalars] = [at(inputs, 0), at(inputs, 1), at(inputs, 2)];
  return () => {
    using aten = new Aten();
    const parameter = aten.wide(p);
    const step = aten.add(aten.mulScalar(aten.wide(o), scale), parameter, weightDecay);
    aten.write(at(outputs, 0), aten.sub(parameter, aten.mul(step, scalar(scalars, 'learningRate'))));
  };
};
