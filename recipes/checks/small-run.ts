import type { RunInput } from '../../src/index.js';
import { commonFields } from '../stackbert.js';
import { smallModel } from './settings.js';

/** A run of the small checks: what it begins with, what grows it, and one stage that trains. */
export interface SmallRun {
  readonly name: string;
  /** Folder of token shards. */
  readonly data: string;
  readonly seed: number;
  readonly steps: number;
  /** Fields that differ from the small model trained from scratch, such as `from` or `model`. */
  readonly begin?: Partial<RunInput>;
  readonly grow?: RunInput['stages'];
  readonly lr?: number;
  /** Fields of the stage that trains. */
  readonly stage?: object;
}

const LR = 4e-3;

/** 2,048 tokens a step in sequences of 128, one cosine, one validation at the end. */
export function smallRun({ name, data, seed, steps, begin = {}, grow = [], lr = LR, stage = {} }: SmallRun): RunInput {
  const common = { data, model: smallModel, steps, seed, sequenceLength: 128, batchTokens: 2048 };
  const { model, ...fields } = commonFields(common, name);
  const schedule = { kind: 'cosine', warmup: '5%', floor: 0.05 } as const;
  return {
    ...fields,
    checkpoints: { every: steps, keepLast: 1 },
    validation: { every: steps, tokens: 65536 },
    ...('from' in begin ? {} : { model }),
    ...begin,
    stages: [...grow, { name: 'train', kind: 'train', until: { steps }, optimizer: { lr }, schedule, ...stage }],
  } as RunInput;
}
