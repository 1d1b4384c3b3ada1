import { type Floats, RandomStream } from './random.js';
import { familyOf } from './registry.js';
import type { ModelConfig, WeightRole, WeightSpec } from './types.js';

/** How a fresh weight is filled. */
export type Initialisation =
  | { readonly kind: 'normal'; readonly std: number }
  | { readonly kind: 'constant'; readonly value: number };

/**
 * `paper`: variance 2/(5 fan-in) for linears and embeddings (their fan-in is the hidden size), output projections divided by
 * sqrt(2 x layers), after the code of Du et al. (2024). `huggingface`: std `initializer_range` everywhere.
 */
export type InitialisationScheme = 'paper' | 'huggingface';

const outputRoles: ReadonlySet<WeightRole> = new Set(['attentionOutput', 'down']);

/** How a weight of a new model is filled: norm gains 1, biases and routers 0, matrices and tables drawn. */
export function initialisation(
  spec: WeightSpec,
  config: ModelConfig,
  scheme: InitialisationScheme = 'paper',
): Initialisation {
  if (spec.kind === 'bias' || spec.role === 'router') return { kind: 'constant', value: 0 };
  if (spec.axes.length === 1) return { kind: 'constant', value: 1 - (familyOf(config).normGainOffset ?? 0) };
  if (scheme === 'huggingface') return { kind: 'normal', std: config.initializer_range };
  const fanIn = spec.axes[1]!.size;
  const depth = outputRoles.has(spec.role) ? Math.sqrt(2 * config.num_hidden_layers) : 1;
  return { kind: 'normal', std: Math.sqrt(2 / (5 * fanIn)) / depth };
}

/**
 * Fills numbers start, start + 1, ... of a fresh weight.
 *
 * The values depend on (seed, the weight's name, position) alone.
 */
export function fillInitial(
  out: Floats,
  spec: WeightSpec,
  config: ModelConfig,
  seed: number,
  scheme: InitialisationScheme = 'paper',
  start = 0,
): void {
  const fill = initialisation(spec, config, scheme);
  if (fill.kind === 'constant') out.fill(fill.value);
  else new RandomStream(seed, spec.name).fillNormal(out, fill.std, 0, start);
}
