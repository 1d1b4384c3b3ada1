import { at } from '../../../ops/index.js';
import { arg } from '../../libtorch/dispatch.js';
import type { Kernel } from '../types.js';
import { Aten } from './aten.js';

export const embedding: Kernel<object> = ({ inputs, outputs }) => {
  const [table, ids, y] = [at(inputs, 0), at(inputs, 1), at(outputs, 0)];
  return () => {
    using aten = new Aten();
    aten.write(y, aten.call('index_select', '', table.handle(), arg.int(0), ids.handle()));
  };
};

export const embeddingBackward: Kernel<{ readonly rows: number }> = ({ inputs, outputs, accumulate, attributes }) => {
  const [dy, ids, dTable] = [at(inputs, 0), at(inputs, 1), at(outputs, 0)];
  const constants = [arg.int(attributes.rows), arg.int(-1), arg.bool(false)];
  return () => {
    using aten = new Aten();
    const sum = aten.call('embedding_dense_backward', '', aten.wide(dy), ids.handle(), ...constants);
    aten.write(dTable, sum, accumulate[0]);
  };
};
