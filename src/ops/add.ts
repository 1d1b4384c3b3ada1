import { at, requireShapes, sameShape } from './check.js';
import type { Context, Destination, OpRule, Value } from './types.js';

/** Sum of two tensors of one type: y = a + b. */
export const addRule: OpRule<object> = {
  name: 'add',
  infer(inputs) {
    requireShapes(
      inputs.length === 2 && sameShape(at(inputs, 0), at(inputs, 1)),
      'add',
      'two tensors of one type',
      inputs,
    );
    return [at(inputs, 0)];
  },
  inPlace: [
    [0, 0],
    [0, 1],
  ],
  backward({ context, gradients, sinks }) {
    const gradient = at(gradients, 0);
    return { gradients: sinks.map((sink) => (sink && gradient ? deliver(context, gradient, sink) : undefined)) };
  },
};

export const add = (context: Context, a: Value, b: Value): Value => at(context.apply(addRule, [a, b], {}), 0);

/** Copy of a tensor: y = x. Used where a value has to lie at a given place. */
export const copyRule: OpRule<object> = {
  name: 'copy',
  infer(inputs) {
    requireShapes(inputs.length === 1, 'copy', 'one tensor', inputs);
    return [at(inputs, 0)];
  },
  inPlace: [[0, 0]],
  backward({ context, gradients, sinks }) {
    const [gradient] = gradients;
    const [sink] = sinks;
    return { gradients: [sink && gradient ? deliver(context, gradient, sink) : undefined] };
  },
};

/** Brings a gradient that exists already to its sink: added to what is there, at the place it belongs. */
export function deliver(context: Context, gradient: Value, sink: Destination): Value {
  if (sink.onto) return at(context.apply(addRule, [sink.onto, gradient], {}, [{ into: sink.into }]), 0);
  if (sink.into) return at(context.apply(copyRule, [gradient], {}, [{ into: sink.into }]), 0);
  return gradient;
}
