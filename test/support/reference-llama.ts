import type { LlamaConfig, ModelConfig } from '../../src/architecture/index.js';

/** Masks of a growth ramp, one number per unit (heads as heads, layers as layers); left out where nothing is masked. */
export interface ReferenceMasks {
  readonly kind: 'random' | 'msg';
  readonly hidden?: readonly number[];
  readonly ffn?: readonly number[];
  readonly heads?: readonly number[];
  readonly layers?: readonly number[];
}

type Matrix = number[][];
const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

/**
 * Logits of a Llama model in float64, written for clarity alone: what the grown models are compared with.
 *
 * @param weight A weight's numbers, row-major; tied heads ask for the embedding.
 * @returns One row of logits per token.
 */
export function referenceLogits(
  config: ModelConfig,
  weight: (name: string) => ArrayLike<number>,
  tokens: readonly number[],
  masks?: ReferenceMasks,
): Matrix {
  const {
    hidden_size: h,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    head_dim: e,
    intermediate_size: f,
  } = config;
  const { rms_norm_eps: eps, rope_theta: theta, attention_bias, mlp_bias } = config as LlamaConfig;
  const isRandom = masks?.kind === 'random';
  const maskHidden = (x: number[]): number[] => (masks?.hidden ? x.map((v, i) => v * masks.hidden![i]!) : x);
  const linear = (x: readonly number[], name: string, out: number, bias: boolean): number[] => {
    const w = weight(`${name}.weight`);
    const b = bias ? weight(`${name}.bias`) : undefined;
    return Array.from({ length: out }, (_, o) => {
      let sum = b?.[o] ?? 0;
      for (let i = 0; i < x.length; i++) sum += w[o * x.length + i]! * x[i]!;
      return sum;
    });
  };
  const norm = (x: number[], name: string): number[] => {
    const gain = weight(name);
    const masked = maskHidden(x);
    const live = masks?.hidden ? masks.hidden.reduce((sum, m) => sum + m, 0) : h;
    // `msg` takes the mean over live entries; `random` over all, and corrects the output by sqrt(live / size).
    const meanSquare =
      !isRandom && masks?.hidden
        ? x.reduce((sum, v, i) => sum + v * v * masks.hidden![i]!, 0) / live
        : dot(masked, masked) / h;
    const correction = isRandom ? Math.sqrt(live / h) : 1;
    const out = masked.map((v, i) => (v / Math.sqrt(meanSquare + eps)) * gain[i]! * correction);
    return maskHidden(out);
  };
  const rotate = (x: number[], position: number): number[] =>
    x.map((v, i) => {
      const half = e / 2;
      const angle = position / theta ** ((i % half) / half);
      const other = i < half ? -x[i + half]! : x[i - half]!;
      return v * Math.cos(angle) + other * Math.sin(angle);
    });
  const maskHeads = (x: number[]): number[] =>
    masks?.heads ? x.map((v, i) => v * masks.heads![Math.floor(i / e)]!) : x;

  const embedding = weight('model.embed_tokens.weight');
  let stream: Matrix = tokens.map((token) =>
    maskHidden(Array.from({ length: h }, (_, i) => embedding[token * h + i]!)),
  );
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const name = `model.layers.${layer}`;
    const before = stream;
    const normed = stream.map((x) => norm(x, `${name}.input_layernorm.weight`));
    const q = normed.map((x) => linear(x, `${name}.self_attn.q_proj`, heads * e, attention_bias));
    const k = normed.map((x) => linear(x, `${name}.self_attn.k_proj`, kvHeads * e, attention_bias));
    const v = normed.map((x) => linear(x, `${name}.self_attn.v_proj`, kvHeads * e, attention_bias));
    const attended = tokens.map((_, t) =>
      Array.from({ length: heads }, (_, head) => {
        const group = Math.floor((head * kvHeads) / heads);
        const part = (x: number[], at: number): number[] => x.slice(at * e, (at + 1) * e);
        const query = rotate(part(q[t]!, head), t);
        const scores = Array.from(
          { length: t + 1 },
          (_, s) => dot(query, rotate(part(k[s]!, group), s)) / Math.sqrt(e),
        );
        const max = Math.max(...scores);
        const exps = scores.map((score) => Math.exp(score - max));
        const total = exps.reduce((sum, x) => sum + x, 0);
        return Array.from({ length: e }, (_, i) =>
          exps.reduce((sum, x, s) => sum + (x / total) * v[s]![group * e + i]!, 0),
        );
      }).flat(),
    );
    const attention = attended.map((x) =>
      maskHidden(linear(maskHeads(x), `${name}.self_attn.o_proj`, h, attention_bias)),
    );
    const middle = stream.map((x, t) => x.map((value, i) => value + attention[t]![i]!));
    const fed = middle.map((x) => {
      const y = norm(x, `${name}.post_attention_layernorm.weight`);
      const gate = linear(y, `${name}.mlp.gate_proj`, f, mlp_bias);
      const up = linear(y, `${name}.mlp.up_proj`, f, mlp_bias);
      const active = gate.map((g, i) => (g / (1 + Math.exp(-g))) * up[i]! * (masks?.ffn?.[i] ?? 1));
      return maskHidden(linear(active, `${name}.mlp.down_proj`, h, mlp_bias));
    });
    const m = masks?.layers?.[layer] ?? 1;
    stream = middle.map((x, t) => x.map((value, i) => m * (value + fed[t]![i]!) + (1 - m) * before[t]![i]!));
  }
  const head = weight(config.tie_word_embeddings ? 'model.embed_tokens.weight' : 'lm_head.weight');
  return stream.map((x) => {
    const y = norm(x, 'model.norm.weight');
    return Array.from({ length: config.vocab_size }, (_, o) => y.reduce((sum, v, i) => sum + v * head[o * h + i]!, 0));
  });
}
