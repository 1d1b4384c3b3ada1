import type { Family, ModelConfig, WeightSpec } from '../architecture/index.js';
import {
  arenaParameters,
  forwardOf,
  layOut,
  logitAttributes,
  trackInto,
  type ArenaLayout,
  type Span,
  type ForwardInputs,
  type ForwardMasks,
} from '../model/index.js';
import {
  adamw,
  ADAMW_SCALARS,
  EXCESS_SCALARS,
  excessWeights,
  type ExcessWeightsAttributes,
  add,
  linearCrossEntropy,
  muon,
  routingLoss,
  type RoutingLossAttributes,
  squaredNorm,
  type AdamWAttributes,
  type DType,
  type TensorType,
  type Value,
} from '../ops/index.js';
import { compileProgram, Recorder, Tape, type Precision, type Program } from '../program/index.js';

/** What the programs of a training step depend on; everything else is data. */
export interface StepShape {
  readonly config: ModelConfig;
  readonly family: Family;
  readonly sequenceLength: number;
  /** Sequences that pass through the model at one time. */
  readonly microBatchSequences: number;
  readonly trainable: (spec: WeightSpec) => boolean;
  readonly optimizer: AdamWAttributes & { readonly muon?: MuonRule; readonly widthFactor?: number };
  /** Entries of a mask have a learning rate of their own. */
  readonly newEntries?: boolean;
  /** Vectors that fade in new parts, by name, with their lengths; layers behind `fadedLayers` are faded as wholes. */
  readonly masks?: ForwardMasks<number>;
  /** Attention stays within documents, whose starts come with each micro-batch. */
  readonly withinDocuments?: boolean;
  /** Tokens are weighed by their losses in excess of a reference's, which come with each micro-batch. */
  readonly objective?: ExcessWeightsAttributes;
  /** Layers are routed, and routers learn by their own loss. */
  readonly routing?: RoutingLossAttributes;
  /** Compute the activations of each layer again in backward instead of keeping them. */
  readonly recompute: boolean;
  /** What matrix products are computed in; f32 where left out. Weights, moments, norms, softmax and losses are in f32 either way. */
  readonly precision?: Precision;
  /** f32 trains; f64 is for checks. */
  readonly dtype?: DType;
}

/** How matrices inside layers are updated, where it is not by AdamW. */
export interface MuonRule {
  readonly momentum: number;
  /**
   * What the orthogonal direction [rows, columns] is multiplied by: `moonshot` 0.2 sqrt(max(rows, columns)), the root mean square of AdamW's
   * updates, so that one rate serves all (Liu et al., arXiv 2502.16982, section 2.2); `keller` sqrt(max(1, rows / columns)) (Jordan et al. 2024).
   */
  readonly scale: 'moonshot' | 'keller';
}

/** Matrices that Muon is for: those inside layers. Embedding, positions and head are tables of tokens, routers single rows. */
export const isHiddenMatrix = (spec: WeightSpec): boolean =>
  spec.layer !== undefined && spec.axes.length === 2 && spec.role !== 'router';

/** The slots of a step's programs: what is bound once and lives as long as the stage. */
export interface StepSlots {
  readonly parameters: TensorType;
  readonly gradients: TensorType;
  readonly moments: TensorType;
  readonly secondMoments: TensorType;
  /** 1 for entries with the other rate; there where the step has such entries. */
  readonly newEntries: TensorType | undefined;
  readonly masks: Readonly<Record<string, TensorType>>;
  readonly ids: TensorType;
  readonly targets: TensorType;
  readonly weights: TensorType;
  /** First position of each position's document; there where attention stays within documents. */
  readonly documentStarts: TensorType | undefined;
  /** Losses of the reference, and what `EXCESS_SCALARS` names; there where tokens are weighed by excess loss. */
  readonly reference: TensorType | undefined;
  readonly objective: TensorType | undefined;
  /** Capacity over all layers, then that of each; there where layers are routed. */
  readonly routing: TensorType | undefined;
  readonly tables: Readonly<Record<string, TensorType>>;
  readonly scalars: TensorType;
  /** The same for matrices; there where they have a rate of their own. */
  readonly matrixScalars: TensorType | undefined;
  readonly norm: TensorType;
}

/** Types of everything that a step's programs share, from shapes alone. */
export function stepSlots(shape: StepShape, layout: ArenaLayout): StepSlots {
  const dtype = shape.dtype ?? 'f32';
  const rows = shape.microBatchSequences * shape.sequenceLength;
  const tables = forwardOf(shape.config).tables(shape.config, 1);
  return {
    parameters: { dtype, shape: [layout.size] },
    gradients: { dtype, shape: [layout.trainedSize] },
    moments: { dtype, shape: [layout.trainedSize] },
    secondMoments: { dtype, shape: [layout.secondMomentsSize] },
    newEntries: shape.newEntries === true ? { dtype, shape: [layout.trainedSize] } : undefined,
    masks: Object.fromEntries(
      Object.entries(shape.masks?.vectors ?? {}).map(([name, size]) => [maskSlot(name), { dtype, shape: [size] }]),
    ),
    ids: { dtype: 'i32', shape: [rows] },
    targets: { dtype: 'i32', shape: [rows] },
    weights: { dtype, shape: [rows] },
    documentStarts: shape.withinDocuments === true ? { dtype: 'i32', shape: [rows] } : undefined,
    reference: shape.objective && { dtype, shape: [rows] },
    objective: shape.objective && { dtype: 'f64', shape: [EXCESS_SCALARS.length] },
    routing: shape.routing && { dtype: 'f64', shape: [1 + shape.config.num_hidden_layers] },
    tables: Object.fromEntries(
      Object.entries(tables).map(([name, { columns, values }]) => [
        name,
        { dtype: values instanceof Int32Array ? 'i32' : dtype, shape: [shape.sequenceLength, columns] },
      ]),
    ),
    scalars: { dtype: 'f64', shape: [ADAMW_SCALARS.length + 1] },
    matrixScalars:
      shape.optimizer.widthFactor === undefined ? undefined : { dtype: 'f64', shape: [ADAMW_SCALARS.length + 1] },
    norm: { dtype: 'f64', shape: [1] },
  };
}

/** The slot of a mask's vector. */
export const maskSlot = (name: string): string => `mask.${name}`;

/** The layout of the parameters of a step. */
export const stepLayout = ({ family, config, trainable, optimizer }: StepShape): ArenaLayout =>
  layOut(family.weights(config), trainable, optimizer.muon === undefined ? undefined : isHiddenMatrix);

/**
 * Forward and backward of one micro-batch.
 *
 * Outputs: `total` (weighted sum of the losses), `losses`, with an objective `sums` (`EXCESS_SUMS`), and with routed layers `routerLoss` and
 * `shares` (label 1 in each layer). Gradients go into their arena; with
 * `accumulate` on top of what is there.
 */
export function recordGradient(shape: StepShape, layout: ArenaLayout, accumulate: boolean): Program {
  const recorder = new Recorder();
  const slots = stepSlots(shape, layout);
  const tape = new Tape(recorder, { recompute: shape.recompute, segmentsTogether: layersTogether(shape.config) });
  const gradients = recorder.slot('gradients', slots.gradients);
  const loss = recordLoss(recorder, tape, shape, layout, slots, trackInto(tape, gradients, accumulate));
  tape.backward(loss.routed === undefined ? loss.total : add(tape, loss.total, loss.routed.total));
  return compileProgram(
    recorder.finish({
      total: tape.resolve(loss.total),
      losses: tape.resolve(loss.losses),
      ...(loss.sums && { sums: loss.sums }),
      ...(loss.routed && { routerLoss: tape.resolve(loss.routed.total), shares: tape.resolve(loss.routed.shares) }),
    }),
    shape,
  );
}

/**
 * Layers that are recomputed together, so that memory grows with the square root of depth (Chen et al., arXiv 1604.06174).
 *
 * L layers in groups of k keep L / k inputs of groups and, in backward, all that k layers hold; with a layer holding r times its input the sum
 * is least at k = sqrt(L / r).
 */
export function layersTogether(config: ModelConfig): number {
  const { hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim, intermediate_size } =
    config;
  const attention = 2 * (num_attention_heads + num_key_value_heads) * head_dim;
  const held = (3 * hidden_size + attention + 3 * intermediate_size) / hidden_size;
  return Math.max(1, Math.round(Math.sqrt(num_hidden_layers / held)));
}

/** Forward of one micro-batch. Output: `losses`, one per token. */
export function recordEvaluation(shape: StepShape, layout: ArenaLayout): Program {
  const recorder = new Recorder();
  const { losses } = recordLoss(recorder, recorder, shape, layout, stepSlots(shape, layout));
  return compileProgram(recorder.finish({ losses }), shape);
}

/** Sum of squares of all gradients, into the slot `norm`. */
export function recordNorm(shape: StepShape, layout: ArenaLayout): Program {
  const recorder = new Recorder();
  const slots = stepSlots(shape, layout);
  squaredNorm(recorder, recorder.slot('gradients', slots.gradients), recorder.slot('norm', slots.norm));
  return compileProgram(recorder.finish());
}

/** One step of the optimizer over the arena: decayed weights, then the others, then matrices one by one where they have their own rule. */
export function recordUpdate(shape: StepShape, layout: ArenaLayout): Program {
  const recorder = new Recorder();
  const slots = stepSlots(shape, layout);
  const p = recorder.slot('parameters', slots.parameters);
  const g = recorder.slot('gradients', slots.gradients);
  const m = recorder.slot('firstMoments', slots.moments);
  const v = recorder.slot('secondMoments', slots.secondMoments);
  const scalars = recorder.slot('scalars', slots.scalars);
  const mask = slots.newEntries && recorder.slot('newEntries', slots.newEntries);
  const matrixScalars = slots.matrixScalars && recorder.slot('matrixScalars', slots.matrixScalars);
  const { widthFactor: k = 1, weightDecay, eps } = shape.optimizer;
  const apply = ({ start, end }: Span, ownScalars: Value, own: Partial<AdamWAttributes>): void => {
    if (end === start) return;
    const range = (value: Value): Value => recorder.view(value, start, [end - start]);
    const state = { p: range(p), g: range(g), m: range(m), v: range(v), mask: mask && range(mask) };
    adamw(recorder, state, ownScalars, { ...shape.optimizer, ...own });
  };
  if (matrixScalars === undefined) apply(layout.decayed, scalars, {});
  else {
    const { head, hidden, tables } = decayedParts(layout);
    apply(head, matrixScalars, { weightDecay: weightDecay * k });
    apply(hidden, matrixScalars, { weightDecay: weightDecay * k, eps: eps / k });
    apply(tables, scalars, { eps: eps / k });
  }
  apply(layout.plain, scalars, { weightDecay: 0, eps: eps / k });
  if (shape.optimizer.muon !== undefined)
    for (const { offset, trained, spec, shape: size } of layout.ranges.values()) {
      if (!trained || !isHiddenMatrix(spec)) continue;
      const matrix = (value: Value): Value => recorder.view(value, offset, size);
      const { momentum, scale } = shape.optimizer.muon;
      const attributes = { momentum, scale: MUON_SCALES[scale](size), weightDecay: shape.optimizer.weightDecay };
      muon(recorder, { p: matrix(p), g: matrix(g), m: matrix(m) }, scalars, attributes);
    }
  return compileProgram(recorder.finish());
}

/** The decayed weights by what they are; they lie in this order. */
function decayedParts({ ranges, decayed }: ArenaLayout): Record<'head' | 'hidden' | 'tables', Span> {
  const inside = [...ranges.values()].filter(({ offset }) => offset >= decayed.start && offset < decayed.end);
  const first = (is: (spec: WeightSpec) => boolean): number =>
    inside.find(({ spec }) => is(spec))?.offset ?? decayed.end;
  const hidden = first(isHiddenMatrix);
  const tables = first((spec) => spec.role !== 'head' && !isHiddenMatrix(spec));
  const start = Math.min(hidden, tables);
  return {
    head: { start: decayed.start, end: start },
    hidden: { start, end: tables },
    tables: { start: tables, end: decayed.end },
  };
}

const MUON_SCALES: Record<MuonRule['scale'], (shape: readonly number[]) => number> = {
  moonshot: (shape) => 0.2 * Math.sqrt(Math.max(...shape)),
  keller: ([rows = 1, columns = 1]) => Math.sqrt(Math.max(1, rows / columns)),
};

function recordLoss(
  recorder: Recorder,
  context: Recorder | Tape,
  shape: StepShape,
  layout: ArenaLayout,
  slots: StepSlots,
  track?: Parameters<typeof arenaParameters>[4],
): { total: Value; losses: Value; sums?: Value; routed?: ReturnType<typeof routingLoss> } {
  const { config, family } = shape;
  const parameters = arenaParameters(
    context,
    recorder.slot('parameters', slots.parameters),
    layout,
    family.weights(config),
    track,
  );
  // Without gradients routers decide for themselves, as in inference.
  const routing = track && slots.routing && recorder.slot('routing', slots.routing);
  const inputs: ForwardInputs = {
    ids: recorder.slot('ids', slots.ids),
    tables: Object.fromEntries(Object.entries(slots.tables).map(([name, type]) => [name, recorder.slot(name, type)])),
    batch: shape.microBatchSequences,
    length: shape.sequenceLength,
    ...(shape.masks === undefined ? {} : { masks: declareMasks(recorder, shape.masks, slots) }),
    ...(slots.documentStarts && { documentStarts: recorder.slot('documentStarts', slots.documentStarts) }),
    ...(routing && { routing: { capacities: context.view(routing, 1, [config.num_hidden_layers]), layers: [] } }),
  };
  const hidden = forwardOf(config).hidden(context, config, parameters, inputs);
  const targets = recorder.slot('targets', slots.targets);
  const shares = recorder.slot('weights', slots.weights);
  const head = parameters.get('head');
  const lossOf = (on: Recorder | Tape, weights: Value): { total: Value; losses: Value } =>
    linearCrossEntropy(on, hidden, head, targets, weights, logitAttributes(config));
  const routed =
    routing &&
    routingLoss(
      context,
      { weights: shares, capacity: context.view(routing, 0, [1]), layers: inputs.routing!.layers },
      shape.routing!,
    );
  if (shape.objective === undefined || track === undefined)
    return { ...lossOf(context, shares), ...(routed && { routed }) };
  // Weights are constants of a step: what they are made from is not on the tape.
  const operands = {
    losses: lossOf(recorder, shares).losses,
    reference: recorder.slot('reference', slots.reference!),
    shares,
    scalars: recorder.slot('objective', slots.objective!),
  };
  const { weights, sums } = excessWeights(recorder, operands, shape.objective);
  return { ...lossOf(context, weights), sums, ...(routed && { routed }) };
}

const declareMasks = (
  recorder: Recorder,
  masks: NonNullable<StepShape['masks']>,
  slots: StepSlots,
): NonNullable<ForwardInputs['masks']> => ({
  ...masks,
  vectors: Object.fromEntries(
    Object.keys(masks.vectors).map((name) => [name, recorder.slot(maskSlot(name), slots.masks[maskSlot(name)]!)]),
  ),
});
