import { at, requireShapes, size } from './check.js';
import type { Context, OpRule, Value } from './types.js';

/** Rows of a table: y[i] = table[ids[i]]. Shapes: table [V, D], ids i32 [N], y [N, D]. */
export const embeddingRule: OpRule<object> = {
  name: 'embedding',
  infer(inputs) {
    const fits = inputs.length === 2 && at(inputs, 0).shape.length === 2 && at(inputs, 1).shape.length === 1;
    requireShapes(fits && at(inputs, 1).dtype === 'i32', 'embedding', 'table [V, D] and ids i32 [N]', inputs);
    return [{ dtype: at(inputs, 0).dtype, shape: [size(at(inputs, 1), 0), size(at(inputs, 0), 1)] }];
  },
  backward({ context, inputs, gradients, sinks }) {
    const [dy] = gradients;
    const [sink] = sinks;
    if (dy === undefined || sink === undefined) return { gradients: [undefined, undefined] };
    const attributes = { rows: size(at(inputs, 0).type, 0) };
    return {
      gradients: [at(context.apply(embeddingBackwardRule, [dy, at(inputs, 1)], attributes, [sink]), 0), undefined],
    };
  },
};

export const embedding = (context: Context, table: Value, ids: Value): Value =>
  at(context.apply(embeddingRule, [table, ids], {}), 0);

/** Scatter of rows into a table: dTable[ids[i]] += dy[i], in order of i. Shapes: dy [N, D], ids i32 [N], dTable [rows, D]. */
export const embeddingBackwardRule: OpRule<{ readonly rows: number }> = {
  name: 'embeddingBackward',
  infer(inputs, { rows }) {
    const fits = inputs.length === 2 && at(inputs, 0).shape.length === 2 && at(inputs, 1).dtype === 'i32';
    requireShapes(
      fits && size(at(inputs, 0), 0) === size(at(inputs, 1), 0),
      'embeddingBackward',
      'dy [N, D] and ids i32 [N]',
      inputs,
    );
    return [{ dtype: at(inputs, 0).dtype, shape: [rows, size(at(inputs, 0), 1)] }];
  },
  accumulates: [0],
};
