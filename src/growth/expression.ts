/**
 * How one target tensor is made out of source tensors: plain data, so that a plan can be printed, compared, hashed and tested
 * without weights. Matrices are [rows, columns] = [out, in]; vectors are one column. Axis 0 is rows, axis 1 columns.
 */
export type Expression =
  | Copy
  | Zero
  | Constant
  | Draw
  | Take
  | Scale
  | Block
  | Mix
  | Slerp
  | PairedNoise
  | UnevenSplit
  | Transport
  | MatrixProduct
  | Learned;

/** The source tensor of that name. */
export interface Copy {
  readonly op: 'copy';
  readonly of: string;
}

export interface Zero {
  readonly op: 'zero';
  readonly shape: readonly number[];
}

/** Every entry is `by`. */
export interface Constant {
  readonly op: 'constant';
  readonly by: number;
  readonly shape: readonly number[];
}

/** Normal numbers of standard deviation `by` from the stream (seed, name); entry i is number i of the stream. */
export interface Draw {
  readonly op: 'draw';
  readonly by: number;
  readonly seed: number;
  readonly name: string;
  readonly shape: readonly number[];
}

/** Rows or columns `index` of `of`; -1 gives zeros. With `unit` u, entry a stands for a*u to a*u + u - 1 (a head). */
export interface Take {
  readonly op: 'take';
  readonly axis: 0 | 1;
  readonly index: readonly number[];
  readonly unit?: number;
  readonly of: Expression;
}

/** Everything times `by`; with an axis, each row or column times its own number, one per `unit` of them. */
export interface Scale {
  readonly op: 'scale';
  readonly by: number | readonly number[];
  readonly axis?: 0 | 1;
  readonly unit?: number;
  readonly of: Expression;
}

/** Which target rows (columns) are old ones, by their place in the old block, and which are new: -1. */
export interface Selection {
  readonly index: readonly number[];
  readonly unit?: number;
}

/**
 * Old and new parts put together. `of` is [[old, right], [below, corner]]: `old` has the shape of the source, the others the
 * shape of the target, of which only the entries in their part are used. Without `columns` it is [[old], [below]], without
 * `rows` [[old, right]].
 */
export interface Block {
  readonly op: 'block';
  readonly rows?: Selection;
  readonly columns?: Selection;
  readonly of: readonly (readonly Expression[])[];
}

/** A row of a learned matrix. */
export interface LearnedRow {
  readonly learned: string;
  readonly row: number;
}

/** The sum of `of`, each times its number of `by`. */
export interface Mix {
  readonly op: 'mix';
  readonly by: readonly number[] | LearnedRow;
  readonly of: readonly Expression[];
}

/**
 * Spherical interpolation of two tensors, flattened: the angle from the normalised ones, the weights applied to the raw ones;
 * linear where they are nearly parallel (|cosine| > 0.9995).
 */
export interface Slerp {
  readonly op: 'slerp';
  readonly by: number;
  readonly of: readonly [Expression, Expression];
}

/**
 * Adds E to one column of each pair and subtracts it from the other, which leaves the function alone where both columns get
 * equal inputs. E is normal, with variance mean(of^2) / 10^(snrDb / 10).
 */
export interface PairedNoise {
  readonly op: 'pairedNoise';
  readonly pairs: readonly (readonly [number, number])[];
  readonly unit?: number;
  readonly snrDb: number;
  readonly seed: number;
  readonly name: string;
  readonly of: Expression;
}

/**
 * Columns `index` of `of`, where the copies of one column share it unequally: copy j of row o gets weight 1/c + N(0, by^2), the
 * first copy what is left, so that the weights of each row sum to 1.
 */
export interface UnevenSplit {
  readonly op: 'unevenSplit';
  readonly index: readonly number[];
  readonly unit?: number;
  readonly by: number;
  readonly seed: number;
  readonly name: string;
  readonly of: Expression;
}

/**
 * Rows of A aligned with rows of B by optimal transport: P^T A, with P the Sinkhorn plan of uniform marginals, cost |A_i - B_j|
 * (Euclidean) divided by its largest entry, and entropic regularisation `by`; P is scaled to have row sums 1 unless `released`.
 */
export interface Transport {
  readonly op: 'transport';
  readonly by: number;
  readonly released: boolean;
  /** Before the plan is sought, the columns of A are aligned by the plan of another pair of tensors. */
  readonly columnsBy?: readonly [Expression, Expression];
  readonly of: readonly [Expression, Expression];
}

/** A matrix product; `transposed` names the factors that are transposed first. */
export interface MatrixProduct {
  readonly op: 'product';
  readonly transposed: readonly [boolean, boolean];
  readonly of: readonly [Expression, Expression];
}

/** A tensor that the operator's `prepare` phase has learned, by name. */
export interface Learned {
  readonly op: 'learned';
  readonly of: string;
  readonly shape: readonly number[];
}

/** Rows and columns of a shape: a vector is one column. */
export const asMatrix = (shape: readonly number[]): [rows: number, columns: number] => [shape[0] ?? 1, shape[1] ?? 1];

/** The expressions that an expression is made of. */
export function parts(expression: Expression): readonly Expression[] {
  switch (expression.op) {
    case 'copy':
    case 'zero':
    case 'constant':
    case 'draw':
    case 'learned':
      return [];
    case 'take':
    case 'scale':
    case 'pairedNoise':
    case 'unevenSplit':
      return [expression.of];
    case 'block':
      return expression.of.flat();
    case 'transport':
      return [...expression.of, ...(expression.columnsBy ?? [])];
    case 'mix':
    case 'slerp':
    case 'product':
      return expression.of;
    default:
      return expression satisfies never;
  }
}

/** An expression with each of its parts replaced. */
export function mapParts(expression: Expression, change: (part: Expression) => Expression): Expression {
  const pair = ([a, b]: readonly [Expression, Expression]): [Expression, Expression] => [change(a), change(b)];
  switch (expression.op) {
    case 'copy':
    case 'zero':
    case 'constant':
    case 'draw':
    case 'learned':
      return expression;
    case 'take':
    case 'scale':
    case 'pairedNoise':
    case 'unevenSplit':
      return { ...expression, of: change(expression.of) };
    case 'block':
      return { ...expression, of: expression.of.map((row) => row.map(change)) };
    case 'mix':
      return { ...expression, of: expression.of.map(change) };
    case 'slerp':
    case 'product':
      return { ...expression, of: pair(expression.of) };
    case 'transport':
      return {
        ...expression,
        of: pair(expression.of),
        ...(expression.columnsBy === undefined ? {} : { columnsBy: pair(expression.columnsBy) }),
      };
    default:
      return expression satisfies never;
  }
}

/** An expression with every copied source tensor replaced: how two plans are put one after the other. */
export const substitute = (expression: Expression, source: (name: string) => Expression): Expression =>
  expression.op === 'copy' ? source(expression.of) : mapParts(expression, (part) => substitute(part, source));

/** Names of the source tensors that an expression reads. */
export function sourcesOf(expression: Expression, into = new Set<string>()): Set<string> {
  if (expression.op === 'copy') into.add(expression.of);
  for (const part of parts(expression)) sourcesOf(part, into);
  return into;
}

/**
 * The shape that an expression gives.
 *
 * @param source Shapes of source tensors.
 */
export function shapeOf(expression: Expression, source: (name: string) => readonly number[]): readonly number[] {
  const inner = (part: Expression): readonly number[] => shapeOf(part, source);
  switch (expression.op) {
    case 'copy':
      return source(expression.of);
    case 'zero':
    case 'constant':
    case 'draw':
    case 'learned':
      return expression.shape;
    case 'take':
      return withAxis(inner(expression.of), expression.axis, expression.index.length * (expression.unit ?? 1));
    case 'unevenSplit':
      return withAxis(inner(expression.of), 1, expression.index.length * (expression.unit ?? 1));
    case 'scale':
    case 'pairedNoise':
      return inner(expression.of);
    case 'block': {
      let shape = inner(expression.of[0]![0]!);
      for (const [axis, selection] of [expression.rows, expression.columns].entries())
        if (selection !== undefined)
          shape = withAxis(shape, axis as 0 | 1, selection.index.length * (selection.unit ?? 1));
      return shape;
    }
    case 'mix':
    case 'slerp':
      return inner(expression.of[0]!);
    case 'transport':
      return inner(expression.of[1]);
    case 'product': {
      const [a, b] = [inner(expression.of[0]), inner(expression.of[1])];
      const rows = asMatrix(a)[expression.transposed[0] ? 1 : 0]!;
      return b.length === 1 ? [rows] : [rows, asMatrix(b)[expression.transposed[1] ? 0 : 1]!];
    }
    default:
      return expression satisfies never;
  }
}

const withAxis = (shape: readonly number[], axis: 0 | 1, size: number): readonly number[] =>
  shape.map((old, i) => (i === axis ? size : old));
