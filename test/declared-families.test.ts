import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { InputError } from '../src/errors.js';
import { executeOnFolder, planGrowth } from '../src/growth/index.js';
import { openCheckpoint, writeSafetensors } from '../src/interop/index.js';
import { readStoredTensors } from './golden/read.js';

const scratch = mkdtempSync(join(tmpdir(), 'strata-declared-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** Writes a folder whose tensors hold random numbers. */
function writeFolder(name: string, config: object, shapes: Record<string, number[]>, definition?: string): string {
  const folder = join(scratch, name);
  mkdirSync(folder);
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  if (definition !== undefined) writeFileSync(join(folder, 'strata-architecture.yaml'), definition);
  const tensors = Object.entries(shapes).map(([tensor, shape]) => ({
    name: tensor,
    dtype: 'F32' as const,
    shape,
    values: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => Math.random()),
  }));
  writeSafetensors(join(folder, 'model.safetensors'), tensors);
  return folder;
}

const mixtral = {
  architectures: ['MixtralForCausalLM'],
  model_type: 'mixtral',
  vocab_size: 20,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  num_local_experts: 3,
  num_experts_per_tok: 2,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 1e6,
  sliding_window: null,
  tie_word_embeddings: false,
};

const mixtralShapes = (layers: number): Record<string, number[]> => ({
  'model.embed_tokens.weight': [20, 8],
  ...Object.fromEntries(
    Array.from({ length: layers }, () => [
      ['input_layernorm.weight', [8]] as const,
      ['self_attn.q_proj.weight', [8, 8]] as const,
      ['self_attn.k_proj.weight', [4, 8]] as const,
      ['self_attn.v_proj.weight', [4, 8]] as const,
      ['self_attn.o_proj.weight', [8, 8]] as const,
      ['post_attention_layernorm.weight', [8]] as const,
      ['block_sparse_moe.gate.weight', [3, 8]] as const,
      ...[0, 1, 2].flatMap((expert) => [
        [`block_sparse_moe.experts.${expert}.w1.weight`, [12, 8]] as const,
        [`block_sparse_moe.experts.${expert}.w2.weight`, [8, 12]] as const,
        [`block_sparse_moe.experts.${expert}.w3.weight`, [12, 8]] as const,
      ]),
    ]).flatMap((weights, i) => weights.map(([name, shape]) => [`model.layers.${i}.${name}`, [...shape]])),
  ),
  'model.norm.weight': [8],
  'lm_head.weight': [20, 8],
});

/** The example of the guide. */
const guide = /```yaml\n([^]*?)```/.exec(readFileSync('docs/guide/families.md', 'utf8'))![1]!;

describe('a model_type that a file describes', () => {
  test('grows by stack, tensor by tensor, and again from what was written', async () => {
    const folder = writeFolder('mixtral', mixtral, mixtralShapes(2), guide);
    const source = readStoredTensors(join(folder, 'model.safetensors'));
    let from = folder;
    for (const layers of [4, 8]) {
      using checkpoint = openCheckpoint(from);
      const plan = planGrowth({ operator: 'stack', source: checkpoint.config, factor: 2, options: {}, target: {} });
      from = join(scratch, `mixtral-${layers}`);
      await executeOnFolder(plan, checkpoint, from);
      const grown = readStoredTensors(join(from, 'model.safetensors'));
      expect([...grown.keys()].sort()).toEqual(Object.keys(mixtralShapes(layers)).sort());
      for (const [name, tensor] of grown)
        expect(tensor, name).toEqual(source.get(name.replace(/layers\.(\d+)/, (_, i) => `layers.${Number(i) % 2}`)));
      const {
        architectures,
        torch_dtype: _,
        ...config
      } = JSON.parse(readFileSync(join(from, 'config.json'), 'utf8')) as Record<string, unknown>;
      expect({ architectures, ...config }).toMatchObject({ ...mixtral, num_hidden_layers: layers });
    }
  });

  const hybrid = {
    model_type: 'hybrid',
    d_model: 4,
    n_layer: 3,
    vocab_size: 10,
    conv_kernel: 3,
    layer_types: ['conv', 'conv', 'attention'],
  };
  const definition = `
model_type: hybrid
fields: {hidden_size: d_model, num_hidden_layers: n_layer}
ignore: ['\\.inv_freq$']
weights:
  - {name: embed, role: embedding, axes: [vocab, hidden]}
  - {name: 'blocks.{layer}.conv', axes: [hidden, {role: other, size: conv_kernel}], shape: [d, 1, conv_kernel], where: {layer_types: [conv]}}
  - {name: 'blocks.{layer}.qkv', axes: [{role: other, size: [3, hidden_size]}, hidden], transposed: true, where: {layer_types: [attention]}}
`.replace('shape: [d,', 'shape: [hidden_size,');
  const shapes = { embed: [10, 4], 'blocks.0.conv': [4, 1, 3], 'blocks.1.conv': [4, 1, 3], 'blocks.2.qkv': [4, 12] };

  test('may have layers of several kinds, other names of fields, and tensors of three axes', async () => {
    const folder = writeFolder('hybrid', hybrid, { ...shapes, 'blocks.2.inv_freq': [2] }, definition);
    using checkpoint = openCheckpoint(folder);
    const plan = planGrowth({ operator: 'stack', source: checkpoint.config, factor: 2, options: {}, target: {} });
    const out = join(scratch, 'hybrid-grown');
    await executeOnFolder(plan, checkpoint, out);
    const [before, after] = [folder, out].map((place) => readStoredTensors(join(place, 'model.safetensors')));
    expect([...after!.keys()]).toEqual(
      ['embed', ...[0, 1, 3, 4].map((i) => `blocks.${i}.conv`), 'blocks.2.qkv', 'blocks.5.qkv'].sort(
        (a, b) => order(a) - order(b),
      ),
    );
    expect(after!.get('blocks.4.conv')).toEqual(before!.get('blocks.1.conv'));
    expect(after!.get('blocks.5.qkv')).toEqual(before!.get('blocks.2.qkv'));
    const config = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8')) as Record<string, unknown>;
    expect(config).toMatchObject({
      d_model: 4,
      n_layer: 6,
      layer_types: [...hybrid.layer_types, ...hybrid.layer_types],
    });
    expect(config).not.toHaveProperty('hidden_size');
  });

  test.each([
    ['a tensor that is not described', { ...shapes, extra: [2] }, definition, 'tensor "extra" is not described'],
    ['a missing tensor', { embed: [10, 4] }, definition, 'tensor "blocks.0.conv" is missing'],
    ['a wrong shape', { ...shapes, embed: [9, 4] }, definition, 'tensor "embed" must have shape [10,4]'],
    ['an unknown role', shapes, definition.replace('role: embedding', 'role: table'), 'weights[0].role'],
    ['no YAML', shapes, 'weights: [', 'is no YAML or JSON'],
  ])('is refused for %s', (_, tensors, text, message) => {
    // Each has a model_type of its own, as a definition holds for the whole process.
    const type = `hybrid-${refused++}`;
    const folder = writeFolder(
      type,
      { ...hybrid, model_type: type },
      tensors,
      text.replace('model_type: hybrid', `model_type: ${type}`),
    );
    expect(() => openCheckpoint(folder)).toThrow(InputError);
    expect(() => openCheckpoint(folder)).toThrow(message);
  });

  test('is refused without a file, which the sentence names', () => {
    const folder = writeFolder('nothing', { ...hybrid, model_type: 'nobody-knows' }, shapes);
    expect(() => openCheckpoint(folder)).toThrow(/unknown model_type "nobody-knows".*strata-architecture\.yaml/);
  });
});

let refused = 0;
const order = (name: string): number => (name === 'embed' ? -1 : Number(name.split('.')[1]));
