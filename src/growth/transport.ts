import type { Rows } from './rows.js';
import type { Expression, Transport } from './expression.js';

const MAX_ITERATIONS = 1000;
const TOLERANCE = 1e-9;

function whole(tensor: Rows): Float64Array {
  const out = new Float64Array(tensor.rows * tensor.columns);
  tensor.fill(out, 0);
  return out;
}

/**
 * Rows of A moved to the places of the rows of B that they are most like: P^T A (see `Transport`).
 *
 * Reads both tensors whole. Source: OpT-DeUS (arXiv 2508.08011).
 */
export function transportRows(expression: Transport, compile: (part: Expression) => Rows): Float64Array {
  const [a, b] = expression.of.map(compile) as [Rows, Rows];
  const { rows, columns } = a;
  let left = whole(a);
  const right = whole(b);
  if (expression.columnsBy !== undefined) {
    const [c, d] = expression.columnsBy.map(compile) as [Rows, Rows];
    const plan = transportPlan(whole(c), whole(d), c.rows, c.columns, expression.by, expression.released);
    left = multiply(left, plan, rows, columns, columns);
  }
  const plan = transportPlan(left, right, rows, columns, expression.by, expression.released);
  const out = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < rows; j++) {
      const share = plan[i * rows + j]!;
      if (share === 0) continue;
      for (let k = 0; k < columns; k++) out[j * columns + k] = out[j * columns + k]! + share * left[i * columns + k]!;
    }
  return out;
}

function multiply(x: Float64Array, y: Float64Array, rows: number, inner: number, columns: number): Float64Array {
  const out = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++)
    for (let k = 0; k < inner; k++) {
      const factor = x[r * inner + k]!;
      for (let c = 0; c < columns; c++) out[r * columns + c] = out[r * columns + c]! + factor * y[k * columns + c]!;
    }
  return out;
}

/** Sinkhorn's plan between the rows of two matrices, in the log domain, so that small regularisation does not underflow. */
function transportPlan(
  a: Float64Array,
  b: Float64Array,
  rows: number,
  columns: number,
  regularisation: number,
  released: boolean,
): Float64Array {
  const scores = distances(a, b, rows, columns);
  const largest = scores.reduce((max, value) => Math.max(max, value), 0) || 1;
  for (let i = 0; i < scores.length; i++) scores[i] = -scores[i]! / (largest * regularisation);
  const f = new Float64Array(rows);
  const g = new Float64Array(rows);
  for (let iteration = 0; iteration < MAX_ITERATIONS; iteration++) {
    for (let i = 0; i < rows; i++) f[i] = -logSum(rows, (j) => scores[i * rows + j]! + g[j]!);
    let error = 0;
    for (let j = 0; j < rows; j++) {
      const update = -logSum(rows, (i) => scores[i * rows + j]! + f[i]!);
      error = Math.max(error, Math.abs(update - g[j]!));
      g[j] = update;
    }
    if (error < TOLERANCE) break;
  }
  // Row sums are 1 here; the released code leaves them at 1/rows.
  const total = released ? 1 / rows : 1;
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < rows; j++) scores[i * rows + j] = total * Math.exp(scores[i * rows + j]! + f[i]! + g[j]!);
  return scores;
}

function distances(a: Float64Array, b: Float64Array, rows: number, columns: number): Float64Array {
  const out = new Float64Array(rows * rows);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < rows; j++) {
      let sum = 0;
      for (let k = 0; k < columns; k++) sum += (a[i * columns + k]! - b[j * columns + k]!) ** 2;
      out[i * rows + j] = Math.sqrt(sum);
    }
  return out;
}

function logSum(count: number, term: (i: number) => number): number {
  let max = -Infinity;
  for (let i = 0; i < count; i++) max = Math.max(max, term(i));
  let sum = 0;
  for (let i = 0; i < count; i++) sum += Math.exp(term(i) - max);
  return max + Math.log(sum);
}
