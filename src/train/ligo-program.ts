import type { Family } from '../architecture/index.js';
import { type Expression, type Plan, type PrepareParameter, storedSpecs } from '../growth/index.js';
import { type ForwardInputs, forwardOf, type Parameters } from '../model/index.js';
import {
  add,
  adamw,
  ADAMW_SCALARS,
  affine,
  at,
  concat,
  type Context,
  linearCrossEntropy,
  matmul,
  numElements,
  squaredNorm,
  type TensorType,
  type Value,
} from '../ops/index.js';
import { compileProgram, type Program, Recorder, Tape } from '../program/index.js';

/** What the programs of a learned expansion depend on. */
export interface ExpansionShape {
  readonly plan: Pick<Plan, 'source' | 'target' | 'tensors'>;
  readonly family: Family;
  readonly parameters: readonly PrepareParameter[];
  readonly sequenceLength: number;
  readonly sequences: number;
  /** Whether attention stays within documents. */
  readonly withinDocuments?: boolean;
}

/** A place in a flat buffer. */
interface Place {
  readonly offset: number;
  readonly shape: readonly number[];
}

/** Where source weights, learned matrices and constant selections lie, one after the other in buffers of their own. */
export interface ExpansionLayout {
  readonly source: ReadonlyMap<string, Place>;
  readonly learned: ReadonlyMap<string, Place>;
  readonly sourceSize: number;
  readonly learnedSize: number;
}

function layOutPlaces(entries: Iterable<readonly [string, readonly number[]]>): [ReadonlyMap<string, Place>, number] {
  const places = new Map<string, Place>();
  let offset = 0;
  for (const [name, shape] of entries) {
    places.set(name, { offset, shape });
    offset += numElements(shape);
  }
  return [places, offset];
}

export function expansionLayout({ plan, parameters }: Pick<ExpansionShape, 'plan' | 'parameters'>): ExpansionLayout {
  const shapes = storedSpecs(plan.source).map((spec) => [spec.name, spec.axes.map(({ size }) => size)] as const);
  const [source, sourceSize] = layOutPlaces(shapes);
  const [learned, learnedSize] = layOutPlaces(parameters.map(({ name, shape }) => [name, shape] as const));
  return { source, learned, sourceSize, learnedSize };
}

/** Types of what the programs share. */
export function expansionSlots(
  { plan, sequenceLength, sequences, withinDocuments }: ExpansionShape,
  { sourceSize, learnedSize }: ExpansionLayout,
): Record<string, TensorType> {
  const rows = sequenceLength * sequences;
  const tables = Object.entries(forwardOf(plan.target).tables(plan.target, 1));
  return {
    source: { dtype: 'f32', shape: [sourceSize] },
    ...Object.fromEntries(
      ['learned', 'gradients', 'firstMoments', 'secondMoments'].map((name) => [
        name,
        { dtype: 'f32', shape: [learnedSize] } as const,
      ]),
    ),
    ids: { dtype: 'i32', shape: [rows] },
    targets: { dtype: 'i32', shape: [rows] },
    weights: { dtype: 'f32', shape: [rows] },
    ...(withinDocuments === true ? { documentStarts: { dtype: 'i32', shape: [rows] } as const } : {}),
    scalars: { dtype: 'f64', shape: [ADAMW_SCALARS.length] },
    norm: { dtype: 'f64', shape: [1] },
    ...Object.fromEntries(
      tables.map(([name, { columns }]) => [name, { dtype: 'f32', shape: [sequenceLength, columns] } as const]),
    ),
  };
}

/** Constant 0/1 matrices that stand for taking rows or columns, by slot name, as the programs ask for them. */
export class Selections {
  readonly values = new Map<string, { readonly shape: readonly [number, number]; readonly values: Float32Array }>();
  readonly #names = new Map<string, string>();

  /** A matrix with a 1 at (i, index[i]) for each unit; -1 gives an empty row. */
  of(index: readonly number[], unit: number, columns: number): string {
    const key = `${unit}/${columns}/${index.join()}`;
    const known = this.#names.get(key);
    if (known !== undefined) return known;
    const name = `selection.${this.#names.size}`;
    const values = new Float32Array(index.length * unit * columns);
    index.forEach((from, i) => {
      if (from < 0) return;
      for (let k = 0; k < unit; k++) values[(i * unit + k) * columns + from * unit + k] = 1;
    });
    this.#names.set(key, name);
    this.values.set(name, { shape: [index.length * unit, columns], values });
    return name;
  }
}

/**
 * Forward and backward of one micro-batch through the expansion: weights are computed from the source's, gradients go to what is learned.
 *
 * Outputs: `total`, the weighted sum of the losses. With `accumulate` gradients are added to what is there.
 */
export function recordExpansion(
  shape: ExpansionShape,
  layout: ExpansionLayout,
  selections: Selections,
  accumulate: boolean,
): Program {
  const { plan, sequenceLength, sequences } = shape;
  const recorder = new Recorder();
  const tape = new Tape(recorder);
  const slots = expansionSlots(shape, layout);
  const slot = (name: string): Value => recorder.slot(name, slots[name]!);
  const gradients = slot('gradients');
  const learned = slot('learned');
  const tracked = new Map<string, Value>();
  const track = (offset: number, size: readonly number[]): Value => {
    const key = `${offset}/${size.join()}`;
    const known = tracked.get(key);
    if (known !== undefined) return known;
    const value = tape.view(learned, offset, size);
    const place = tape.view(gradients, offset, size);
    tape.track(value, accumulate ? { onto: place, into: place } : { into: place });
    tracked.set(key, value);
    return value;
  };
  const declared = new Map<string, Value>();
  const expansion = new RecordedExpansion(tape, layout, slot('source'), track, (index, unit, columns) => {
    const name = selections.of(index, unit, columns);
    const { shape: size } = selections.values.get(name)!;
    const value = declared.get(name) ?? recorder.slot(name, { dtype: 'f32', shape: size });
    declared.set(name, value);
    return value;
  });
  const tables = Object.keys(forwardOf(plan.target).tables(plan.target, 1));
  const inputs: ForwardInputs = {
    ids: slot('ids'),
    tables: Object.fromEntries(tables.map((name) => [name, slot(name)])),
    batch: sequences,
    length: sequenceLength,
    ...(shape.withinDocuments === true ? { documentStarts: slot('documentStarts') } : {}),
  };
  const parameters = expandedParameters(tape, shape, expansion);
  const hidden = forwardOf(plan.target).hidden(tape, plan.target, parameters, inputs);
  const { total } = linearCrossEntropy(tape, hidden, parameters.get('head'), slot('targets'), slot('weights'));
  tape.backward(total);
  return compileProgram(recorder.finish({ total: tape.resolve(total) }));
}

/** The gradients' sum of squares, and AdamW without decay. */
export function recordExpansionUpdate(
  shape: ExpansionShape,
  layout: ExpansionLayout,
): { norm: Program; update: Program } {
  const slots = expansionSlots(shape, layout);
  const normed = new Recorder();
  squaredNorm(normed, normed.slot('gradients', slots['gradients']!), normed.slot('norm', slots['norm']!));
  const recorder = new Recorder();
  const slot = (name: string): Value => recorder.slot(name, slots[name]!);
  adamw(
    recorder,
    { p: slot('learned'), g: slot('gradients'), m: slot('firstMoments'), v: slot('secondMoments') },
    slot('scalars'),
    { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0 },
  );
  return { norm: compileProgram(normed.finish()), update: compileProgram(recorder.finish()) };
}

/** Expressions of a plan as recorded operations; equal ones are computed once. All values are matrices, vectors one column. */
class RecordedExpansion {
  readonly #made = new Map<string, Value>();

  constructor(
    readonly context: Context,
    readonly layout: ExpansionLayout,
    readonly source: Value,
    readonly track: (offset: number, shape: readonly number[]) => Value,
    readonly selection: (index: readonly number[], unit: number, columns: number) => Value,
  ) {}

  value(expression: Expression): Value {
    const key = JSON.stringify(expression);
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const made = this.#make(expression);
    this.#made.set(key, made);
    return made;
  }

  #make(expression: Expression): Value {
    const { context } = this;
    switch (expression.op) {
      case 'copy': {
        const { offset, shape } = this.layout.source.get(expression.of)!;
        return context.view(this.source, offset, asMatrix(shape));
      }
      case 'learned': {
        const { offset, shape } = this.layout.learned.get(expression.of)!;
        return this.track(offset, shape);
      }
      case 'product': {
        const [a, b] = [this.value(expression.of[0]), this.value(expression.of[1])];
        return matmul(context, a, b, { transposeA: expression.transposed[0], transposeB: expression.transposed[1] });
      }
      case 'take': {
        const of = this.value(expression.of);
        const chosen = this.selection(expression.index, expression.unit ?? 1, at(of.type.shape, expression.axis));
        return expression.axis === 0 ? matmul(context, chosen, of) : matmul(context, of, chosen, { transposeB: true });
      }
      case 'mix':
        return 'learned' in expression.by
          ? this.#learnedMix(expression.of, expression.by)
          : expression.of
              .map((part, i) => this.#scaled(this.value(part), (expression.by as readonly number[])[i]!))
              .reduce((sum, part) => add(context, sum, part));
      default:
        throw new TypeError(`a learned expansion cannot pass a gradient through "${expression.op}"`);
    }
  }

  #scaled(value: Value, by: number): Value {
    return by === 1 ? value : affine(this.context, value, { scale: by });
  }

  /** sum_j w[row, j] * of_j, as a product of a row of w with the flattened parts one below the other. */
  #learnedMix(of: readonly Expression[], { learned, row }: { learned: string; row: number }): Value {
    const { context } = this;
    const key = `stack ${JSON.stringify(of)}`;
    const shape = this.value(of[0]!).type.shape;
    const stack =
      this.#made.get(key) ??
      concat(
        context,
        of.map((part) => context.view(this.value(part), 0, [1, numElements(shape)])),
      );
    this.#made.set(key, stack);
    const { offset } = this.layout.learned.get(learned)!;
    const weights = this.track(offset + row * of.length, [1, of.length]);
    return context.view(matmul(context, weights, stack), 0, shape);
  }
}

const asMatrix = (shape: readonly number[]): readonly number[] => (shape.length === 1 ? [shape[0]!, 1] : shape);

/** A target's weights, computed when the forward asks for them. */
function expandedParameters(
  context: Context,
  { plan, family }: ExpansionShape,
  expansion: RecordedExpansion,
): Parameters {
  const specs = family.weights(plan.target);
  const keyOf = (role: string, layer: number | undefined, kind: string): string => `${role}/${layer ?? ''}/${kind}`;
  const byKey = new Map(specs.map((spec) => [keyOf(spec.role, spec.layer, spec.kind), spec]));
  const byName = new Map(specs.map((spec) => [spec.name, spec]));
  const made = new Map<string, Value>();
  const find: Parameters['find'] = (role, layer, kind = 'weight') => {
    const spec = byKey.get(keyOf(role, layer, kind));
    const owner = spec?.tiedTo === undefined ? spec : byName.get(spec.tiedTo);
    if (owner === undefined) return undefined;
    const known = made.get(owner.name);
    if (known !== undefined) return known;
    const value = context.view(
      expansion.value(plan.tensors[owner.name]!),
      0,
      owner.axes.map(({ size }) => size),
    );
    made.set(owner.name, value);
    return value;
  };
  return {
    find,
    get(role, layer, kind) {
      const value = find(role, layer, kind);
      if (value === undefined) throw new TypeError(`the weight map has no ${role}`);
      return value;
    },
    group(roles, layer, kind) {
      const parts = roles.map((role) => find(role, layer, kind)).filter((part) => part !== undefined);
      return parts.length < roles.length ? undefined : concat(context, parts);
    },
  };
}
