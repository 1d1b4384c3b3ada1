import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { parseBySchema } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import type { Run } from '../../records/index.js';
import { fitIsoFlop, fitTiming, type IsoFlopFit, type TimingFit } from './iso-flop.js';
import { fitIrreducibleLaw, fitPowerLaw, type IrreducibleLaw, type LawPoint, type PowerLaw } from './power-law.js';

/** The scaling laws of one model size. */
export interface SizeFit {
  readonly params: number;
  readonly grown: boolean;
  readonly runs: readonly string[];
  /** The best end point of each of four or more budgets, or else the validation points along the best run of the largest budget. */
  readonly from: 'endPoints' | 'alongTheRun';
  readonly points: readonly LawPoint[];
  readonly power: PowerLaw | null;
  readonly irreducible: IrreducibleLaw | null;
}

/** What `strata fit` writes, and `strata plan --constants` and `strata report --fit` read. */
export interface FitFile {
  readonly format: 1;
  readonly sizes: readonly SizeFit[];
  /** L = a C^b through the lowest loss at each budget over all sizes from scratch: the compute-optimal envelope. */
  readonly envelope: {
    readonly points: readonly (LawPoint & { readonly params: number })[];
    readonly power: PowerLaw | null;
  };
  /** Loss against growth tokens at equal size and budget. */
  readonly isoFlop: readonly IsoFlopFit[];
  /** Loss against the growth factor at equal size and budget. */
  readonly isoFactor: readonly IsoFlopFit[];
  readonly growthTiming: {
    readonly a: number;
    readonly b: number;
    readonly c: number;
    readonly range: TimingFit['range'];
  } | null;
  readonly growthTimingEstimates: TimingFit | null;
  readonly notes: readonly string[];
}

/** Budgets within this share of each other count as one. */
const SAME_BUDGET = 0.03;
const MIN_END_POINTS = 4;
const ENVELOPE_BUDGETS = 12;

interface EndPoint {
  readonly run: string;
  readonly params: number;
  readonly flops: number;
  readonly loss: number;
  /** Left out for runs from scratch. */
  readonly growthTokens?: number;
  readonly growthFactor?: number;
  readonly along: readonly LawPoint[];
}

/** Fits scaling laws and growth guidelines to runs; what the runs do not determine is left out and named in `notes`. */
export function fitRuns(runs: readonly Run[]): FitFile {
  const notes: string[] = [];
  const ends = runs.flatMap((run) => endPoint(run, notes));
  const scratch = ends.filter(({ growthTokens }) => growthTokens === undefined);
  const grown = ends.filter(({ growthTokens }) => growthTokens !== undefined);
  const sizes = [...bySize(scratch, false), ...bySize(grown, true)];
  for (const size of sizes)
    if (size.power === null)
      notes.push(`${size.params.toExponential(2)} parameters: fewer than four points for a scaling law.`);
  const envelope = envelopeOf(scratch);
  const isoFlop = sweeps(
    grown,
    ({ growthTokens }) => growthTokens,
    ({ growthFactor }) => growthFactor,
    notes,
  );
  const isoFactor = sweeps(
    grown,
    ({ growthFactor }) => growthFactor,
    ({ growthTokens }) => growthTokens,
    [],
  );
  const timing = fitTiming(isoFlop);
  if (timing === undefined)
    notes.push(
      'No fit of growth timing: it needs four groups of equal size and budget, over different sizes and budgets, each with a minimum between its growth timings.',
    );
  return {
    format: 1,
    sizes,
    envelope: { points: envelope, power: fitPowerLaw(envelope) ?? null },
    isoFlop,
    isoFactor,
    growthTiming:
      timing === undefined ? null : { a: timing.a.value, b: timing.b.value, c: timing.c.value, range: timing.range },
    growthTimingEstimates: timing ?? null,
    notes,
  };
}

function endPoint(run: Run, notes: string[]): EndPoint[] {
  const { validation, growth } = run.records;
  const lastGrowth = growth.reduce((step, record) => Math.max(step, record.step), -Infinity);
  const along = validation
    .filter(({ step, loss, flops }) => step > lastGrowth && Number.isFinite(loss) && flops > 0)
    .map(({ loss, flops, flops6nd }) => ({ loss, flops: flops6nd ?? flops }));
  const last = along.at(-1);
  const params = run.manifest?.model?.parameters;
  if (last === undefined || params === undefined) {
    notes.push(
      `${run.name} is left out: ${params === undefined ? 'run.json has no model.parameters' : 'it has no validation behind its last growth'}.`,
    );
    return [];
  }
  const first = growth[0];
  if (first === undefined) return [{ run: run.name, params, ...last, along }];
  const { sourceParameters, targetParameters } = growth.at(-1) ?? first;
  const factor =
    sourceParameters === undefined || targetParameters === undefined
      ? {}
      : { growthFactor: targetParameters / sourceParameters };
  return [{ run: run.name, params, ...last, along, growthTokens: first.tokens, ...factor }];
}

function bySize(ends: readonly EndPoint[], grown: boolean): SizeFit[] {
  return [...groupBy(ends, ({ params }) => String(params)).values()].map((group) => {
    // A law is about what a budget can reach, so runs that were grown too early or too late do not count.
    const best = byBudget(group).map((same) => same.reduce((low, end) => (end.loss < low.loss ? end : low)));
    const from = best.length >= MIN_END_POINTS ? 'endPoints' : 'alongTheRun';
    const longest = best.at(-1)!;
    const points = from === 'endPoints' ? best.map(({ flops, loss }) => ({ flops, loss })) : longest.along;
    const used = from === 'endPoints' ? best : [longest];
    return {
      params: group[0]!.params,
      grown,
      runs: used.map(({ run }) => run),
      from,
      points,
      power: fitPowerLaw(points) ?? null,
      irreducible: fitIrreducibleLaw(points) ?? null,
    };
  });
}

/** The lowest loss over all sizes at budgets evenly spaced in the logarithm. */
function envelopeOf(scratch: readonly EndPoint[]): (LawPoint & { params: number })[] {
  const points = scratch.flatMap(({ params, along }) => along.map((point) => ({ ...point, params })));
  if (new Set(points.map(({ params }) => params)).size < 2) return [];
  const low = Math.log(Math.min(...points.map(({ flops }) => flops)));
  const high = Math.log(Math.max(...points.map(({ flops }) => flops)));
  const best = new Map<number, (typeof points)[number]>();
  for (const point of points) {
    const bin = Math.min(
      ENVELOPE_BUDGETS - 1,
      Math.floor(((Math.log(point.flops) - low) / (high - low)) * ENVELOPE_BUDGETS),
    );
    const known = best.get(bin);
    if (known === undefined || point.loss < known.loss) best.set(bin, point);
  }
  return [...best.values()].sort((a, b) => a.flops - b.flops);
}

/** Groups of equal size, budget and other choice, with a parabola each. */
function sweeps(
  grown: readonly EndPoint[],
  choice: (end: EndPoint) => number | undefined,
  other: (end: EndPoint) => number | undefined,
  notes: string[],
): IsoFlopFit[] {
  const fits: IsoFlopFit[] = [];
  for (const same of groupBy(grown, (end) => `${end.params} ${other(end)?.toPrecision(3)}`).values()) {
    for (const budget of byBudget(same)) {
      const points = budget.flatMap((end) =>
        choice(end) === undefined ? [] : [{ choice: choice(end)!, loss: end.loss }],
      );
      const flops = Math.exp(budget.reduce((sum, end) => sum + Math.log(end.flops), 0) / budget.length);
      const fixed = other(budget[0]!);
      const fit = fitIsoFlop({ params: budget[0]!.params, flops, points, ...(fixed === undefined ? {} : { fixed }) });
      if (fit === undefined) continue;
      fits.push(fit);
      if (!fit.bracketed)
        notes.push(
          `${fit.params.toExponential(2)} parameters at ${flops.toExponential(2)} FLOPs: the best of its growth timings lies at the edge.`,
        );
    }
  }
  return fits;
}

function byBudget(ends: readonly EndPoint[]): EndPoint[][] {
  const groups: EndPoint[][] = [];
  for (const end of [...ends].sort((a, b) => a.flops - b.flops)) {
    const last = groups.at(-1);
    if (last !== undefined && end.flops <= last[0]!.flops * (1 + SAME_BUDGET)) last.push(end);
    else groups.push([end]);
  }
  return groups;
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  return groups;
}

const fitFileSchema = z.looseObject({
  format: z.literal(1),
  sizes: z.array(
    z.looseObject({ params: z.number(), points: z.array(z.looseObject({ flops: z.number(), loss: z.number() })) }),
  ),
  envelope: z.looseObject({ points: z.array(z.unknown()) }),
  isoFlop: z.array(z.looseObject({ params: z.number(), flops: z.number() })),
  isoFactor: z.array(z.looseObject({ params: z.number(), flops: z.number() })),
});

/** Reads a file that `strata fit` wrote. Throws InputError naming the field. */
export function readFit(path: string): FitFile {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new InputError(`${path} cannot be read as JSON: ${error instanceof Error ? error.message : String(error)}.`, {
      cause: error,
    });
  }
  return parseBySchema(fitFileSchema, value, path) as unknown as FitFile;
}
