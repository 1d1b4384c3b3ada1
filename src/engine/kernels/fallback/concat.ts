import { at, numElements } from '../../../ops/index.js';
import { copy } from '../../libtorch/products.js';
import type { Kernel } from '../types.js';

export const concat: Kernel<object> = ({ inputs, outputs }) => {
  const y = at(outputs, 0);
  let offset = 0;
  const copies = inputs.map((input) => {
    const target = y.stridedHandle(input.type.shape, undefined, offset);
    offset += numElements(input.type.shape);
    return { target, source: input.handle() };
  });
  return () => {
    for (const { target, source } of copies) copy(target, source);
  };
};
