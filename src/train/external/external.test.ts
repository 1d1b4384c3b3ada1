import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { trainExternally } from '../../../test/support/external-trainer.js';
import { buildTinyData, tinyRun } from '../../../test/support/tiny-run.js';
import { buildChat } from '../../data/index.js';
import { InputError } from '../../errors.js';
import { openCheckpoint, readModelConfig, saveModel } from '../../interop/index.js';
import { readRun } from '../../records/index.js';
import { parseConfig, type RunConfigInput } from '../config/index.js';
import type { externalSchema } from '../config/schema.js';
import { dryRun } from '../dry-run.js';
import { openEngine } from '../engine.js';
import { runTraining } from '../run.js';
import { fillCommand } from './command.js';
import { HandedOver } from './handed-over.js';

const root = mkdtempSync(join(tmpdir(), 'strata-external-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const ELSEWHERE = { command: 'train {input} {output}', where: 'elsewhere' } as const;
const STEPS = { base: 6, target: 5 };
let data: string;

/** Base, stack, target and a last stage that goes on with the target's optimizer state. */
function config(external: z.input<typeof externalSchema> | undefined): RunConfigInput {
  const run = tinyRun(data, STEPS);
  const [base, stack, target] = run.stages;
  const last = {
    name: 'last',
    kind: 'train' as const,
    until: { steps: 4 },
    optimizer: { lr: 2e-3 },
    schedule: { kind: 'wsd' as const, warmup: 0, cooldown: 4 },
  };
  const outside = external === undefined ? {} : { external };
  return {
    ...run,
    microBatch: 8,
    stages: [base!, stack!, { ...target!, ...outside } as typeof last, { ...last, ...outside }],
  };
}

const run = (folder: string, run: RunConfigInput) =>
  runTraining(parseConfig(run), { out: join(root, folder), threads: 1 });
const stageFolder = (folder: string, stage: string): string => join(root, folder, 'external', stage);

beforeAll(async () => {
  data = await buildTinyData(join(root, 'data'));
  openEngine(1);
}, 60_000);

describe('a stage of another trainer', () => {
  it('hands over all that training needs, and takes back the same bits as a stage of its own', async () => {
    const own = await run('own', config(undefined));
    await expect(run('outside', config(ELSEWHERE))).rejects.toThrow(HandedOver);
    trainExternally(join(stageFolder('outside', 'target'), 'input'), join(stageFolder('outside', 'target'), 'output'));
    // The second outside stage begins with the state that came back from the first.
    await expect(run('outside', config(ELSEWHERE))).rejects.toThrow(/train .*last\/input .*last\/output/);
    trainExternally(join(stageFolder('outside', 'last'), 'input'), join(stageFolder('outside', 'last'), 'output'));
    const outside = await run('outside', config(ELSEWHERE));
    expect(outside).toMatchObject({
      steps: own.steps,
      tokens: own.tokens,
      flopsExact: own.flopsExact,
      validationLoss: own.validationLoss,
    });
    using ours = openCheckpoint(own.checkpoint);
    using theirs = openCheckpoint(outside.checkpoint);
    for (const { name } of ours.weights) expect(theirs.read(name)).toEqual(ours.read(name));
    const [a, b] = [readRun(own.folder).records, readRun(outside.folder).records];
    expect([...b.train.loss.subarray(0, b.train.length)]).toEqual([...a.train.loss.subarray(0, a.train.length)]);
    expect(b.events.filter(({ name }) => name === 'external')).toMatchObject([
      { stage: 'target', trainer: 'stand-in 1.0', optimizerState: 'returned', dataChecked: 'sum of tokens' },
      { stage: 'last' },
    ]);
    // Repeating the command of a finished run does nothing.
    expect((await run('outside', config(ELSEWHERE))).wasFinished).toBe(true);
  });

  describe('refuses by name', () => {
    let output: string;
    const file = (name: string): string => join(output, name);
    const edit = (name: string, change: (text: string) => string): void =>
      writeFileSync(file(name), change(readFileSync(file(name), 'utf8')));
    const result = (changes: object): void =>
      edit('result.json', (text) => JSON.stringify({ ...(JSON.parse(text) as object), ...changes }));

    beforeAll(async () => {
      await expect(run('refused', config(ELSEWHERE))).rejects.toThrow(HandedOver);
      output = join(stageFolder('refused', 'target'), 'output');
      trainExternally(join(stageFolder('refused', 'target'), 'input'), join(root, 'good'));
    });

    const batch = 512;
    it.each<[string, () => void, RegExp]>([
      ['too few steps', () => result({ steps: 4 }), /result\.json: steps: expected 5, found 4/],
      ['a wrong token count', () => result({ tokens: 7 }), /result\.json: tokens: expected 2560, found 7/],
      ['another batch', () => result({ batchTokens: 256 }), /batchTokens: expected 512, found 256/],
      [
        'another data range',
        () => result({ data: { firstSequence: 0, numSequences: 40 } }),
        /data\.firstSequence: expected 48, found 0/,
      ],
      [
        'other tokens than it says',
        () => result({ data: { firstSequence: 48, numSequences: 40, tokenSum: 99 } }),
        /data\.tokenSum: expected \d+, found 99/,
      ],
      [
        'a model that it read wrongly',
        () => result({ lossAtLoad: 9.9 }),
        /lossAtLoad: expected \d\.\d+ as Strata measures it, within 0\.02, found 9\.9/,
      ],
      ['a missing field', () => result({ trainer: undefined }), /result\.json: .*trainer/],
      [
        'records that end early',
        () => edit('records.jsonl', (text) => text.split('\n').slice(0, 3).join('\n')),
        /records\.jsonl: tokens: expected a last line at 2560, found 1536/,
      ],
      [
        'half a batch',
        () => edit('records.jsonl', (text) => text.replace(`"tokens":${batch},`, '"tokens":300,')),
        /records\.jsonl:1: tokens: expected a multiple of the batch of 512, found 300/,
      ],
      [
        'another schedule',
        () => edit('records.jsonl', (text) => text.replace(/("tokens":1024.*"lr":)[^,]+/, '$10.5')),
        /records\.jsonl:2: lr: expected the schedule's 0\.\d+, found 0\.5/,
      ],
      [
        'another first batch',
        () => edit('records.jsonl', (text) => text.replace(/"loss":[^,]+/, '"loss":1.5')),
        /records\.jsonl:1: loss: expected .* found 1\.5/,
      ],
      [
        'no JSON',
        () => edit('records.jsonl', (text) => text.replace('{', '[')),
        /records\.jsonl:1 cannot be read as JSON/,
      ],
      ['no records', () => rmSync(file('records.jsonl')), /records\.jsonl is missing/],
      [
        'an unchanged checkpoint',
        () => cpSync(join(stageFolder('refused', 'target'), 'input', 'model'), file('model'), { recursive: true }),
        /the checkpoint is unchanged/,
      ],
      [
        'a wrong shape',
        () => edit('model/config.json', (text) => text.replace('"intermediate_size": 160', '"intermediate_size": 128')),
        /tensor "model\.layers\.0\.mlp\.\w+\.weight" must have shape \[/,
      ],
      [
        'another model',
        () => edit('model/config.json', (text) => text.replace(/("rms_norm_eps": )[^,]+/, '$10.1')),
        /config\.json: not the model that was handed over: rms_norm_eps is/,
      ],
      [
        'a weight that is no number',
        () => spoil(file('model'), 'model.norm.weight'),
        /weight "model\.norm\.weight": expected finite numbers, found NaN/,
      ],
    ])('%s', async (_, misdeed, message) => {
      rmSync(output, { recursive: true, force: true });
      cpSync(join(root, 'good'), output, { recursive: true });
      misdeed();
      const error = await run('refused', config(ELSEWHERE)).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error).toBeInstanceOf(InputError);
      expect((error as Error).message).toMatch(message);
      expect((error as Error).message).toMatch(
        /the stage is refused\. Remove .*output to have it trained again\.$|must have shape|cannot be read|missing/,
      );
    });

    it('and then takes what is right', async () => {
      rmSync(output, { recursive: true, force: true });
      cpSync(join(root, 'good'), output, { recursive: true });
      await expect(run('refused', config(ELSEWHERE))).rejects.toThrow(/Stage "last" is handed over/);
    });
  });

  it('is refused where another trainer cannot do it', () => {
    const [base] = tinyRun(data).stages;
    const withLoss = {
      ...tinyRun(data),
      stages: [{ ...base!, until: { loss: 3 }, schedule: { kind: 'constant', warmup: 2 }, external: ELSEWHERE }],
    } as RunConfigInput;
    return expect(run('never', withLoss)).rejects.toThrow(
      /until": the stage of another trainer ends by tokens, steps or FLOPs/,
    );
  });

  it('is refused before anything is trained where answers are masked, which a trainer outside would not see', async () => {
    const sample = (file: string): string =>
      fileURLToPath(new URL(`../../../corpora/conversations-sample/${file}`, import.meta.url));
    const chat = join(root, 'chat');
    await buildChat({
      inputs: [sample('train.jsonl')],
      validation: [sample('validation.jsonl')],
      tokenizer: join(root, 'data', 'tokenizer.json'),
      out: chat,
    });
    const onChat = (external: z.input<typeof externalSchema> | undefined, train: string, validation: string) => {
      const { data: text, ...rest } = config(external);
      return parseConfig({ ...rest, data: { ...text, train, validation, maxEpochs: 1000 } });
    };
    const refused = (train: string, validation: string, found: string): Promise<void> =>
      expect(runTraining(onChat(ELSEWHERE, train, validation), { out: join(root, 'chat-run') })).rejects.toThrow(
        `field "stages.2.external": expected text, found conversations with a mask of answers in ${found}, which another trainer would not get.`,
      );
    await refused(chat, data, join(chat, 'train'));
    await refused(data, chat, join(chat, 'validation'));
    expect(existsSync(join(root, 'chat-run', 'records.jsonl'))).toBe(false);
    expect(dryRun(onChat(undefined, chat, chat)).stages).toHaveLength(4);
    expect(() => dryRun(onChat(ELSEWHERE, chat, chat))).toThrow(/found conversations with a mask of answers/);
  });

  it('fills in commands with paths quoted for the shell', () => {
    const external = {
      command: 'torchrun --nproc-per-node 8 {adapter} {input} {output}',
      adapter: "my adapters/it's.py",
      where: 'here',
      data: 'tokens',
    } as const;
    expect(fillCommand(external, 'a/in', 'a/out')).toBe(
      `torchrun --nproc-per-node 8 'my adapters/it'\\''s.py' a/in a/out`,
    );
  });
});

/** Puts NaN into a weight. */
function spoil(folder: string, name: string): void {
  const weights = new Map<string, Float32Array>();
  {
    using checkpoint = openCheckpoint(folder);
    for (const spec of checkpoint.weights) weights.set(spec.name, checkpoint.read(spec.name));
  }
  weights.get(name)![0] = NaN;
  saveModel(folder, readModelConfig(folder), (spec) => weights.get(spec.name)!);
}
