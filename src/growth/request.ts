import { z } from 'zod';
import { familyOf, type ModelConfig, parseBySchema } from '../architecture/index.js';
import { InputError } from '../errors.js';
import { shapeOfSpec } from './depth.js';
import { type Expression, substitute } from './expression.js';
import type { OperatorDefinition } from './operator.js';
import { completePlan, type OptimizerStateTreatment, type Plan, type PlanDraft, sourceLayers } from './plan.js';
import { operatorOf } from './registry.js';
import { depthFields, type TargetSizes, widthFields } from './target.js';

/** A growth as users ask for it. */
export interface GrowthRequest {
  /** An operator's id, or a depth and a width operator as `a+b`. */
  readonly operator: string;
  readonly source: ModelConfig;
  /** What the operator grows is multiplied by this; [depth, width] for both directions. */
  readonly factor?: number | readonly [depth: number, width: number];
  /** Fields of the target, or a whole config; sizes that are left out stay. */
  readonly target?: Readonly<Record<string, unknown>>;
  readonly options?: Readonly<Record<string, unknown>>;
  readonly optimizerState?: OptimizerStateTreatment;
}

/** Options that every operator has. */
export const commonOptions = {
  seed: z.int().min(0).default(0).describe('seed of everything that is drawn'),
  noise: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe('share a of fresh noise mixed into all matrices at the end: (1 - a) W + a E (not function-preserving)'),
};

const sizeFields = [...depthFields, ...widthFields, 'head_dim'] as const;

/**
 * Plans a growth: which target tensor is made how out of which source tensors. Touches no weights.
 *
 * @throws InputError naming option, field or axis, what would work and what was found.
 */
export function planGrowth(request: GrowthRequest): Plan {
  const [first, second, ...more] = request.operator.split('+').map((id) => operatorOf(id.trim()));
  if (more.length > 0) throw new InputError(`"${request.operator}": at most two operators, a depth and a width one.`);
  if (second !== undefined) return planBoth(request, first!, second);
  return planOne(request, first!);
}

function planOne(request: GrowthRequest, operator: OperatorDefinition): Plan {
  const { source, optimizerState = 'fresh' } = request;
  const schema = z.strictObject({ ...operator.options.shape, ...commonOptions });
  const options = parseBySchema(schema, request.options ?? {}, `options of ${operator.id}`);
  const { seed, noise, ...own } = options as { seed: number; noise: number };
  const sizes = targetSizes(request.target ?? {}, source, operator);
  const draft = operator.plan({
    family: familyOf(source),
    source,
    sizes,
    ...factors(request.factor, operator),
    options: own,
    seed,
  });
  const placed = layersMoved(source, draft) ? { ...draft, preservesFunction: movedCondition } : draft;
  const noisy = noise === 0 ? placed : withNoise(placed, noise, seed);
  return completePlan(noisy, {
    operator: operator.id,
    options,
    source,
    preservesFunction: operator.preservesFunction,
    optimizerState,
    warnings: targetWarnings(draft.target),
  });
}

const movedCondition = { claimed: false, condition: 'layers of this config compute something else at another place' };

/** Whether a layer that computes by its place in the stack stands at another one. */
function layersMoved(source: ModelConfig, { layers }: PlanDraft): boolean {
  if (layers === undefined || familyOf(source).layersDependOnPlace?.(source) !== true) return false;
  return sourceLayers(layers).some((from, i) => from !== undefined && from !== i);
}

function factors(
  factor: GrowthRequest['factor'],
  operator: OperatorDefinition,
): { depthFactor?: number; widthFactor?: number } {
  if (factor === undefined) return {};
  if (typeof factor === 'number') {
    if (operator.direction === 'both')
      throw new InputError(`Operator ${operator.id} grows depth and width: give the factor as DEPTH,WIDTH.`);
    return operator.direction === 'depth' ? { depthFactor: factor } : { widthFactor: factor };
  }
  if (operator.direction !== 'both')
    throw new InputError(`Operator ${operator.id} grows ${operator.direction} only: give one factor.`);
  return { depthFactor: factor[0], widthFactor: factor[1] };
}

/** Sizes that a request names, each of which the operator must be able to change. */
function targetSizes(
  target: Readonly<Record<string, unknown>>,
  source: ModelConfig,
  operator: OperatorDefinition,
): TargetSizes {
  const sizes: Record<string, number> = {};
  for (const [field, value] of Object.entries(target)) {
    if (value === undefined || same(value, source[field])) {
      if ((sizeFields as readonly string[]).includes(field) && value !== undefined) sizes[field] = value as number;
      continue;
    }
    if (!(sizeFields as readonly string[]).includes(field)) {
      if (sizeNeutral.has(field)) continue;
      throw new InputError(
        `target: growth does not change field "${field}" (${show(source[field])} to ${show(value)}).`,
      );
    }
    if (!Number.isSafeInteger(value) || (value as number) < 0)
      throw new InputError(`target: field "${field}" must be a whole number, found ${show(value)}.`);
    const isDepth = (depthFields as readonly string[]).includes(field);
    if (operator.direction === (isDepth ? 'width' : 'depth'))
      throw new InputError(
        `Operator ${operator.id} grows ${operator.direction} only: ${field} stays ${show(source[field])}, found ${show(value)}.`,
      );
    sizes[field] = value as number;
  }
  return sizes;
}

/** Fields of a whole target config that may differ without changing any weight. */
const sizeNeutral = new Set([
  'architectures',
  'initializer_range',
  'torch_dtype',
  'dtype',
  'transformers_version',
  'use_cache',
]);

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
const show = (value: unknown): string => JSON.stringify(value) ?? 'nothing';

/** Two operators, one after the other: the second's sources replaced by what the first makes. */
function planBoth(request: GrowthRequest, first: OperatorDefinition, second: OperatorDefinition): Plan {
  const { factor, target = {}, options = {} } = request;
  if (first.direction !== 'depth' || second.direction !== 'width')
    throw new InputError(
      `"${request.operator}": the first operator must grow depth (${first.id}: ${first.direction}), the second width (${second.id}: ${second.direction}).`,
    );
  if (typeof factor === 'number')
    throw new InputError(`"${request.operator}" grows depth and width: give the factor as DEPTH,WIDTH.`);
  const fieldsOf = (fields: readonly string[], others: boolean): Record<string, unknown> =>
    Object.fromEntries(Object.entries(target).filter(([field]) => fields.includes(field) !== others));
  const optionsOf = (operator: OperatorDefinition): Record<string, unknown> =>
    Object.fromEntries(
      Object.entries(options).filter(([name]) => name in operator.options.shape || name in commonOptions),
    );
  for (const name of Object.keys(options))
    if (!(name in first.options.shape || name in second.options.shape || name in commonOptions))
      parseBySchema(
        z.strictObject({ ...first.options.shape, ...second.options.shape, ...commonOptions }),
        { [name]: 0 },
        `options of ${request.operator}`,
      );
  const a = planOne(
    {
      ...request,
      target: fieldsOf(depthFields, false),
      options: { ...optionsOf(first), noise: 0 },
      ...(factor === undefined ? {} : { factor: factor[0] }),
    },
    first,
  );
  const { factor: _, ...rest } = request;
  const b = planOne(
    {
      ...rest,
      source: a.target,
      target: fieldsOf(depthFields, true),
      options: optionsOf(second),
      ...(factor === undefined ? {} : { factor: factor[1] }),
    },
    second,
  );
  return composePlans(request.operator, a, b);
}

/** The plan that does a, then b. */
export function composePlans(operator: string, a: Plan, b: Plan): Plan {
  const tensors = Object.fromEntries(
    Object.entries(b.tensors).map(([name, expression]) => [
      name,
      substitute(expression, (source) => a.tensors[source]!),
    ]),
  );
  const draft: PlanDraft = {
    target: b.target,
    tensors,
    ...(a.layers === undefined ? {} : { layers: a.layers }),
    ...(b.maps === undefined ? {} : { maps: b.maps }),
    ...(a.masks === undefined && b.masks === undefined ? {} : { masks: [...(a.masks ?? []), ...(b.masks ?? [])] }),
    ...(a.prepare === undefined ? {} : { prepare: a.prepare }),
    ...(b.prepare === undefined ? {} : { prepare: b.prepare }),
  };
  if (a.prepare !== undefined && b.prepare !== undefined)
    throw new InputError(`"${operator}": two operators that learn cannot be put together; use ligo.`);
  return completePlan(draft, {
    operator,
    options: { ...a.options, ...b.options },
    source: a.source,
    preservesFunction: {
      claimed: a.preservesFunction.claimed && b.preservesFunction.claimed,
      condition: `${a.operator}: ${a.preservesFunction.condition}; ${b.operator}: ${b.preservesFunction.condition}`,
    },
    optimizerState: b.optimizerState,
    warnings: [...new Set([...a.warnings, ...b.warnings])],
  });
}

function targetWarnings(target: ModelConfig): string[] {
  const { hidden_size: hidden, num_attention_heads: heads, model_type: type } = target;
  if (hidden % heads === 0) return [];
  return [
    `transformers 5 refuses a ${type} whose hidden_size (${hidden}) is no multiple of num_attention_heads (${heads}), even where head_dim is given.`,
  ];
}

/**
 * Mixes fresh noise into all matrices: (1 - a) W + a E, after the G_stack paper, appendix I.2.
 *
 * E has variance 2/(5 d), output projections 1/(d l^2), with d the fan-in and l the layers of the target.
 */
function withNoise(draft: PlanDraft, share: number, seed: number): PlanDraft {
  const layers = Math.max(1, draft.target.num_hidden_layers);
  const tensors: Record<string, Expression> = { ...draft.tensors };
  for (const spec of familyOf(draft.target).weights(draft.target)) {
    const expression = tensors[spec.name];
    if (expression === undefined || spec.axes.length < 2) continue;
    const fanIn = spec.axes[1]!.size;
    const output = spec.role === 'attentionOutput' || spec.role === 'down';
    const std = output ? 1 / (Math.sqrt(fanIn) * layers) : Math.sqrt(2 / (5 * fanIn));
    const noise: Expression = { op: 'draw', by: std, seed, name: `${spec.name} noise`, shape: shapeOfSpec(spec) };
    tensors[spec.name] = { op: 'mix', by: [1 - share, share], of: [expression, noise] };
  }
  const preservesFunction = { claimed: false, condition: 'not with noise mixed in' };
  return { ...draft, tensors, preservesFunction };
}
