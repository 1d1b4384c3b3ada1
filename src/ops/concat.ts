import { at, requireShapes } from './check.js';
import { deliver } from './add.js';
import { numElements, type Context, type OpRule, type Value } from './types.js';

/** Tensors one after the other along their first axis. Shapes: n tensors [a_i, ...rest] to [sum a_i, ...rest]. */
export const concatRule: OpRule<object> = {
  name: 'concat',
  infer(inputs) {
    const [first] = inputs;
    const rest = first?.shape.slice(1).join();
    requireShapes(
      first !== undefined && inputs.every((t) => t.dtype === first.dtype && t.shape.slice(1).join() === rest),
      'concat',
      'tensors of one type that differ only in their first axis',
      inputs,
    );
    return [
      { dtype: first.dtype, shape: [inputs.reduce((sum, t) => sum + at(t.shape, 0), 0), ...first.shape.slice(1)] },
    ];
  },
  backward({ context, inputs, gradients, sinks }) {
    const [dy] = gradients;
    let offset = 0;
    return {
      gradients: inputs.map(({ type: { shape } }, i) => {
        const sink = sinks[i];
        const part = dy && sink && deliver(context, context.view(dy, offset, shape), sink);
        offset += numElements(shape);
        return part;
      }),
    };
  },
};

export const concat = (context: Context, parts: readonly Value[]): Value => at(context.apply(concatRule, parts, {}), 0);
