import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint, readRun, train } from '../src/index.js';
import { buildTinyData, tinyRun } from '../test/support/tiny-run.js';
import { inherituneRounds } from './inheritune.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-inheritune-'));
let data = '';
let from = '';
beforeAll(async () => {
  data = await buildTinyData(folder);
  const { model, data: fields } = tinyRun(data);
  const deep = { ...(model as object), num_hidden_layers: 4 };
  const stages = [{ name: 'all', kind: 'train' as const, until: { steps: 4 }, optimizer: { lr: 4e-3 } }];
  const run = { ...tinyRun(data), data: fields, model: deep, stages };
  ({ checkpoint: from } = await train(run, { out: join(folder, 'reference'), threads: 1 }));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Rounds of 2 steps with 1, 2 and 3 layers that never reach their loss. */
const rounds = (out: string, begin: 'reference' | 'target') => {
  const { sequenceLength, batchTokens } = tinyRun(data).data;
  return inherituneRounds({
    data,
    from,
    layers: 1,
    most: 3,
    more: 1,
    steps: 2,
    loss: 0.1,
    sequenceLength,
    batchTokens: Number(batchTokens),
    out: join(folder, out),
    begin,
    threads: 1,
  });
};

describe('the rounds of Inheritune', () => {
  it.each(['reference', 'target'] as const)(
    'begin with the %s and book the reference and every round',
    async (begin) => {
      const found = await rounds(begin, begin);
      expect(found.reached).toBe(false);
      expect(found.rounds.map(({ checkpoint }) => openCheckpoint(checkpoint).config.num_hidden_layers)).toEqual([
        1, 2, 3,
      ]);
      const spent = found.rounds.map((round) => {
        const { flopsExact, flops } = {
          flopsExact: BigInt(round.flopsExact),
          flops: readRun(round.folder).records.train.flops,
        };
        // The second step's share is that of the first.
        return { own: 2n * BigInt(Math.round(flops[1]! - flops[0]!)), flopsExact };
      });
      const own = spent.reduce((sum, { own: cost }) => sum + cost, 0n);
      const reference = BigInt(openCheckpoint(from).manifest!.flopsExact!);
      expect(found.flops).toEqual({ reference, rounds: own, total: reference + own });
      // Rounds that go on from each other carry what the ones before have paid.
      expect(spent.at(-1)!.flopsExact).toBe(begin === 'target' ? reference + own : reference + spent.at(-1)!.own);
    },
  );
});
