import { at, type ActivationAttributes, type ActivationKind } from '../../../ops/index.js';
import { copy } from '../../libtorch/products.js';
import type { Handle } from '../../libtorch/tensors.js';
import type { Kernel } from '../types.js';
import { Aten } from './aten.js';
import { gateAndUp } from './swiglu.js';

/** f(x) = x * share(x); the share of gelu is the normal distribution function, of silu the sigmoid. */
function shareOf(aten: Aten, x: Handle, kind: ActivationKind): Handle {
  switch (kind) {
    case 'gelu':
      return aten.mulScalar(aten.addScalar(aten.call('erf', '', aten.mulScalar(x, Math.SQRT1_2)), 1), 0.5);
    case 'gelu_tanh': {
      // (1 + tanh(u)) / 2 = sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
      const cubic = aten.add(x, aten.mul(aten.mul(x, x), x), 0.044715);
      return aten.call('sigmoid', '', aten.mulScalar(cubic, 2 * Math.sqrt(2 / Math.PI)));
    }
    case 'silu':
      return aten.call('sigmoid', '', x);
    case 'relu':
      return aten.call('sign', '', aten.call('relu', '', x));
  }
}

/** x * share'(x), which added to the share is the slope of f. */
function bendOf(aten: Aten, x: Handle, share: Handle, kind: ActivationKind): Handle {
  const square = aten.mul(x, x);
  switch (kind) {
    case 'gelu':
      return aten.mulScalar(
        aten.mul(x, aten.call('exp', '', aten.mulScalar(square, -0.5))),
        1 / Math.sqrt(2 * Math.PI),
      );
    case 'gelu_tanh': {
      const inner = aten.mulScalar(aten.addScalar(aten.mulScalar(square, 3 * 0.044715), 1), 2 * Math.sqrt(2 / Math.PI));
      return aten.mul(aten.mul(x, inner), aten.sub(share, aten.mul(share, share)));
    }
    case 'silu':
      return aten.mul(x, aten.sub(share, aten.mul(share, share)));
    case 'relu':
      return aten.mulScalar(share, 0);
  }
}

function valueAndSlope(aten: Aten, x: Handle, kind: ActivationKind): { value: Handle; slope: Handle } {
  const share = shareOf(aten, x, kind);
  return { value: aten.mul(x, share), slope: aten.add(share, bendOf(aten, x, share, kind)) };
}

export const activation: Kernel<ActivationAttributes> = ({ inputs, outputs, attributes: { kind } }) => {
  const [x, y] = [at(inputs, 0), at(outputs, 0)];
  return () => {
    using aten = new Aten();
    const wide = aten.wide(x);
    aten.write(y, aten.mul(wide, shareOf(aten, wide, kind)));
  };
};

export const activationBackward: Kernel<ActivationAttributes> = ({ inputs, outputs, attributes: { kind } }) => {
  const [dy, x, dx] = [at(inputs, 0), at(inputs, 1), at(outputs, 0)];
  return () => {
    using aten = new Aten();
    aten.write(dx, aten.mul(aten.wide(dy), valueAndSlope(aten, aten.wide(x), kind).slope));
  };
};

export const gatedActivation: Kernel<ActivationAttributes> = ({ inputs, outputs, attributes: { kind } }) => {
  const [gateUp, y] = [at(inputs, 0), at(outputs, 0)];
  const { shape, strides, columns } = gateAndUp(gateUp.type);
  return () => {
    using aten = new Aten();
    const wide = aten.wide(gateUp);
    const gate = aten.view(wide, shape, strides);
    const value = aten.mul(gate, shareOf(aten, gate, kind));
    aten.write(y, aten.mul(value, aten.view(wide, shape, strides, columns)));
  };
};

export const gatedActivationBackward: Kernel<ActivationAttributes> = ({ inputs, outputs, attributes: { kind } }) => {
  const [dy, gateUp, dGateUp] = [at(inputs, 0), at(inputs, 1), at(outputs, 0)];
  const { shape, strides, columns } = gateAndUp(gateUp.type);
  return () => {
    using aten = new Aten();
    const [gradient, wide] = [aten.wide(dy), aten.wide(gateUp)];
    const { value, slope } = valueAndSlope(aten, aten.view(wide, shape, strides), kind);
    const dGate = aten.mul(aten.mul(gradient, aten.view(wide, shape, strides, columns)), slope);
    const dUp = aten.mul(gradient, value);
    copy(dGateUp.stridedHandle(shape, strides), dGate);
    copy(dGateUp.stridedHandle(shape, strides, columns), dUp);
  };
};
