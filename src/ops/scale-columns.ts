import { at, requireShapes, size } from './check.js';
import type { Context, OpRule, Value } from './types.js';

/**
 * Every column times its own number: y[i, j] = x[i, j] s[j]. Masks of growing models are such numbers.
 *
 * Shapes: x [N, D], s [D], y [N, D]. The numbers are given, not learned: they have no gradient.
 */
export const scaleColumnsRule: OpRule<object> = {
  name: 'scaleColumns',
  infer(inputs) {
    const fits = inputs.length === 2 && at(inputs, 0).shape.length === 2 && at(inputs, 1).shape.length === 1;
    requireShapes(
      fits && size(at(inputs, 0), 1) === size(at(inputs, 1), 0),
      'scaleColumns',
      'x [N, D] and s [D]',
      inputs,
    );
    return [at(inputs, 0)];
  },
  inPlace: [[0, 0]],
  accumulates: [0],
  backward({ context, inputs, gradients, sinks }) {
    const [dy] = gradients;
    const [sink] = sinks;
    if (dy === undefined || sink === undefined) return { gradients: [undefined, undefined] };
    return { gradients: [at(context.apply(scaleColumnsRule, [dy, at(inputs, 1)], {}, [sink]), 0), undefined] };
  },
};

/** x times s column by column, added to `residual` where there is one. */
export const scaleColumns = (context: Context, x: Value, s: Value, residual?: Value): Value =>
  at(context.apply(scaleColumnsRule, [x, s], {}, [{ onto: residual }]), 0);
