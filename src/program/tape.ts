import {
  add,
  at,
  deliver,
  GRADIENT_SEED,
  numElements,
  ShapeError,
  type Context,
  type Destination,
  type OpRule,
  type Value,
} from '../ops/index.js';

/** One application in the forward pass. */
interface Application {
  readonly kind: 'op';
  readonly rule: OpRule<object>;
  readonly attributes: object;
  readonly inputs: readonly Value[];
  readonly onto: readonly (Value | undefined)[];
  readonly outputs: readonly Value[];
}

/** A reshape in the forward pass. */
interface Reshape {
  readonly kind: 'view';
  readonly input: Value;
  readonly offset: number;
  readonly output: Value;
}

/** Part of a forward that may be recomputed; `copies` maps its values to their recomputed ones, once there are any. */
interface Segment {
  readonly entries: (Application | Reshape)[];
  copies?: Map<Value, Value>;
}

type Node = (Application | Reshape) & { readonly segment: Segment | undefined };

export interface TapeOptions {
  /** Forget what lies inside of segments and compute it again in backward. */
  readonly recompute?: boolean;
  /** Segments that follow each other and are computed again together, so that what lies between them is forgotten, too; 1 where left out. */
  readonly segmentsTogether?: number;
}

/**
 * A context that remembers what it passes on to another one, and walks back over it.
 *
 * It works over a recorder (backward is then appended to the program) and over an eager context alike. Only values that
 * depend on a tracked one get gradients, so the walk ends below the lowest trained weight.
 */
export class Tape implements Context {
  readonly #inner: Context;
  readonly #recompute: boolean;
  readonly #nodes: Node[] = [];
  readonly #tracked = new Map<Value, Destination>();
  readonly #dependent = new Set<Value>();
  readonly #replacements = new Map<Value, Value>();
  #segment: Segment | undefined;
  readonly #segmentsTogether: number;
  #lastSegment: Segment | undefined;
  #segments = 0;

  constructor(inner: Context, options: TapeOptions = {}) {
    this.#inner = inner;
    this.#recompute = options.recompute ?? false;
    this.#segmentsTogether = options.segmentsTogether ?? 1;
  }

  /** Asks for the gradient of a value; `destination` says where it goes and what it is added to. */
  track(value: Value, destination: Destination = {}): void {
    this.#tracked.set(value, destination);
    this.#dependent.add(value);
  }

  apply<A extends object>(
    rule: OpRule<A>,
    inputs: readonly Value[],
    attributes: A,
    destinations: readonly (Destination | undefined)[] = [],
  ): Value[] {
    const outputs = this.#inner.apply(rule, inputs, attributes, destinations);
    const onto = outputs.map((_, i) => destinations[i]?.onto);
    this.#remember(
      { kind: 'op', rule: rule as unknown as OpRule<object>, attributes, inputs, onto, outputs },
      [...inputs, ...onto],
      outputs,
    );
    return outputs;
  }

  view(value: Value, offset: number, shape: readonly number[]): Value {
    const output = this.#inner.view(value, offset, shape);
    this.#remember({ kind: 'view', input: value, offset, output }, [value], [output]);
    return output;
  }

  segment<R>(body: () => R): R {
    if (!this.#recompute || this.#segment !== undefined) return body();
    if (this.#lastSegment === undefined || this.#segments % this.#segmentsTogether === 0)
      this.#lastSegment = { entries: [] };
    this.#segments++;
    this.#segment = this.#lastSegment;
    try {
      return body();
    } finally {
      this.#segment = undefined;
    }
  }

  /** The value that holds a forward result after backward may have replaced the op that made it. */
  resolve(value: Value): Value {
    return this.#replacements.get(value) ?? value;
  }

  /** Walks back from a loss of one element; returns the gradient of every tracked value that the loss depends on. */
  backward(loss: Value): Map<Value, Value> {
    const gradients = new Map<Value, Value>([[loss, GRADIENT_SEED]]);
    for (let i = this.#nodes.length - 1; i >= 0; i--) {
      const node = at(this.#nodes, i);
      if (node.kind === 'op') this.#backwardOp(node, gradients);
      else this.#backwardView(node, gradients);
    }
    return new Map([...this.#tracked.keys()].flatMap((value) => pairIfPresent(value, gradients.get(value))));
  }

  #remember(entry: Application | Reshape, inputs: readonly (Value | undefined)[], outputs: readonly Value[]): void {
    this.#segment?.entries.push(entry);
    if (!inputs.some((input) => input !== undefined && this.#dependent.has(input))) return;
    for (const output of outputs) this.#dependent.add(output);
    this.#nodes.push({ ...entry, segment: this.#segment });
  }

  #backwardOp(node: Application & { segment: Segment | undefined }, gradients: Map<Value, Value>): void {
    const incoming = node.outputs.map((output) => gradients.get(output));
    if (incoming.every((gradient) => gradient === undefined)) return;
    if (node.inputs.some((input) => this.#dependent.has(input))) this.#backwardInputs(node, incoming, gradients);
    node.onto.forEach((onto, i) => {
      const gradient = incoming[i];
      if (onto !== undefined && gradient !== undefined && this.#dependent.has(onto)) {
        gradients.set(onto, deliver(this.#inner, gradient, this.#sink(onto, gradients)));
      }
    });
  }

  #backwardInputs(
    node: Application & { segment: Segment | undefined },
    incoming: readonly (Value | undefined)[],
    gradients: Map<Value, Value>,
  ): void {
    if (node.rule.backward === undefined) throw new ShapeError(`${node.rule.name} has no gradient`);
    const seen = new Set<Value>();
    const repeated = node.inputs.map((input) => seen.has(input) || !seen.add(input));
    const sinks = node.inputs.map((input, i) =>
      this.#dependent.has(input) ? (repeated[i] ? {} : this.#sink(input, gradients)) : undefined,
    );
    const result = node.rule.backward({
      context: this.#inner,
      inputs: node.inputs.map((input) => this.#recomputed(node.segment, input)),
      outputs: node.outputs.map((output) => this.#recomputed(node.segment, output)),
      attributes: node.attributes,
      gradients: incoming,
      sinks,
    });
    node.inputs.forEach((input, i) => {
      const gradient = result.gradients[i];
      if (gradient === undefined) return;
      const before = repeated[i] ? gradients.get(input) : undefined;
      gradients.set(input, before ? add(this.#inner, before, gradient) : gradient);
    });
    result.replaces?.forEach((value, i) => {
      if (value !== undefined) this.#replacements.set(at(node.outputs, i), value);
    });
  }

  #backwardView({ input, offset, output }: Reshape, gradients: Map<Value, Value>): void {
    const gradient = gradients.get(output);
    if (gradient === undefined) return;
    if (offset !== 0 || numElements(input.type.shape) !== numElements(output.type.shape)) {
      throw new ShapeError('view: a gradient passes only through views of a whole tensor');
    }
    const reshaped = this.#inner.view(gradient, 0, input.type.shape);
    gradients.set(input, deliver(this.#inner, reshaped, this.#sink(input, gradients)));
  }

  /** What a new contribution to a value's gradient is added to, and where the sum belongs. */
  #sink(value: Value, gradients: Map<Value, Value>): Destination {
    const destination = this.#tracked.get(value);
    return { onto: gradients.get(value) ?? destination?.onto, into: destination?.into };
  }

  #recomputed(segment: Segment | undefined, value: Value): Value {
    if (segment === undefined) return value;
    segment.copies ??= this.#recomputeSegment(segment);
    return segment.copies.get(value) ?? value;
  }

  #recomputeSegment({ entries }: Segment): Map<Value, Value> {
    const copies = new Map<Value, Value>();
    const copy = (value: Value): Value => copies.get(value) ?? value;
    for (const entry of entries) {
      if (entry.kind === 'view') {
        copies.set(entry.output, this.#inner.view(copy(entry.input), entry.offset, entry.output.type.shape));
        continue;
      }
      const destinations = entry.onto.map((onto) => onto && { onto: copy(onto) });
      const outputs = this.#inner.apply(entry.rule, entry.inputs.map(copy), entry.attributes, destinations);
      outputs.forEach((output, i) => copies.set(at(entry.outputs, i), output));
    }
    return copies;
  }
}

const pairIfPresent = (key: Value, value: Value | undefined): [Value, Value][] =>
  value === undefined ? [] : [[key, value]];
