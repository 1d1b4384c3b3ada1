import { at, requireShapes, size } from './check.js';
import type { Context, OpRule, Value } from './types.js';

/** How heads lie in the rows of a packed [q | k | v] matrix. */
export interface HeadLayout {
  readonly batch: number;
  readonly length: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

export interface RotaryAttributes extends HeadLayout {
  /** Turns back: the gradient of a rotation. */
  readonly inverse: boolean;
}

/** Columns of a packed row: query heads, then key heads, then value heads. */
export const packedWidth = (layout: HeadLayout): number => (layout.heads + 2 * layout.kvHeads) * layout.headDim;

/**
 * Rotary position embedding on the query and key heads of packed rows; value heads pass unchanged.
 *
 * Pairs are (j, j + r/2) for j < r/2, as in Hugging Face's Llama, r = 2 * columns of cos; dimensions from r on pass unchanged.
 * Shapes: qkv [batch * length, (heads + 2 kvHeads) * headDim], cos and sin [length, r/2]. Source: Su et al., arXiv 2104.09864.
 */
export const rotaryRule: OpRule<RotaryAttributes> = {
  name: 'rotary',
  infer(inputs, attributes) {
    const [qkv, cos, sin] = inputs;
    const fits =
      qkv?.shape[0] === attributes.batch * attributes.length &&
      qkv.shape[1] === packedWidth(attributes) &&
      cos?.shape[0] === attributes.length &&
      sin?.shape[0] === attributes.length &&
      size(cos, 1) * 2 <= attributes.headDim;
    requireShapes(fits, 'rotary', 'packed rows and cos, sin [length, r/2]', inputs);
    return [at(inputs, 0)];
  },
  inPlace: [[0, 0]],
  backward({ context, inputs, attributes, gradients, sinks }) {
    const [dy] = gradients;
    if (dy === undefined || sinks[0] === undefined) return { gradients: [undefined, undefined, undefined] };
    const operands = [dy, at(inputs, 1), at(inputs, 2)];
    const [dx] = context.apply(rotaryRule, operands, { ...attributes, inverse: !attributes.inverse }, [sinks[0]]);
    return { gradients: [dx, undefined, undefined] };
  },
};

export const rotary = (context: Context, qkv: Value, cos: Value, sin: Value, layout: HeadLayout): Value =>
  at(context.apply(rotaryRule, [qkv, cos, sin], { ...layout, inverse: false }), 0);
