import type { TrainColumns } from '../records/index.js';

/** One point of a loss curve: FLOPs and tokens paid so far, and the loss. */
export type CurvePoint = readonly [flops: number, tokens: number, loss: number];

/**
 * Reduces train records to at most `points`, each the mean of the records in one bin.
 *
 * Bins are evenly spaced in the logarithm of the FLOPs where the run is long enough, so that the early part keeps its shape on a
 * logarithmic axis; a bin without records gives no point. Records without a finite loss are left out.
 */
export function thin(train: TrainColumns, points: number): CurvePoint[] {
  const rows: number[] = [];
  for (let i = 0; i < train.length; i++) if (Number.isFinite(train.loss[i]) && (train.flops[i] ?? 0) > 0) rows.push(i);
  const value = (column: Float64Array, row: number | undefined): number => column[row ?? 0] ?? NaN;
  if (rows.length <= points)
    return rows.map((row) => [value(train.flops, row), value(train.tokens, row), round(value(train.loss, row))]);
  const first = Math.log(value(train.flops, rows[0]));
  const last = Math.log(value(train.flops, rows.at(-1)));
  // Half of each bin's width goes by the logarithm, half by the count: neither end of either axis is left bare.
  const binOf = (row: number, index: number): number => {
    const byLog = last > first ? (Math.log(value(train.flops, row)) - first) / (last - first) : 0;
    return Math.min(points - 1, Math.floor(((byLog + index / rows.length) / 2) * points));
  };
  const result: CurvePoint[] = [];
  let bin = -1;
  let count = 0;
  let sum = 0;
  let end = rows[0];
  const finish = (): void => {
    if (count > 0) result.push([value(train.flops, end), value(train.tokens, end), round(sum / count)]);
  };
  rows.forEach((row, index) => {
    const now = binOf(row, index);
    if (now !== bin) {
      finish();
      bin = now;
      count = 0;
      sum = 0;
    }
    count++;
    sum += value(train.loss, row);
    end = row;
  });
  finish();
  return result;
}

/** Five decimals are more than a pixel shows, and keep the file small. */
const round = (loss: number): number => Math.round(loss * 1e5) / 1e5;
