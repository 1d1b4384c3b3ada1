import { z } from 'zod';
import { cite, InputError } from '../errors.js';
import { parseBySchema } from './parse.js';
import { families } from './registry.js';
import type { Axis, AxisRole, Family, ModelConfig, WeightRole, WeightSpec } from './types.js';

const axisRoles = ['vocab', 'position', 'hidden', 'heads', 'kvHeads', 'ffn', 'headDim'] as const satisfies AxisRole[];

/** A size: a number, a field of config.json, or several of them multiplied. */
const sizeTerm = z.union([z.int().min(1).max(1e9), z.string().min(1)]);
const sizeOf = z.union([sizeTerm, z.array(sizeTerm).min(1)]);
type SizeOf = z.output<typeof sizeOf>;

const axis = z.union([z.enum(axisRoles), z.strictObject({ role: z.enum([...axisRoles, 'other']), size: sizeOf })]);

const weightRoles = [
  'embedding',
  'positionEmbedding',
  'attentionNorm',
  'query',
  'key',
  'value',
  'attentionOutput',
  'queryNorm',
  'keyNorm',
  'postAttentionNorm',
  'ffnNorm',
  'gate',
  'up',
  'down',
  'postFfnNorm',
  'finalNorm',
  'head',
  'other',
] as const satisfies WeightRole[];

const weightSchema = z.strictObject({
  /** The stored tensor; `{layer}` stands for the layer's number, `{expert}` and the like for what `repeat` counts. */
  name: z.string().min(1).max(500),
  role: z.enum(weightRoles).default('other'),
  kind: z.enum(['weight', 'bias']).default('weight'),
  axes: z.array(axis).min(1).max(2),
  /** Shape of the stored tensor where it has other axes than the logical weight (a convolution, a stack of experts). */
  shape: z.array(sizeOf).min(1).max(6).optional(),
  transposed: z.boolean().default(false),
  /** The weight that stands in for this one where `tie_word_embeddings` is set. */
  tied_to: z.string().optional(),
  /** Only in layers whose entry in a list of config.json is one of these. */
  where: z.record(z.string(), z.array(z.union([z.string(), z.number(), z.boolean()]))).optional(),
  /** Further numbers in the name, each from 0 to a size less 1. */
  repeat: z.record(z.string().regex(/^[a-z_]+$/), sizeOf).optional(),
});

const schema = z.strictObject({
  model_type: z.string().min(1),
  architecture: z.string().min(1).optional(),
  /** Names that config.json has for the sizes, where they are not those of Llama. */
  fields: z.record(z.string(), z.string()).default({}),
  norm: z.enum(['rms', 'layer']).default('rms'),
  norm_epsilon: z.string().default('rms_norm_eps'),
  rotary: z.boolean().default(true),
  weights: z.array(weightSchema).min(1).max(10_000),
  /** Regular expressions of stored tensors that are no weights and are left out. */
  ignore: z.array(z.string()).default([]),
});

type Definition = z.output<typeof schema>;
type WeightDefinition = Definition['weights'][number];

const sizeFields = [
  'vocab_size',
  'hidden_size',
  'num_hidden_layers',
  'num_attention_heads',
  'num_key_value_heads',
  'head_dim',
  'intermediate_size',
  'max_position_embeddings',
] as const;
type SizeField = (typeof sizeFields)[number];

const MAX_WEIGHTS = 1e6;

const registered = new Map<string, string>();

/**
 * Makes a family out of a definition and lets `familyOf` find it: its models can be grown by copying, but not be run.
 *
 * @param definition What a definition file holds.
 * @param source The file, for messages.
 * @throws InputError naming the field; also where Strata knows that model_type, or another definition of it was read before.
 */
export function declareFamily(definition: unknown, source: string): Family {
  const parsed = parseBySchema(schema, definition, source);
  const text = JSON.stringify(parsed);
  const { model_type } = parsed;
  if (registered.get(model_type) === text) return families.get(model_type)!;
  if (registered.has(model_type))
    throw new InputError(`${source}: another definition of model_type "${model_type}" was read before this one.`);
  if (families.has(model_type))
    throw new InputError(`${source}: field "model_type": Strata knows "${model_type}" itself; remove this file.`);
  for (const name of Object.keys(parsed.fields))
    if (!(sizeFields as readonly string[]).includes(name))
      throw new InputError(`${source}: field "fields": expected one of ${sizeFields.join(', ')}, found "${name}".`);
  const family = declaredFamily(parsed, source);
  registered.set(model_type, text);
  (families as Map<string, Family>).set(model_type, family);
  return family;
}

function declaredFamily(definition: Definition, source: string): Family {
  const { model_type, fields, ignore } = definition;
  const ignored = ignore.map((pattern) => compilePattern(pattern, source));
  const theirs = (field: SizeField): string => fields[field] ?? field;
  const read = (config: unknown, from: string): ModelConfig => readConfig(config, from, model_type, theirs);
  return {
    modelType: model_type,
    architecture: definition.architecture ?? model_type,
    schema: z.looseObject({}),
    normEpsilonField: definition.norm_epsilon,
    norm: definition.norm,
    rotary: definition.rotary,
    ignoredTensor: (name) => ignored.some((pattern) => pattern.test(name)),
    parse: read,
    fromHuggingFace: read,
    weights: (config) => expandWeights(definition, config, source),
    toHuggingFace: (config) => writeConfig(config, theirs, fields),
  };
}

function compilePattern(pattern: string, source: string): RegExp {
  try {
    return new RegExp(pattern);
  } catch {
    throw new InputError(`${source}: field "ignore": expected regular expressions, found ${cite(pattern)}.`);
  }
}

/** Sizes that follow from others where config.json does not say them. */
const derivedSizes: Readonly<Partial<Record<SizeField, (sizes: Record<SizeField, number>) => number>>> = {
  num_attention_heads: () => 1,
  num_key_value_heads: (sizes) => sizes.num_attention_heads,
  head_dim: ({ hidden_size, num_attention_heads }) =>
    hidden_size % num_attention_heads === 0 ? hidden_size / num_attention_heads : 1,
  intermediate_size: ({ hidden_size }) => 4 * hidden_size,
  max_position_embeddings: () => 2048,
};

function readConfig(
  config: unknown,
  source: string,
  modelType: string,
  theirs: (field: SizeField) => string,
): ModelConfig {
  if (typeof config !== 'object' || config === null || Array.isArray(config))
    throw new InputError(`${source}: expected an object, found ${cite(config)}.`);
  const rest: Record<string, unknown> = { ...config };
  const sizes = {} as Record<SizeField, number>;
  for (const field of sizeFields) {
    const name = theirs(field);
    const given = rest[name] ?? rest[field];
    delete rest[name];
    delete rest[field];
    const value = given ?? derivedSizes[field]?.(sizes);
    if (!Number.isSafeInteger(value) || (value as number) < (field === 'num_hidden_layers' ? 0 : 1))
      throw new InputError(`${source}: field "${name}" must be a whole number, found ${cite(value)}.`);
    sizes[field] = value as number;
  }
  const { architectures: _, torch_dtype: __, dtype: ___, ...others } = rest;
  return {
    ...others,
    ...sizes,
    model_type: modelType,
    tie_word_embeddings: rest['tie_word_embeddings'] === true,
    initializer_range: typeof rest['initializer_range'] === 'number' ? rest['initializer_range'] : 0.02,
  };
}

function writeConfig(
  config: ModelConfig,
  theirs: (field: SizeField) => string,
  declared: Readonly<Record<string, string>>,
): Record<string, unknown> {
  const written: Record<string, unknown> = { ...config };
  for (const field of sizeFields) {
    const value = config[field];
    delete written[field];
    const isDerived = derivedSizes[field]?.(config as Record<SizeField, number>) === value;
    if (declared[field] !== undefined || !isDerived) written[theirs(field)] = value;
  }
  const { architecture } = families.get(config.model_type)!;
  return { architectures: [architecture], ...written };
}

function expandWeights(definition: Definition, config: ModelConfig, source: string): WeightSpec[] {
  const perLayer = definition.weights.filter(({ name }) => name.includes('{layer}'));
  const first = definition.weights.findIndex(({ name }) => name.includes('{layer}'));
  const outside = definition.weights.filter(({ name }) => !name.includes('{layer}'));
  const before = outside.filter((weight) => first === -1 || definition.weights.indexOf(weight) < first);
  const list = before.flatMap((weight) => makeWeights(weight, config, source));
  for (let layer = 0; layer < config.num_hidden_layers; layer++)
    for (const weight of perLayer)
      if (isThere(weight, config, layer, source)) list.push(...makeWeights(weight, config, source, layer));
  for (const weight of outside) if (!before.includes(weight)) list.push(...makeWeights(weight, config, source));
  if (list.length > MAX_WEIGHTS)
    throw new InputError(`${source}: describes ${list.length} weights, at most ${MAX_WEIGHTS} are possible.`);
  return list;
}

function isThere({ where = {}, name }: WeightDefinition, config: ModelConfig, layer: number, source: string): boolean {
  return Object.entries(where).every(([field, values]) => {
    const list = config[field];
    if (!Array.isArray(list) || list.length !== config.num_hidden_layers)
      throw new InputError(
        `${source}: weight "${name}": "where" needs config.json's field "${field}" with an entry for each of ${config.num_hidden_layers} layers.`,
      );
    return values.includes(list[layer] as string);
  });
}

function makeWeights(weight: WeightDefinition, config: ModelConfig, source: string, layer?: number): WeightSpec[] {
  let names = [weight.name.replaceAll('{layer}', String(layer))];
  for (const [counter, size] of Object.entries(weight.repeat ?? {})) {
    const count = sizeFrom(size, config, `${source}: weight "${weight.name}"`);
    if (names.length * count > MAX_WEIGHTS)
      throw new InputError(`${source}: weight "${weight.name}" is repeated more than ${MAX_WEIGHTS} times.`);
    names = names.flatMap((name) =>
      Array.from({ length: count }, (_, i) => name.replaceAll(`{${counter}}`, String(i))),
    );
  }
  return names.map((name) => makeWeight(name, weight, config, source, layer));
}

function makeWeight(
  name: string,
  weight: WeightDefinition,
  config: ModelConfig,
  source: string,
  layer: number | undefined,
): WeightSpec {
  const where = `${source}: weight "${weight.name}"`;
  const axes = weight.axes.map((axis) => makeAxis(axis, config, where));
  const logical = axes.map(({ size }) => size);
  const shape =
    weight.shape?.map((size) => sizeFrom(size, config, where)) ?? (weight.transposed ? logical.toReversed() : logical);
  const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);
  if (product(shape) !== product(logical))
    throw new InputError(`${where}: shape [${shape}] holds another number of elements than its axes [${logical}].`);
  const tiedTo = config.tie_word_embeddings ? weight.tied_to : undefined;
  return {
    name,
    role: weight.role,
    kind: weight.kind,
    axes,
    stored: { name, shape, ...(weight.transposed ? { transposed: true } : {}) },
    decayed: axes.length > 1,
    ...(layer === undefined ? {} : { layer }),
    ...(tiedTo === undefined ? {} : { tiedTo }),
  };
}

const axisSizes: Readonly<
  Record<(typeof axisRoles)[number], (config: ModelConfig) => readonly [size: number, unit: number]>
> = {
  vocab: (config) => [config.vocab_size, 1],
  position: (config) => [config.max_position_embeddings, 1],
  hidden: (config) => [config.hidden_size, 1],
  heads: (config) => [config.num_attention_heads * config.head_dim, config.head_dim],
  kvHeads: (config) => [config.num_key_value_heads * config.head_dim, config.head_dim],
  ffn: (config) => [config.intermediate_size, 1],
  headDim: (config) => [config.head_dim, 1],
};

function makeAxis(axis: WeightDefinition['axes'][number], config: ModelConfig, where: string): Axis {
  if (typeof axis === 'string') {
    const [size, unit] = axisSizes[axis](config);
    return { role: axis, size, unit };
  }
  return { role: axis.role, size: sizeFrom(axis.size, config, where), unit: 1 };
}

function sizeFrom(size: SizeOf, config: ModelConfig, where: string): number {
  if (typeof size === 'number') return size;
  if (Array.isArray(size)) return size.reduce<number>((product, term) => product * sizeFrom(term, config, where), 1);
  const value = config[size];
  if (!Number.isSafeInteger(value) || (value as number) < 1)
    throw new InputError(`${where}: config.json's field "${size}" must be a whole number, found ${cite(value)}.`);
  return value as number;
}
