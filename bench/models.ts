import { fillInitial, parseModelConfig, type WeightSpec, weightSize } from '../src/architecture/index.js';
import { saveModel } from '../src/interop/index.js';

/** A Llama of 60 M parameters; speed does not depend on what its weights are. */
export const LLAMA_60M = {
  hidden_size: 640,
  num_hidden_layers: 10,
  num_attention_heads: 10,
  num_key_value_heads: 10,
  intermediate_size: 1728,
  vocab_size: 8192,
  max_position_embeddings: 1024,
  bos_token_id: null,
  eos_token_id: 0,
};

/** Writes a model with drawn weights. `change` gets the values of each weight before they are written. */
export function makeModel(
  folder: string,
  fields: Record<string, unknown>,
  change: (spec: WeightSpec, values: Float32Array) => void = () => {},
): string {
  const config = parseModelConfig(fields, 'bench');
  saveModel(folder, config, (spec) => {
    const values = new Float32Array(weightSize(spec));
    fillInitial(values, spec, config, 1);
    change(spec, values);
    return values;
  });
  return folder;
}
