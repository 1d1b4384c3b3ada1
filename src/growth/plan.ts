import { createHash } from 'node:crypto';
import { familyOf, growthFactor, type ModelConfig } from '../architecture/index.js';
import { canonicalJson } from '../records/canonical.js';
import { type Expression, sourcesOf } from './expression.js';
import type { Prepare } from './prepare.js';

/** What happens to the optimizer's state when a model grows inside a run. */
export const optimizerStateTreatments = ['fresh', 'copy', 'grow-linear', 'pad-zero'] as const;
export type OptimizerStateTreatment = (typeof optimizerStateTreatments)[number];

/** Where a target layer comes from. */
export type LayerSource =
  /** The source layer as it is. */
  | { readonly kind: 'copy'; readonly from: number }
  /** The source layer with output projections (o, down and their biases) zero: it changes nothing until it has learned. */
  | { readonly kind: 'zeroed'; readonly from: number }
  /** Fresh weights. */
  | { readonly kind: 'draw' }
  /** Made out of two layers. */
  | { readonly kind: 'mean' | 'slerp' | 'learned' | 'transport'; readonly from: readonly [number, number] };

/** Which source unit each target unit of an axis copies; -1 is new. A unit is a hidden or ffn entry, or a head. */
export type IndexMap = readonly number[];

/** The index maps of a width plan: one for the hidden axis of the whole model, one per layer for the others. */
export interface WidthMaps {
  /** Copies are independent: matrices are block-diagonal (staged training). */
  readonly diagonal?: boolean;
  readonly hidden: IndexMap;
  readonly ffn: readonly IndexMap[];
  readonly heads: readonly IndexMap[];
  readonly kvHeads: readonly IndexMap[];
}

/** A mask that a trainer raises from 0 to 1 over a share of a stage; entries that are not new always count 1. */
export interface MaskRamp {
  readonly kind: 'random' | 'msg';
  readonly axis: 'hidden' | 'ffn' | 'heads' | 'layers';
  /** Number of old entries (heads as heads); those behind are new. For `layers`: the new layers. */
  readonly old: number;
  readonly size: number;
  readonly newEntries?: readonly number[];
  /** The ramp as a share of the stage: value 0 before `start`, 1 from `end` on. */
  readonly start: number;
  readonly end: number;
}

export type { Prepare, PrepareParameter } from './prepare.js';

/** What a method asks of training after growth, beside the plan; trainers may follow it. */
export interface TrainingAdvice {
  readonly optimizerState?: OptimizerStateTreatment;
  /** Learning rate of new entries (an entry is new if its row or its column is): linear to `peak` times the rate at growth. */
  readonly newEntries?: { readonly peak: number; readonly warmupSteps: number };
  /** Factors of AdamW's rate, decoupled decay and epsilon for matrices. */
  readonly matrices?: { readonly rate: number; readonly decay: number; readonly epsilon: number };
}

/** A growth as data: for each target tensor the expression that makes it. */
export interface Plan {
  readonly operator: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly preservesFunction: { readonly claimed: boolean; readonly condition: string };
  readonly source: ModelConfig;
  readonly target: ModelConfig;
  readonly tensors: Readonly<Record<string, Expression>>;
  readonly layers?: readonly LayerSource[];
  readonly maps?: WidthMaps;
  readonly masks?: readonly MaskRamp[];
  readonly prepare?: Prepare;
  readonly training?: TrainingAdvice;
  /** Share of neighbouring target layers that were neighbours in the source (depth only). */
  readonly connectionRate?: number;
  /** Ratio of non-embedding parameters, target over source. */
  readonly growthFactor: number;
  readonly optimizerState: OptimizerStateTreatment;
  /** What the user should know before anything is written. */
  readonly warnings: readonly string[];
  /** SHA-256 of the canonical JSON of tensors and target config. */
  readonly planHash: string;
  /** Memory that executing it on a folder takes at most. */
  readonly peakBytes: number;
}

/** What an operator's `plan` gives; the rest follows from it. */
export type PlanDraft = Pick<Plan, 'target' | 'tensors'> &
  Partial<Pick<Plan, 'layers' | 'maps' | 'masks' | 'prepare' | 'training' | 'warnings'>> & {
    readonly preservesFunction?: Plan['preservesFunction'];
  };

/** Source layer of each target layer, or undefined where it has no single one. */
export const sourceLayers = (layers: readonly LayerSource[]): (number | undefined)[] =>
  layers.map((layer) => (layer.kind === 'copy' || layer.kind === 'zeroed' ? layer.from : undefined));

/** Rc of the G_stack paper (appendix H.2): how many neighbouring pairs of layers stay neighbours. */
export function connectionRate(layers: readonly LayerSource[]): number | undefined {
  if (layers.length < 2) return undefined;
  const from = sourceLayers(layers);
  const kept = from.slice(1).filter((source, i) => source !== undefined && source - 1 === from[i]).length;
  return kept / (layers.length - 1);
}

/** The hash that names a plan: equal plans make equal weights out of equal weights. */
export const hashPlan = (tensors: Plan['tensors'], target: ModelConfig): string =>
  createHash('sha256').update(canonicalJson({ target, tensors })).digest('hex');

/** Buffers for reading, converting, hashing and writing while a plan is executed. */
const WORKING_BYTES = 64 << 20;

/** Expressions that hold whole tensors in float64, and how many copies of the largest. */
const wholeTensorOps: Readonly<Record<string, number>> = { transport: 4, product: 3, learned: 1 };

/** An upper bound of the memory that executing a plan takes. */
export function peakBytes(source: ModelConfig, tensors: Plan['tensors']): number {
  const sizes = new Map(
    familyOf(source)
      .weights(source)
      .map((spec) => [spec.name, spec.axes.reduce((product, axis) => product * axis.size, 1)]),
  );
  let most = 0;
  for (const expression of Object.values(tensors)) {
    const text = JSON.stringify(expression);
    const copies = Object.entries(wholeTensorOps).reduce(
      (sum, [op, count]) => sum + (text.includes(`"op":"${op}"`) ? count : 0),
      0,
    );
    if (copies === 0) continue;
    const largest = Math.max(...[...sourcesOf(expression)].map((name) => sizes.get(name) ?? 0), 0);
    most = Math.max(most, largest * 8 * copies);
  }
  return most + WORKING_BYTES;
}

/** Completes what an operator planned. */
export function completePlan(
  draft: PlanDraft,
  rest: Pick<Plan, 'operator' | 'options' | 'source' | 'preservesFunction' | 'optimizerState' | 'warnings'>,
): Plan {
  const rate = draft.layers === undefined ? undefined : connectionRate(draft.layers);
  return {
    ...rest,
    ...draft,
    preservesFunction: draft.preservesFunction ?? rest.preservesFunction,
    warnings: [...rest.warnings, ...(draft.warnings ?? [])],
    ...(rate === undefined ? {} : { connectionRate: rate }),
    growthFactor: growthFactor(rest.source, draft.target),
    planHash: hashPlan(draft.tensors, draft.target),
    peakBytes: peakBytes(rest.source, draft.tensors),
  };
}
