import type { LlamaConfig } from '../architecture/index.js';

/** Angles of rotary position embedding, as cosine and sine tables [length, head_dim / 2]. */
export interface RopeTables {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/**
 * Cosines and sines for positions `start`, `start + 1`, ...
 *
 * Frequencies and angles are rounded to float32 where Hugging Face transformers rounds them, so that long positions agree with it.
 */
export function ropeTables(
  config: Pick<LlamaConfig, 'head_dim' | 'rope_theta' | 'rope_scaling'>,
  length: number,
  start = 0,
): RopeTables {
  const frequencies = ropeFrequencies(config);
  const half = frequencies.length;
  const cos = new Float32Array(length * half);
  const sin = new Float32Array(length * half);
  for (let t = 0; t < length; t++) {
    for (let j = 0; j < half; j++) {
      const angle = Math.fround((start + t) * (frequencies[j] as number));
      cos[t * half + j] = Math.cos(angle);
      sin[t * half + j] = Math.sin(angle);
    }
  }
  return { cos, sin };
}

/** The frequency of each rotated pair after scaling: `default`, `linear` or `llama3` (Meta, Llama 3.1). */
export function ropeFrequencies({
  head_dim,
  rope_theta,
  rope_scaling,
}: Pick<LlamaConfig, 'head_dim' | 'rope_theta' | 'rope_scaling'>): Float32Array {
  const plain = Float32Array.from(
    { length: head_dim / 2 },
    (_, j) => 1 / Math.fround(rope_theta ** ((2 * j) / head_dim)),
  );
  if (rope_scaling === null || rope_scaling.rope_type === 'default') return plain;
  if (rope_scaling.rope_type === 'linear') return plain.map((frequency) => frequency / rope_scaling.factor);
  const {
    factor,
    low_freq_factor: low,
    high_freq_factor: high,
    original_max_position_embeddings: original,
  } = rope_scaling;
  return plain.map((frequency) => {
    const wavelength = (2 * Math.PI) / frequency;
    if (wavelength < original / high) return frequency;
    if (wavelength > original / low) return frequency / factor;
    const smooth = (original / wavelength - low) / (high - low);
    return ((1 - smooth) * frequency) / factor + smooth * frequency;
  });
}
