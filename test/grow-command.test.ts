import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { preset } from '../src/architecture/index.js';
import { executeOnFolder, planGrowth } from '../src/growth/index.js';
import { hashFile, openCheckpoint } from '../src/interop/index.js';
import { writeRandomCheckpoint } from './support/random-checkpoint.js';
import { startStrata, strata } from './support/strata.js';

const root = mkdtempSync(join(tmpdir(), 'strata-grow-command-'));
afterAll(() => rmSync(root, { recursive: true }));
const config = preset('test-tiny');
const base = join(root, 'base');
writeRandomCheckpoint(base, config);
const json = (text: string): Record<string, unknown> => JSON.parse(text) as Record<string, unknown>;

describe('strata grow', () => {
  it('plans without writing, as a document with the fields that scripts read', async () => {
    const { code, stdout } = await strata(['grow', base, '--operator', 'stack', '--factor', '2', '--plan', '--json']);
    expect(code).toBe(0);
    const plan = json(stdout);
    expect(plan).toMatchObject({
      operator: 'stack',
      preservesFunction: { claimed: false },
      source: { num_hidden_layers: 2 },
      target: { num_hidden_layers: 4 },
      connectionRate: 2 / 3,
    });
    expect(plan['planHash']).toBe(planGrowth({ operator: 'stack', source: config, factor: 2 }).planHash);
    expect((plan['tensors'] as Record<string, unknown>)['model.layers.2.mlp.up_proj.weight']).toEqual({
      op: 'copy',
      of: 'model.layers.0.mlp.up_proj.weight',
    });
  });

  it('says how two plans differ', async () => {
    const files = await Promise.all(
      ['bottom', 'top'].map(async (remainder) => {
        const file = join(root, `${remainder}.json`);
        const args = [
          'grow',
          base,
          '--operator',
          'stack',
          '--layers',
          '5',
          '--opt',
          `remainder=${remainder}`,
          '--plan',
          '--json',
        ];
        writeFileSync(file, (await strata(args)).stdout);
        return file;
      }),
    );
    const difference = json((await strata(['grow', '--diff', ...files, '--json'])).stdout);
    // Two layers are 0 1 0 1 0 from the bottom, 0 1 0 1 1 with the last on top: one layer of nine tensors differs.
    expect(Object.keys(difference['changed'] as object)).toHaveLength(9);
    expect(difference).toMatchObject({ equal: false, target: {}, onlyFirst: [], onlySecond: [] });
    expect(json((await strata(['grow', '--diff', files[0]!, files[0]!, '--json'])).stdout)['equal']).toBe(true);
  });

  it.each<[string, string[], string]>([
    ['no operator', [base, '--out', 'x'], '--operator'],
    ['an unknown operator', [base, '--operator', 'stak', '--plan'], 'did you mean "stack"?'],
    [
      'an unknown option',
      [base, '--operator', 'stack', '--factor', '2', '--plan', '--opt', 'remander=top'],
      'did you mean "remainder"?',
    ],
    ['no target', [base, '--operator', 'stack', '--plan'], '--factor or --layers'],
    ['no folder to write', [base, '--operator', 'stack', '--factor', '2'], '--out'],
    [
      'no such checkpoint',
      ['nowhere', '--operator', 'stack', '--factor', '2', '--plan'],
      'there is no such checkpoint',
    ],
    ['a bad factor', [base, '--operator', 'stack', '--factor', 'two', '--plan'], '--factor'],
    ['a folder in the way', [base, '--operator', 'stack', '--factor', '2', '--out', base], 'already exists'],
    ['an operator that learns', [base, '--operator', 'ligo-depth', '--factor', '2', '--out', 'x'], 'learns'],
  ])('refuses %s in one sentence', async (_, args, message) => {
    const { code, stderr } = await strata(['grow', ...args], { cwd: root });
    expect([code, stderr.includes(message), stderr.includes('    at ')]).toEqual([2, true, false]);
  });

  it('survives a kill: nothing under the name, and the same command ends with the same bytes', async () => {
    const large = preset('test-medium', { vocab_size: 256 });
    const source = join(root, 'large');
    writeRandomCheckpoint(source, large);
    const expected = join(root, 'expected');
    using checkpoint = openCheckpoint(source);
    await executeOnFolder(planGrowth({ operator: 'stack', source: large, factor: 8 }), checkpoint, expected);
    const out = join(root, 'killed');
    const args = ['grow', source, '--operator', 'stack', '--factor', '8', '--out', out];
    const { child, finished } = startStrata(args);
    const partial = join(`${out}.partial`, 'model.safetensors');
    while (child.exitCode === null && !(existsSync(partial) && statSync(partial).size > 16 << 20))
      await new Promise((resolve) => setTimeout(resolve, 2));
    child.kill('SIGKILL');
    const { code } = await finished;
    expect([code, existsSync(out)]).toEqual([null, false]);
    expect((await strata([...args, '--verify'])).code).toBe(0);
    expect(hashFile(join(out, 'model.safetensors'))).toEqual(hashFile(join(expected, 'model.safetensors')));
    expect(existsSync(`${out}.partial`)).toBe(false);
  });
});

describe('strata inspect and operators', () => {
  it('print documents', async () => {
    const inspected = json((await strata(['inspect', base, '--json'])).stdout);
    expect(inspected).toMatchObject({ modelType: 'llama', sound: true });
    const listed = JSON.parse((await strata(['operators', '--json'])).stdout) as { id: string }[];
    expect(listed.map(({ id }) => id)).toContain('stack');
    expect(json((await strata(['operators', 'lemon', '--json'])).stdout)).toMatchObject({
      id: 'lemon',
      direction: 'width',
    });
  });
});
