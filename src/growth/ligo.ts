import type { Axis, ModelConfig, WeightSpec } from '../architecture/index.js';
import { InputError } from '../errors.js';
import { byLayer } from './depth.js';
import type { Expression } from './expression.js';
import type { OperatorRequest } from './operator.js';
import type { PlanDraft } from './plan.js';
import type { PrepareInitial, PrepareParameter } from './prepare.js';
import { requestedLayers, requestedWidths, resizedConfig } from './target.js';
import { isInput } from './width.js';
import { widerConfig } from './width-maps.js';

/** Options of the LiGO operators. */
export interface LigoOptions {
  readonly steps: number;
  readonly learningRate: number;
  readonly warmupSteps: number;
  readonly init: 'prts' | 'authors';
  readonly untiedInputs: boolean;
}

/**
 * Plans LiGO: every target tensor a linear function of the source's, by learned width matrices B and depth mixes w.
 *
 * W' = sum over layers j of w[l, j] * B_out W_j B_in^T, with B shared by all layers and one w per kind of tensor; after LiGO
 * (arXiv 2303.00980) as written out in the G_stack paper's code.
 */
export function planLigo(
  request: OperatorRequest<LigoOptions>,
  id: string,
  directions: 'depth' | 'width' | 'both',
): PlanDraft {
  const { family, source, sizes, depthFactor, widthFactor, options } = request;
  const count = source.num_hidden_layers;
  const layers = directions === 'width' ? count : (requestedLayers(source, sizes, depthFactor) ?? count);
  const widths = directions === 'depth' ? undefined : requestedWidths(source, sizes, widthFactor);
  if (source.model_type === 'llama_dlo')
    throw new InputError(
      `Operator ${id} learns through every branch: grow the llama first, then put in routers by route.`,
    );
  if (layers < count) throw new InputError(`Operator ${id} grows: it cannot make ${layers} layers out of ${count}.`);
  if (count === 0) throw new InputError(`Operator ${id} needs a source with layers, found none.`);
  if (layers === count && widths === undefined) throw new InputError(`Operator ${id} needs a factor or a target size.`);
  const deep = resizedConfig(family, source, { num_hidden_layers: layers });
  const target =
    widths === undefined ? deep : widerConfig(id, family, deep, { ...sizes, num_hidden_layers: layers }, widthFactor);
  const expansion = new Expansion(source, target, options);
  const sources = byLayer(family.weights(source));
  const tensors: Record<string, Expression> = {};
  for (const [layer, specs] of byLayer(family.weights(target)))
    for (const [place, spec] of specs.entries()) {
      if (spec.tiedTo !== undefined) continue;
      const widened = (from: number | undefined): Expression => expansion.widened(sources.get(from)![place]!);
      if (layer === undefined) tensors[spec.name] = widened(undefined);
      else if (layers === count) tensors[spec.name] = widened(layer);
      else {
        const by = { learned: expansion.depthMix(spec), row: layer };
        tensors[spec.name] = { op: 'mix', by, of: Array.from({ length: count }, (_, from) => widened(from)) };
      }
    }
  const { steps, learningRate, warmupSteps } = options;
  return {
    target,
    tensors,
    prepare: { kind: 'ligo', parameters: expansion.parameters, steps, options: { learningRate, warmupSteps } },
  };
}

/** The learned matrices of one growth, named as they are first needed. */
class Expansion {
  readonly parameters: PrepareParameter[] = [];
  readonly #source: ModelConfig;
  readonly #target: ModelConfig;
  readonly #options: LigoOptions;

  constructor(source: ModelConfig, target: ModelConfig, options: LigoOptions) {
    this.#source = source;
    this.#target = target;
    this.#options = options;
  }

  /** A source tensor with its axes expanded. */
  widened(spec: WeightSpec): Expression {
    let expression: Expression = { op: 'copy', of: spec.name };
    for (const [place, axis] of spec.axes.entries()) {
      const matrix = this.#matrix(spec, axis, isInput(spec, place as 0 | 1));
      if (matrix === undefined) continue;
      expression =
        place === 0
          ? { op: 'product', transposed: [false, false], of: [matrix, expression] }
          : { op: 'product', transposed: [false, true], of: [expression, matrix] };
    }
    return expression;
  }

  /** Name of the depth mix of a kind of tensor. */
  depthMix(spec: WeightSpec): string {
    const name = `ligo.depth.${spec.role}${spec.kind === 'bias' ? '.bias' : ''}`;
    const { num_hidden_layers: rows } = this.#target;
    const { num_hidden_layers: columns } = this.#source;
    const index = Array.from({ length: rows }, (_, i) => i % columns);
    const noise = this.#options.init === 'authors' ? 0.03 : 0;
    this.#declare({ name, shape: [rows, columns], initial: { kind: 'selection', index, noise } });
    return name;
  }

  #matrix(spec: WeightSpec, axis: Axis, input: boolean): Expression | undefined {
    const { head_dim: e } = this.#source;
    const of = (name: string, field: keyof ModelConfig & string, unit: number): Expression | undefined =>
      this.#width(input && this.#options.untiedInputs ? `${name}.in` : name, field, unit);
    switch (axis.role) {
      case 'hidden':
        return of('ligo.hidden', 'hidden_size', 1);
      case 'ffn':
        return of('ligo.ffn', 'intermediate_size', 1);
      case 'kvHeads':
        return of(spec.role === 'key' ? 'ligo.key' : 'ligo.value', 'num_key_value_heads', e);
      case 'heads':
        return input
          ? this.#repeatedValue(of('ligo.value', 'num_key_value_heads', e))
          : of('ligo.query', 'num_attention_heads', e);
      default:
        return undefined;
    }
  }

  #width(name: string, field: keyof ModelConfig & string, unit: number): Expression | undefined {
    const [from, to] = [(this.#source[field] as number) * unit, (this.#target[field] as number) * unit];
    if (from === to) return undefined;
    const initial: PrepareInitial =
      this.#options.init === 'prts' ? { kind: 'identity', std: 1 / Math.sqrt(to) } : { kind: 'identityOverUniform' };
    this.#declare({
      name,
      shape: [to, from],
      initial,
      ...(this.#options.init === 'authors' ? { frozenRows: from } : {}),
    });
    return { op: 'learned', of: name, shape: [to, from] };
  }

  /** The value matrix at the size of the query heads: each group's block once per query head of the group. */
  #repeatedValue(value: Expression | undefined): Expression | undefined {
    const perGroup = this.#source.num_attention_heads / this.#source.num_key_value_heads;
    const grown = this.#target.num_attention_heads / this.#target.num_key_value_heads;
    if (perGroup !== grown)
      throw new InputError(
        `LiGO keeps the query heads per group: num_attention_heads must be ${perGroup} times num_key_value_heads ` +
          `${this.#target.num_key_value_heads}, found ${this.#target.num_attention_heads}.`,
      );
    if (value === undefined || perGroup === 1) return value;
    const unit = this.#source.head_dim;
    const only = (heads: number, within: number): number[] =>
      Array.from({ length: heads }, (_, head) => (head % perGroup === within ? Math.floor(head / perGroup) : -1));
    const blocks = Array.from({ length: perGroup }, (_, within): Expression => {
      const rows: Expression = {
        op: 'take',
        axis: 0,
        index: only(this.#target.num_attention_heads, within),
        unit,
        of: value,
      };
      return { op: 'take', axis: 1, index: only(this.#source.num_attention_heads, within), unit, of: rows };
    });
    return { op: 'mix', by: blocks.map(() => 1), of: blocks };
  }

  #declare(parameter: PrepareParameter): void {
    if (!this.parameters.some(({ name }) => name === parameter.name)) this.parameters.push(parameter);
  }
}
