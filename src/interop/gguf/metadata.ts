import { familyOf, type ModelConfig } from '../../architecture/index.js';
import { bool, f32, type GgmlType, type GgufValue, text, u32 } from './format.js';
import { ggufArchitecture } from './tensors.js';

/** llama.cpp's numbers for "mostly" this type. */
const fileTypes: Readonly<Record<GgmlType, number>> = { F32: 0, F16: 1, Q8_0: 7, BF16: 32 };

/** What llama.cpp reads of a model's config. */
export function modelMetadata(config: ModelConfig, name: string, type: GgmlType): Map<string, GgufValue> {
  const arch = ggufArchitecture(config);
  const family = familyOf(config);
  const epsilon = family.norm === 'rms' ? 'layer_norm_rms_epsilon' : 'layer_norm_epsilon';
  const metadata = new Map<string, GgufValue>([
    ['general.architecture', text(arch)],
    ['general.type', text('model')],
    ['general.name', text(name)],
    ['general.file_type', u32(fileTypes[type])],
    ['general.quantization_version', u32(2)],
    [`${arch}.vocab_size`, u32(config.vocab_size)],
    [`${arch}.context_length`, u32(config.max_position_embeddings)],
    [`${arch}.embedding_length`, u32(config.hidden_size)],
    [`${arch}.block_count`, u32(config.num_hidden_layers)],
    [`${arch}.feed_forward_length`, u32(config.intermediate_size)],
    [`${arch}.attention.head_count`, u32(config.num_attention_heads)],
    [`${arch}.attention.head_count_kv`, u32(config.num_key_value_heads)],
    [`${arch}.attention.${epsilon}`, f32(config[family.normEpsilonField] as number)],
  ]);
  if (config.head_dim * config.num_attention_heads !== config.hidden_size || config.model_type === 'gemma2') {
    metadata.set(`${arch}.attention.key_length`, u32(config.head_dim));
    metadata.set(`${arch}.attention.value_length`, u32(config.head_dim));
  }
  if (family.rotary) for (const [key, value] of rotaryMetadata(config)) metadata.set(`${arch}.rope.${key}`, value);
  for (const [key, value] of ownMetadata(config)) metadata.set(`${arch}.${key}`, value);
  return metadata;
}

function rotaryMetadata(config: ModelConfig): [string, GgufValue][] {
  const share = (config['rotary_pct'] as number | undefined) ?? 1;
  const scaling = config['rope_scaling'] as { rope_type: string; factor: number } | null;
  const list: [string, GgufValue][] = [
    ['dimension_count', u32(Math.trunc(config.head_dim * share))],
    ['freq_base', f32(config['rope_theta'] as number)],
  ];
  if (scaling?.rope_type === 'linear')
    list.push(['scaling.type', text('linear')], ['scaling.factor', f32(scaling.factor)]);
  return list;
}

function ownMetadata(config: ModelConfig): [string, GgufValue][] {
  switch (config.model_type) {
    case 'gpt_neox':
      return [['use_parallel_residual', bool(config['use_parallel_residual'] as boolean)]];
    case 'gemma2': {
      const caps = (['attn_logit_softcapping', 'final_logit_softcapping'] as const).flatMap((field) =>
        typeof config[field] === 'number' ? [[field, f32(config[field])] as [string, GgufValue]] : [],
      );
      const window = config['sliding_window'] as number | null;
      return [...caps, ...(window === null ? [] : [['attention.sliding_window', u32(window)] as [string, GgufValue]])];
    }
    default:
      return [];
  }
}
