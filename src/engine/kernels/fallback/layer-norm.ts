import { at, size, type LayerNormAttributes } from '../../../ops/index.js';
import type { Kernel } from '../types.js';
import { Aten } from './aten.js';

export const layerNorm: Kernel<LayerNormAttributes> = ({ inputs, outputs, attributes: { eps } }) => {
  const [x, w, b] = [at(inputs, 0), at(inputs, 1), at(inputs, 2)];
  const [y, mean, rstd] = [at(outputs, 0), at(outputs, 1), at(outputs, 2)];
  return () => {
    using aten = new Aten();
    const wide = aten.wide(x);
    const average = aten.mean(wide, 1, true);
    const centred = aten.sub(wide, average);
    const factor = aten.call('rsqrt', '', aten.addScalar(aten.mean(aten.mul(centred, centred), 1, true), eps));
    aten.write(mean, aten.view(average, mean.type.shape, [1]));
    aten.write(rstd, aten.view(factor, rstd.type.shape, [1]));
    aten.write(y, aten.add(aten.mul(aten.mul(centred, factor), aten.wide(w)), aten.wide(b)));
  };
};

export const layerNormBackward: Kernel<LayerNormAttributes & { readonly weightGradient: boolean }> = (call) => {
  const { inputs, outputs, accumulate, attributes } = call;
  const [dy, x, w] = [at(inputs, 0), at(inputs, 1), at(inputs, 2)];
  const [mean, rstd] = [at(inputs, 3), at(inputs, 4)];
  const column = [size(x.type, 0), 1];
  return () => {
    using aten = new Aten();
    const wideDy = aten.wide(dy);
    const normed = aten.mul(aten.sub(aten.wide(x), mean.stridedHandle(column)), rstd.stridedHandle(column));
    const h = aten.mul(wideDy, aten.wide(w));
    const along = aten.mul(normed, aten.mean(aten.mul(h, normed), 1, true));
    const dx = aten.mul(aten.sub(aten.sub(h, aten.mean(h, 1, true)), along), rstd.stridedHandle(column));
    if (attributes.weightGradient) {
      aten.write(at(outputs, 1), aten.sum(aten.mul(wideDy, normed), 0), accumulate[1]);
      aten.write(at(outputs, 2), aten.sum(wideDy, 0), accumulate[2]);
    }
    aten.write(at(outputs, 0), dx, accumulate[0]);
  };
};
