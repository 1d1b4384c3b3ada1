import { ADAMW_SCALARS, at, NEW_ENTRIES_RATE, numElements, type AdamWAttributes } from '../../../ops/index.js';
import { copy, zero } from '../../libtorch/products.js';
import type { Kernel } from '../types.js';
import { Aten } from './aten.js';

export const adamw: Kernel<AdamWAttributes> = ({ inputs, outputs, attributes }) => {
  const [p, g, m, v, scalars] = [at(inputs, 0), at(inputs, 1), at(inputs, 2), at(inputs, 3), at(inputs, 4)];
  const mask = inputs[5];
  const { beta1, beta2, eps, weightDecay } = attributes;
  return () => {
    using aten = new Aten();
    // Handles without dimensions: their type does not widen that of the products.
    const scalar = (name: (typeof ADAMW_SCALARS)[number]) => scalars.stridedHandle([], [], ADAMW_SCALARS.indexOf(name));
    const [parameter, gradient] = [aten.wide(p), aten.mul(aten.wide(g), scalar('gradientScale'))];
    const first = aten.add(aten.mulScalar(aten.wide(m), beta1), gradient, 1 - beta1);
    const second = aten.add(aten.mulScalar(aten.wide(v), beta2), aten.mul(gradient, gradient), 1 - beta2);
    const root = aten.call('sqrt', '', aten.div(second, scalar('biasCorrection2')));
    const direction = aten.div(aten.div(first, scalar('biasCorrection1')), aten.addScalar(root, eps));
    const rate = scalar('learningRate');
    const other = (): bigint => aten.sub(scalars.stridedHandle([], [], NEW_ENTRIES_RATE), rate);
    const rates = mask && aten.add(aten.mul(aten.wide(mask), other()), rate);
    const change = aten.mul(aten.add(direction, parameter, weightDecay), rates ?? rate);
    aten.write(at(outputs, 0), aten.sub(parameter, change));
    aten.write(at(outputs, 1), first);
    aten.write(at(outputs, 2), second);
  };
};

/** Elements converted to f64 at one time, so that the copy stays small beside the arena. */
const PART = 1 << 20;

export const squaredNorm: Kernel<object> = ({ inputs, outputs, accumulate }) => {
  const [x, y] = [at(inputs, 0), at(outputs, 0)];
  const count = numElements(x.type.shape);
  return () => {
    if (!accumulate[0]) zero(y.handle());
    for (let start = 0; start < count; start += PART) {
      using aten = new Aten();
      const length = Math.min(PART, count - start);
      const part = aten.empty('f64', [length]);
      copy(part, aten.view(x.handle(), [length], [1], start));
      aten.write(y, aten.call('dot', '', part, part), true);
    }
  };
};
