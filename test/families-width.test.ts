import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Scope, type Tensor } from '../src/engine/buffers.js';
import { EagerContext } from '../src/engine/eager.js';
import { loadLibtorch } from '../src/engine/libtorch/load.js';
import { executeOnFolder, type GrowthRequest, planGrowth } from '../src/growth/index.js';
import { type Checkpoint, openCheckpoint } from '../src/interop/index.js';
import { arenaParameters, boundLogits, forwardOf, layOut } from '../src/model/index.js';
import { matmul } from '../src/ops/index.js';
import { FAMILY_VARIANTS, type FamilyVariant, readFamilyGolden } from './golden/read.js';

/** Rounding in float32 over tiny models, relative to the largest logit; a changed function is far beyond. */
const KEPT = 1e-4;
const CHANGED = 1e-3;

beforeAll(() => void loadLibtorch({ threads: 2 }));
const scratch = mkdtempSync(join(tmpdir(), 'strata-families-width-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** Logits of a few tokens, by the family's forward. */
function logitsOf(checkpoint: Checkpoint): Float32Array {
  using scope = new Scope();
  const eager = new EagerContext(scope);
  const { config, family } = checkpoint;
  const length = 8;
  const weights = family.weights(config);
  const layout = layOut(weights, () => false);
  const arena = scope.tensor({ dtype: 'f32', shape: [layout.size] });
  for (const [name, { offset }] of layout.ranges) (arena.data() as Float32Array).set(checkpoint.read(name), offset);
  const parameters = arenaParameters(eager, arena, layout, weights);
  const forward = forwardOf(config);
  const tables = Object.entries(forward.tables(config, length)).map(([name, { values, columns }]) => [
    name,
    scope.from({ dtype: values instanceof Int32Array ? 'i32' : 'f32', shape: [length, columns] }, values),
  ]);
  const ids = scope.from({ dtype: 'i32', shape: [length] }, Int32Array.of(1, 5, 2, 7, 3, 1, 4, 6));
  const call = { ids, tables: Object.fromEntries(tables), batch: 1, length };
  const hidden = forward.hidden(eager, config, parameters, call);
  const logits = matmul(eager, hidden, parameters.get('head'), { transposeB: true });
  return Float32Array.from((boundLogits(eager, config, logits) as Tensor).data() as Float32Array);
}

const largest = (values: Float32Array): number => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

async function change(variant: FamilyVariant, name: string, request: Omit<GrowthRequest, 'source'>) {
  using source = openCheckpoint(readFamilyGolden(variant).folder);
  const plan = planGrowth({ source: source.config, ...request });
  const out = join(scratch, `${variant}-${name}`);
  await executeOnFolder(plan, source, out, { verify: true });
  using grown = openCheckpoint(out);
  const [before, after] = [logitsOf(source), logitsOf(grown)];
  const moved = largest(before.map((value, i) => value - after[i]!)) / largest(before);
  return { moved, claimed: plan.preservesFunction.claimed };
}

const cases: Record<string, (variant: FamilyVariant) => Omit<GrowthRequest, 'source'>> = {
  'zero-depth': () => ({ operator: 'zero-depth', factor: 2 }),
  hypercloning: () => ({ operator: 'hypercloning', factor: 2 }),
  'direct-width': () => ({ operator: 'direct-width', factor: 2 }),
  'staged-width': () => ({ operator: 'staged-width', factor: 2 }),
  'fpi, ffn and groups': (variant) => {
    using source = openCheckpoint(readFamilyGolden(variant).folder);
    const { intermediate_size, num_attention_heads, num_key_value_heads } = source.config;
    // GPT-2 and NeoX have no head_dim of their own: heads grow with the hidden size only.
    if (source.family.norm === 'layer')
      return { operator: 'fpi', target: { intermediate_size: intermediate_size + 3 } };
    const grouped = num_attention_heads !== num_key_value_heads;
    return {
      operator: 'fpi',
      target: {
        intermediate_size: intermediate_size + 3,
        num_attention_heads: num_attention_heads * 2,
        num_key_value_heads: grouped ? num_key_value_heads : num_key_value_heads * 2,
      },
    };
  },
  stack: () => ({ operator: 'stack', factor: 2 }),
};

describe.each(FAMILY_VARIANTS)('%s', (variant) => {
  it.each(Object.keys(cases))('%s keeps the function exactly where it says so', async (name) => {
    const { moved, claimed } = await change(variant, name.replace(/\W+/g, '-'), cases[name]!(variant));
    if (claimed) expect(moved).toBeLessThan(KEPT);
    else expect(moved).toBeGreaterThan(CHANGED);
  });

  it.each(['lemon', 'zero-width'])(
    '%s keeps the function exactly where it says so, or says what it needs',
    async (operator) => {
      using source = openCheckpoint(readFamilyGolden(variant).folder);
      const request = {
        operator,
        target: { hidden_size: source.config.hidden_size + 6, intermediate_size: source.config.intermediate_size + 5 },
      };
      if (source.family.norm !== 'rms') {
        expect(() => planGrowth({ source: source.config, ...request })).toThrow('RMSNorm');
        return;
      }
      const { moved, claimed } = await change(variant, operator, request);
      // Norms of queries and keys share the epsilon that was changed for the stream's: a little off, and said so.
      const shares = source.weights.some(({ role }) => role === 'queryNorm');
      expect([variant, operator, claimed, moved < (shares ? CHANGED : KEPT)]).toEqual([
        variant,
        operator,
        !shares,
        true,
      ]);
    },
  );
});
