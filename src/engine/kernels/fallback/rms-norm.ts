import { at, size, type RmsNormAttributes } from '../../../ops/index.js';
import type { Kernel } from '../types.js';
import { Aten } from './aten.js';

export const rmsNorm: Kernel<RmsNormAttributes> = ({ inputs, outputs, attributes: { eps } }) => {
  const [x, w, y, rstd] = [at(inputs, 0), at(inputs, 1), at(outputs, 0), at(outputs, 1)];
  return () => {
    using aten = new Aten();
    const wide = aten.wide(x);
    const factor = aten.call('rsqrt', '', aten.addScalar(aten.mean(aten.mul(wide, wide), 1, true), eps));
    aten.write(rstd, aten.view(factor, rstd.type.shape, [1]));
    aten.write(y, aten.mul(aten.mul(wide, factor), aten.wide(w)));
  };
};

export const rmsNormBackward: Kernel<RmsNormAttributes & { readonly weightGradient: boolean }> = (call) => {
  const { inputs, outputs, accumulate, attributes } = call;
  const [dy, x, w, rstd] = [at(inputs, 0), at(inputs, 1), at(inputs, 2), at(inputs, 3)];
  return () => {
    using aten = new Aten();
    const [wideDy, wideX] = [aten.wide(dy), aten.wide(x)];
    const normed = aten.mul(wideX, rstd.stridedHandle([size(x.type, 0), 1]));
    const h = aten.mul(wideDy, aten.wide(w));
    const along = aten.mul(normed, aten.mean(aten.mul(h, normed), 1, true));
    const dx = aten.mul(aten.sub(h, along), rstd.stridedHandle([size(x.type, 0), 1]));
    if (attributes.weightGradient) aten.write(at(outputs, 1), aten.sum(aten.mul(wideDy, normed), 0), accumulate[1]);
    aten.write(at(outputs, 0), dx, accumulate[0]);
  };
};
