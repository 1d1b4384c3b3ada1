import { add, addRule, ShapeError, type Context, type Destination, type OpRule, type Value } from '../ops/index.js';
import { Memory, Tensor, type Scope } from './buffers.js';
import { prepareInvocation, workspaceBytes } from './invoke.js';

/**
 * A context that computes at once, each result in fresh memory that its scope frees.
 *
 * For tests, gradient checks, evaluation and surgery; it runs the same kernels in the same order as a replayed program.
 */
export class EagerContext implements Context {
  readonly #scope: Scope;

  constructor(scope: Scope) {
    this.#scope = scope;
  }

  apply<A extends object>(
    rule: OpRule<A>,
    inputs: readonly Value[],
    attributes: A,
    destinations: readonly (Destination | undefined)[] = [],
  ): Value[] {
    const types = rule.infer(
      inputs.map((input) => input.type),
      attributes,
    );
    const separate = types.map((_, i) => destinations[i]?.onto !== undefined && !rule.accumulates?.includes(i));
    const outputs = types
      .map((type, i) => (separate[i] ? undefined : destinations[i]?.into) ?? this.#scope.tensor(type))
      .map(asTensor);
    const general = rule as unknown as OpRule<object>;
    const bytes = workspaceBytes(general, inputs, attributes);
    using workspace = bytes > 0 ? new Memory(bytes) : undefined;
    const onto = types.map((_, i) =>
      separate[i] || !destinations[i]?.onto ? undefined : asTensor(destinations[i].onto),
    );
    const tensors = inputs.map(asTensor);
    const { calls } = prepareInvocation({
      rule: general,
      attributes,
      inputs: tensors,
      outputs,
      onto,
      workspace: workspace?.address ?? 0n,
    });
    for (const call of calls) call();
    return outputs.map((output, i) => {
      const wanted = destinations[i];
      if (!separate[i] || wanted?.onto === undefined) return output;
      return wanted.into
        ? (this.apply(addRule, [wanted.onto, output], {}, [{ into: wanted.into }])[0] as Value)
        : add(this, wanted.onto, output);
    });
  }

  view(value: Value, offset: number, shape: readonly number[]): Value {
    return asTensor(value).view(offset, shape);
  }

  segment<R>(body: () => R): R {
    return body();
  }
}

function asTensor(value: Value): Tensor {
  if (!(value instanceof Tensor)) throw new ShapeError('this value has no memory: it was not made by the engine');
  return value;
}
