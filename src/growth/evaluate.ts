import { type Floats, RandomStream } from '../architecture/index.js';
import { asMatrix, type Expression, type Selection, shapeOf } from './expression.js';
import { emptyLike, type Rows } from './rows.js';
import { meanSquare, slerpWeights } from './statistics.js';
import { transportRows } from './transport.js';

/** Where source tensors are read from: a checkpoint, or arrays in memory. */
export interface TensorSource {
  shape(name: string): readonly number[];
  /** Rows start, start + 1, ... as many as fit into `out`; a vector has rows of one element. */
  readRows(name: string, start: number, out: Floats): void;
  /** What a `prepare` phase has learned. */
  learned?(name: string): Floats;
}

/** Elements that are computed at once: keeps memory bounded whatever the size of a tensor. */
export const CHUNK_ELEMENTS = 1 << 19;

/**
 * Makes an expression computable by rows. Statistics that need the whole tensor are taken here, by parts.
 *
 * @param like What numbers are computed in: float32, or float64.
 */
export function compile(expression: Expression, source: TensorSource, like: Floats): Rows {
  const shape = shapeOf(expression, (name) => source.shape(name));
  const [rows, columns] = asMatrix(shape);
  const inner = (part: Expression): Rows => compile(part, source, like);
  const fill = ((): Rows['fill'] => {
    switch (expression.op) {
      case 'copy':
        return (out, start) => source.readRows(expression.of, start, out);
      case 'zero':
        return (out) => void out.fill(0);
      case 'constant':
        return (out) => void out.fill(expression.by);
      case 'draw': {
        const stream = new RandomStream(expression.seed, expression.name);
        return (out, start) => stream.fillNormal(out, expression.by, 0, start * columns);
      }
      case 'learned': {
        const values = learnedValues(source, expression.of);
        return (out, start) => out.set(values.subarray(start * columns, start * columns + out.length));
      }
      case 'take':
        return expression.axis === 0
          ? takeRows(inner(expression.of), expression)
          : takeColumns(inner(expression.of), expression);
      case 'scale':
        return typeof expression.by === 'number'
          ? scaled(inner(expression.of), expression.by)
          : scaledAxis(inner(expression.of), expression.axis ?? 0, repeat(expression.by, expression.unit));
      case 'block':
        return block(expression, inner, columns);
      case 'mix':
        return mixed(expression.of.map(inner), mixWeights(expression, source));
      case 'slerp': {
        const [a, b] = [inner(expression.of[0]), inner(expression.of[1])];
        return mixed([a, b], slerpWeights(a, b, expression.by, like));
      }
      case 'pairedNoise':
        return pairedNoise(inner(expression.of), expression, like);
      case 'unevenSplit':
        return unevenSplit(inner(expression.of), expression);
      case 'transport': {
        const values = transportRows(expression, inner);
        return (out, start) => out.set(values.subarray(start * columns, start * columns + out.length));
      }
      case 'product':
        return product(inner(expression.of[0]), inner(expression.of[1]), expression.transposed);
      default:
        return expression satisfies never;
    }
  })();
  return { rows, columns, fill };
}

function learnedValues(source: TensorSource, name: string): Floats {
  const values = source.learned?.(name);
  if (values === undefined) throw new Error(`"${name}" has not been learned: the prepare phase is missing`);
  return values;
}

function mixWeights({ by, of }: Extract<Expression, { op: 'mix' }>, source: TensorSource): readonly number[] {
  if (!('learned' in by)) return by;
  return [...learnedValues(source, by.learned).subarray(by.row * of.length, (by.row + 1) * of.length)];
}

/** Computes a whole tensor. */
export function wholeTensor<T extends Floats>(tensor: Rows, out: T): T {
  const step = Math.max(1, Math.floor(CHUNK_ELEMENTS / tensor.columns));
  for (let start = 0; start < tensor.rows; start += step) {
    const end = Math.min(tensor.rows, start + step);
    tensor.fill(out.subarray(start * tensor.columns, end * tensor.columns), start);
  }
  return out;
}

/** Gives the same memory again and again: a fresh array for every part of a large tensor costs more than the arithmetic. */
export function reusableScratch(): (like: Floats, length: number) => Floats {
  let kept: Floats | undefined;
  return (like, length) => {
    const fits = kept !== undefined && kept.length >= length && kept.constructor === like.constructor;
    if (!fits) kept = emptyLike(like, length);
    return kept!.subarray(0, length);
  };
}

/** Places of single elements for an index of units. */
export function expandIndex({ index, unit = 1 }: Selection): Int32Array {
  const out = new Int32Array(index.length * unit);
  for (let a = 0; a < index.length; a++)
    for (let k = 0; k < unit; k++) out[a * unit + k] = index[a]! < 0 ? -1 : index[a]! * unit + k;
  return out;
}

function repeat(values: readonly number[], unit = 1): Float64Array {
  return Float64Array.from({ length: values.length * unit }, (_, i) => values[Math.floor(i / unit)]!);
}

function takeRows(of: Rows, selection: Selection): Rows['fill'] {
  const index = expandIndex(selection);
  const { columns } = of;
  return (out, start) => {
    const count = out.length / columns;
    for (let row = 0; row < count; ) {
      const first = index[start + row]!;
      let length = 1;
      while (row + length < count && index[start + row + length] === (first < 0 ? -1 : first + length)) length++;
      const part = out.subarray(row * columns, (row + length) * columns);
      if (first < 0) part.fill(0);
      else of.fill(part, first);
      row += length;
    }
  };
}

function takeColumns(of: Rows, selection: Selection): Rows['fill'] {
  const index = expandIndex(selection);
  const columns = index.length;
  const scratch = reusableScratch();
  return (out, start) => {
    const count = out.length / columns;
    const source = scratch(out, count * of.columns);
    of.fill(source, start);
    gatherColumns(source, of.columns, index, out);
  };
}

function gatherColumns(source: Floats, sourceColumns: number, index: Int32Array, out: Floats): void {
  const columns = index.length;
  for (let from = 0, to = 0; to < out.length; from += sourceColumns, to += columns) {
    for (let i = 0; i < columns; i++) {
      const place = index[i]!;
      out[to + i] = place < 0 ? 0 : source[from + place]!;
    }
  }
}

function scaled(of: Rows, by: number): Rows['fill'] {
  return (out, start) => {
    of.fill(out, start);
    for (let i = 0; i < out.length; i++) out[i] = out[i]! * by;
  };
}

function scaledAxis(of: Rows, axis: 0 | 1, by: Float64Array): Rows['fill'] {
  const { columns } = of;
  return (out, start) => {
    of.fill(out, start);
    for (let at = 0, row = start; at < out.length; at += columns, row++) {
      if (axis === 0) {
        const factor = by[row]!;
        for (let i = 0; i < columns; i++) out[at + i] = out[at + i]! * factor;
      } else {
        for (let i = 0; i < columns; i++) out[at + i] = out[at + i]! * by[i]!;
      }
    }
  };
}

function mixed(of: readonly Rows[], by: readonly number[]): Rows['fill'] {
  const scratch = reusableScratch();
  return (out, start) => {
    const part = scratch(out, out.length);
    out.fill(0);
    for (let k = 0; k < of.length; k++) {
      of[k]!.fill(part, start);
      const weight = by[k]!;
      for (let i = 0; i < out.length; i++) out[i] = out[i]! + weight * part[i]!;
    }
  };
}

function block(
  expression: Extract<Expression, { op: 'block' }>,
  inner: (part: Expression) => Rows,
  columns: number,
): Rows['fill'] {
  const rowIndex = expression.rows && expandIndex(expression.rows);
  const columnIndex = expression.columns && expandIndex(expression.columns);
  const old = inner(expression.of[0]![0]!);
  const right = expression.of[0]![1] && inner(expression.of[0]![1]);
  const below = expression.of[1]?.[0] && inner(expression.of[1][0]);
  const corner = expression.of[1]?.[1] && inner(expression.of[1][1]);
  const newColumns = columnIndex ? [...columnIndex.keys()].filter((i) => columnIndex[i]! < 0) : [];
  const [oldScratch, otherScratch] = [reusableScratch(), reusableScratch()];
  return (out, start) => {
    const count = out.length / columns;
    const oldRow = oldScratch(out, old.columns);
    const other = otherScratch(out, columns);
    for (let row = 0; row < count; row++) {
      const line = out.subarray(row * columns, (row + 1) * columns);
      const place = rowIndex ? rowIndex[start + row]! : start + row;
      if (place >= 0) {
        right?.fill(line, start + row);
        old.fill(oldRow, place);
        if (columnIndex === undefined) line.set(oldRow);
        else for (let i = 0; i < columns; i++) if (columnIndex[i]! >= 0) line[i] = oldRow[columnIndex[i]!]!;
      } else {
        below!.fill(line, start + row);
        if (corner === undefined || newColumns.length === 0) continue;
        corner.fill(other, start + row);
        for (const i of newColumns) line[i] = other[i]!;
      }
    }
  };
}

function pairedNoise(of: Rows, expression: Extract<Expression, { op: 'pairedNoise' }>, like: Floats): Rows['fill'] {
  const { pairs, unit = 1, snrDb, seed, name } = expression;
  const std = Math.sqrt(meanSquare(of, like) / 10 ** (snrDb / 10));
  const stream = new RandomStream(seed, `${name} noise`);
  const width = pairs.length * unit;
  const [more, less] = [0, 1].map((side) => expandIndex({ index: pairs.map((pair) => pair[side]!), unit })) as [
    Int32Array,
    Int32Array,
  ];
  const scratch = reusableScratch();
  return (out, start) => {
    of.fill(out, start);
    const count = out.length / of.columns;
    const noise = scratch(out, count * width);
    stream.fillNormal(noise, std, 0, start * width);
    for (let row = 0, n = 0; row < count; row++) {
      const line = row * of.columns;
      for (let k = 0; k < width; k++, n++) {
        const [plus, minus] = [line + more[k]!, line + less[k]!];
        out[plus] = out[plus]! + noise[n]!;
        out[minus] = out[minus]! - noise[n]!;
      }
    }
  };
}

function unevenSplit(of: Rows, expression: Extract<Expression, { op: 'unevenSplit' }>): Rows['fill'] {
  const index = expandIndex(expression);
  const columns = index.length;
  const counts = new Int32Array(of.columns);
  for (const place of index) if (place >= 0) counts[place] = counts[place]! + 1;
  const stream = new RandomStream(expression.seed, `${expression.name} split`);
  const [sourceScratch, noiseScratch] = [reusableScratch(), reusableScratch()];
  return (out, start) => {
    const count = out.length / columns;
    const source = sourceScratch(out, count * of.columns);
    of.fill(source, start);
    const noise = noiseScratch(out, out.length);
    stream.fillNormal(noise, expression.by, 0, start * columns);
    const first = new Int32Array(of.columns);
    const rest = new Float64Array(of.columns);
    for (let row = 0; row < count; row++) {
      first.fill(-1);
      rest.fill(1);
      for (let i = 0, at = row * columns; i < columns; i++, at++) {
        const place = index[i]!;
        if (place < 0) out[at] = 0;
        else if (first[place]! < 0) first[place] = at;
        else {
          const weight = 1 / counts[place]! + noise[at]!;
          rest[place] = rest[place]! - weight;
          out[at] = weight * source[row * of.columns + place]!;
        }
      }
      for (let place = 0; place < of.columns; place++)
        if (first[place]! >= 0) out[first[place]!] = rest[place]! * source[row * of.columns + place]!;
    }
  };
}

function product(a: Rows, b: Rows, transposed: readonly [boolean, boolean]): Rows['fill'] {
  const left = wholeTensor(a, new Float64Array(a.rows * a.columns));
  const right = wholeTensor(b, new Float64Array(b.rows * b.columns));
  const inner = transposed[0] ? a.rows : a.columns;
  const columns = transposed[1] ? b.rows : b.columns;
  const other = transposed[1] ? transpose(right, b.rows, b.columns) : right;
  return (out, start) => {
    const line = new Float64Array(columns);
    for (let row = 0; row < out.length / columns; row++) {
      line.fill(0);
      for (let k = 0; k < inner; k++) {
        const factor = transposed[0] ? left[k * a.columns + start + row]! : left[(start + row) * a.columns + k]!;
        if (factor === 0) continue;
        for (let i = 0, at = k * columns; i < columns; i++, at++) line[i] = line[i]! + factor * other[at]!;
      }
      out.set(line, row * columns);
    }
  };
}

function transpose(values: Float64Array, rows: number, columns: number): Float64Array {
  const out = new Float64Array(values.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = values[r * columns + c]!;
  return out;
}
