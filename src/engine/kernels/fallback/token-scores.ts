import { at, chunkRows, size, type LogitAttributes } from '../../../ops/index.js';
import { arg } from '../../libtorch/dispatch.js';
import { copy, mmOut } from '../../libtorch/products.js';
import { fromBlob } from '../../libtorch/tensors.js';
import type { Kernel } from '../types.js';
import { Aten, computeType } from './aten.js';

export const tokenScores: Kernel<LogitAttributes> = ({ inputs, outputs, workspace, attributes }) => {
  const [x, w, targets] = [at(inputs, 0), at(inputs, 1), at(inputs, 2)];
  const [logProbs, best, bestLogProbs] = [at(outputs, 0), at(outputs, 1), at(outputs, 2)];
  const [rows, depth, vocabulary] = [size(x.type, 0), size(x.type, 1), size(w.type, 0)];
  const step = chunkRows(rows, vocabulary);
  const dtype = computeType(x.type.dtype);
  return () => {
    for (let start = 0; start < rows; start += step) {
      using aten = new Aten();
      const count = Math.min(step, rows - start);
      const raw = aten.own(fromBlob(workspace, dtype, [count, vocabulary]));
      const part = aten.view(aten.wide(x), [count, depth], [depth, 1], start * depth);
      mmOut(raw, part, aten.view(aten.wide(w), [depth, vocabulary], [1, depth]));
      const z = attributes.softcap === undefined ? raw : aten.softcap(raw, attributes.softcap);
      const logSoftmax = aten.call('_log_softmax', '', z, arg.int(1), arg.bool(false));
      const index = aten.convert(targets.stridedHandle([count, 1], [1, 1], start), 'i64', [count, 1]);
      copy(
        logProbs.stridedHandle([count, 1], [1, 1], start),
        aten.call('gather', '', logSoftmax, arg.int(1), index, arg.bool(false)),
      );
      const top = aten.call('argmax', '', z, arg.optional(arg.int(1)), arg.bool(true));
      copy(best.stridedHandle([count, 1], [1, 1], start), top);
      copy(
        bestLogProbs.stridedHandle([count, 1], [1, 1], start),
        aten.call('gather', '', logSoftmax, arg.int(1), top, arg.bool(false)),
      );
    }
  };
};
