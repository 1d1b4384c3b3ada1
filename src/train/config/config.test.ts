import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { InputError } from '../../errors.js';
import { loadConfig, parseConfig } from './load.js';
import { parseQuantity, stepsOf } from './quantity.js';
import type { RunConfigInput } from './schema.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

const write = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};

const yaml = `name: grown
model: {hidden_size: 64, num_hidden_layers: 8, num_attention_heads: 4, intermediate_size: 176}
data:
  train: shards
  sequenceLength: 128
  batchTokens: 4k
stages:
  - name: base
    kind: train
    model: {num_hidden_layers: 2}
    until: {tokens: 600k}
    optimizer: {lr: 4e-3}
  - {name: stack, kind: grow, operator: stack, factor: 4}
  - name: target
    kind: train
    until: {flops: 4.9e13}
    optimizer:
      lr: 2e-3
    schedule: {kind: wsd, cooldown: 25%}
`;

const failure = async (text: string, settings: string[] = [], name = 'bad.yaml'): Promise<string> => {
  const path = write(name, text);
  const error = await loadConfig(path, settings).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(InputError);
  return (error as Error).message.replaceAll(`${folder}/`, '');
};

describe('a run config', () => {
  it('reads YAML, fills in defaults and says where each value came from', async () => {
    const path = write('run.yaml', yaml);
    const { config, sources } = await loadConfig(path, ['stages.target.optimizer.lr=1e-3', 'seed=7']);
    const target = config.stages[2];
    if (target?.kind !== 'train') throw new Error('no train stage');
    expect(target.optimizer).toEqual({
      kind: 'adamw',
      lr: 1e-3,
      betas: [0.9, 0.95],
      eps: 1e-8,
      weightDecay: 0.1,
      clip: 1,
    });
    expect(target.schedule).toEqual({ kind: 'wsd', warmup: '5%', cooldown: '25%', floor: 0 });
    expect(config.stages[0]).toMatchObject({ until: { tokens: 600_000 }, schedule: { kind: 'cosine', floor: 0.1 } });
    expect(config.data.batchTokens).toBe(4000);
    expect(config.seed).toBe(7);
    expect(sources['stages.2.optimizer.lr']).toBe('--set');
    expect(sources['seed']).toBe('--set');
    expect(sources['stages.2.schedule.kind']).toBe(`${path}:19`);
    expect(sources['stages.2.optimizer.clip']).toBe('default');
    expect(sources['data.sequenceLength']).toBe(`${path}:5`);
  });

  it('reads the same from JSON', async () => {
    const { config } = await loadConfig(write('run.yaml', yaml));
    const given = { ...config, stages: config.stages };
    const { config: again } = await loadConfig(write('run.json', JSON.stringify(given, null, 2)));
    expect(again).toEqual(config);
  });

  it('runs a recipe in TypeScript', async () => {
    const recipe = `enum Size { small = 64 }
interface Options { lr: number }
export default function ({ lr }: Options = { lr: 3e-3 }) {
  return { name: 'recipe', model: { hidden_size: Size.small }, data: { train: 'd', sequenceLength: 8, batchTokens: 64 },
    stages: [{ name: 'only', kind: 'train', until: { steps: 3 }, optimizer: { lr } }] };
}`;
    const { config } = await loadConfig(write('recipe.ts', recipe));
    expect(config.stages[0]).toMatchObject({ until: { steps: 3 }, optimizer: { lr: 3e-3 } });
  });

  it('sets values below paths that the file does not have, and by index', async () => {
    const { config } = await loadConfig(write('run.yaml', yaml), [
      'checkpoints.every=7',
      'stages.0.schedule.kind=linear',
    ]);
    expect(config.checkpoints.every).toBe(7);
    expect(config.stages[0]).toMatchObject({ schedule: { kind: 'linear', floor: 0 } });
  });

  it('takes a config as a value', () => {
    const input: RunConfigInput = {
      name: 'value',
      data: { train: 'd', sequenceLength: 8, batchTokens: 64 },
      stages: [{ name: 'only', kind: 'train', until: { tokens: '10B' }, optimizer: { lr: 1 } }],
    };
    expect(parseConfig(input).config.stages[0]).toMatchObject({ until: { tokens: 1e10 } });
    expect(input.stages[0]).toHaveProperty('until', { tokens: '10B' });
  });
});

describe('a bad config is one sentence with file, line and field', () => {
  it.each([
    [
      'misspelt field',
      ['batchTokens', 'batchTokns'],
      'bad.yaml:6: unknown field "data.batchTokns" (did you mean "batchTokens"?).',
    ],
    [
      'misspelt field of a stage',
      ['lr: 2e-3', 'learningrate: 2e-3'],
      'bad.yaml:18: unknown field "stages.2.optimizer.learningrate".',
    ],
    [
      'misspelt field of a schedule',
      ['cooldown: 25%', 'coldown: 25%'],
      'bad.yaml:19: unknown field "stages.2.schedule.coldown" (did you mean "cooldown"?).',
    ],
    [
      'wrong type',
      ['sequenceLength: 128', 'sequenceLength: long'],
      'bad.yaml:5: field "data.sequenceLength": expected a whole number, found "long".',
    ],
    [
      'negative rate',
      ['lr: 2e-3', 'lr: -1'],
      'bad.yaml:18: field "stages.2.optimizer.lr": Too small: expected number to be >0, found -1.',
    ],
    [
      'no quantity',
      ['600k', 'many'],
      'bad.yaml:11: field "stages.0.until.tokens": expected a positive number or a text such as "10B", found "many".',
    ],
    [
      'empty until',
      ['{flops: 4.9e13}', '{}'],
      'bad.yaml:16: field "stages.2.until": expected at least one of tokens, steps, flops, loss, found {}.',
    ],
    ['same name twice', ['name: target', 'name: base'], /stages need different names/],
    ['no YAML', ['data:', 'data: ]'], /^bad.yaml:3: /],
  ])('%s', async (_, [from, to], message) => {
    const text = await failure(yaml.replace(from!, to!));
    if (typeof message === 'string') expect(text).toBe(message);
    else expect(text).toMatch(message);
  });

  it('missing field', async () => {
    expect(await failure(yaml.replace('  batchTokens: 4k\n', ''))).toBe(
      'bad.yaml:4: field "data.batchTokens" is missing.',
    );
  });

  it('names --set where the value came from there', async () => {
    expect(await failure(yaml, ['stages.target.optimizer.lr=fast'])).toMatch(
      /^--set stages.2.optimizer.lr: field "stages.2.optimizer.lr": expected number, .*found "fast".$/,
    );
    expect(await failure(yaml, ['stages.targt.optimizer.lr=1'])).toMatch(
      /no element "targt" \(did you mean "target"\?\)/,
    );
    expect(await failure(yaml, ['seed'])).toMatch(/expected path=value/);
    expect(await failure(yaml, ['__proto__.polluted=1'])).toMatch(/no field name/);
  });

  it('refuses what is not there, or is called otherwise, with a reason', async () => {
    expect(await failure(`${yaml}  - {name: far, kind: external, contract: x}\n`)).toMatch(
      /a stage of another trainer is \{kind: train, external/,
    );
  });

  it('refuses files that are no configs', async () => {
    expect(await failure('just a text')).toMatch(/expected the fields of a run's config/);
    expect(await failure('')).toMatch(/expected the fields/);
    expect(await failure('export default 3', [], 'bad.ts')).toMatch(/expected the fields/);
    expect(await failure('throw new Error("boom")', [], 'bad2.ts')).toMatch(/bad2.ts cannot be run: boom/);
    await expect(loadConfig(join(folder, 'none.yaml'))).rejects.toThrow(/none.yaml does not exist/);
  });
});

describe('quantities', () => {
  it.each([
    ['10B', 1e10],
    ['600k', 6e5],
    ['4.9e13', 4.9e13],
    ['1.1M', 1_100_000],
    ['2T', 2e12],
    ['17', 17],
    ['ten', undefined],
    ['1e', undefined],
    ['', undefined],
    ['-5', undefined],
  ])('%s', (text, expected) => expect(parseQuantity(text)).toBe(expected));

  it('shares of a stage become steps', () => {
    expect(stepsOf('5%', 600)).toBe(30);
    expect(stepsOf(40, 600)).toBe(40);
  });
});
