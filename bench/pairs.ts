import type { BenchOptions, CaseResult, Spread } from './types.js';

/** One measurement in the case's unit; called once per repetition. */
export type Measure = () => number | Promise<number>;

/** A case to measure: ours against peers that do the same work. */
export interface PairedCase {
  readonly case: string;
  readonly unit: string;
  /** Whether a larger value is better (tokens/s) or a smaller one (seconds, bytes). */
  readonly better: 'higher' | 'lower';
  readonly ours: Measure;
  readonly peers: Readonly<Record<string, Measure>>;
}

/**
 * Measures ours and every peer in turn, `repetitions` times, and takes the median of the ratios within each round.
 *
 * Neighbouring measurements share what else the machine is doing, so a ratio within a round is steadier than a ratio
 * of medians. The order is reversed every other round, so that a drift favours nobody.
 */
export async function measurePaired(spec: PairedCase, options: BenchOptions): Promise<CaseResult> {
  const names = Object.keys(spec.peers);
  const measures: Record<string, Measure> = { ours: spec.ours, ...spec.peers };
  const values: Record<string, number[]> = Object.fromEntries(Object.keys(measures).map((name) => [name, []]));
  for (let round = 0; round < options.repetitions; round++) {
    const order = round % 2 === 0 ? Object.keys(measures) : Object.keys(measures).reverse();
    for (const name of order) values[name]?.push((await measures[name]?.()) ?? NaN);
    const shown = Object.entries(values).map(([name, list]) => `${name} ${formatFigure(list.at(-1) ?? NaN)}`);
    options.log(`${spec.case}: round ${round + 1} of ${options.repetitions}: ${shown.join(', ')} ${spec.unit}`);
  }
  const ours = values['ours'] ?? [];
  const ratios = Object.fromEntries(names.map((name) => [name, pairedRatios(ours, values[name] ?? [], spec.better)]));
  return {
    case: spec.case,
    ours: median(ours),
    peers: mapValues(values, median, names),
    ratio: mapValues(ratios, median, names),
    spread: mapValues(ratios, spreadOf, names),
    unit: spec.unit,
  };
}

/** Per round, how many times better ours is. */
export function pairedRatios(ours: readonly number[], peer: readonly number[], better: 'higher' | 'lower'): number[] {
  return ours.map((mine, round) => {
    const theirs = peer[round] ?? NaN;
    return better === 'higher' ? mine / theirs : theirs / mine;
  });
}

/** The middle value; the mean of the two middle ones for an even count. NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

/** A figure with four significant digits, for lines that people read. */
export const formatFigure = (value: number): string =>
  Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(4)));

const spreadOf = (values: readonly number[]): Spread => ({ low: Math.min(...values), high: Math.max(...values) });

function mapValues<T, R>(record: Readonly<Record<string, T>>, map: (value: T) => R, names: readonly string[]) {
  return Object.fromEntries(names.map((name) => [name, map(record[name] as T)])) as Record<string, R>;
}
