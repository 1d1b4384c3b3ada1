import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildTinyData } from '../../../test/support/tiny-run.js';
import { fillParameters, stepShape } from '../../../test/support/step.js';
import { openDataset } from '../../data/index.js';
import { counters } from '../../engine/buffers.js';
import { loadLibtorch } from '../../engine/libtorch/load.js';
import { TrainingSession } from '../../train/session.js';
import { compareRow, measureAgreement } from './agreement.js';

loadLibtorch({ threads: 1 });
const folder = mkdtempSync(join(tmpdir(), 'strata-agreement-'));
let data = '';
beforeAll(async () => {
  data = await buildTinyData(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('two rows of logits', () => {
  it('diverge by p log(p / q): [1/2, 1/2] from [3/4, 1/4] by log 2 - log(3) / 2', () => {
    const [p, q] = [
      [0, 7, 7],
      [0, Math.log(3), 0],
    ];
    const found = compareRow(p, q, 1, 2);
    expect(found.kl).toBeCloseTo(Math.log(2) - Math.log(3) / 2, 12);
    expect(found.match).toBe(true);
    // The other way round: 3/4 log(3/2) + 1/4 log(1/2).
    expect(compareRow(q, p, 1, 2).kl).toBeCloseTo(0.75 * Math.log(1.5) - 0.25 * Math.log(2), 12);
  });

  it('match where the largest is the same, whatever is added to all', () => {
    expect(compareRow([1, 2, 0], [101, 102, 100], 0, 3)).toEqual({ kl: expect.closeTo(0, 12) as number, match: true });
    expect(compareRow([1, 2, 0], [3, 2, 0], 0, 3).match).toBe(false);
  });
});

describe('agreement of models', () => {
  it('is the mean over tokens that the losses of both, computed by training, bear out', async () => {
    const before = counters();
    {
      using dataset = openDataset(join(data, 'validation'));
      const shape = stepShape({ vocab_size: 320 }, { sequenceLength: 32, microBatchSequences: 4 });
      using small = new TrainingSession(
        stepShape({ vocab_size: 320, num_hidden_layers: 2 }, { sequenceLength: 32, microBatchSequences: 4 }),
      );
      using large = new TrainingSession(shape);
      fillParameters(small, stepShape({ vocab_size: 320, num_hidden_layers: 2 }), 3);
      fillParameters(large, shape, 4);
      const options = { tokens: 128, length: 32 };
      const itself = await measureAgreement(small.model, small.model, dataset, options);
      expect(itself).toEqual({ kl: expect.closeTo(0, 6) as number, topOneMatch: 1, tokens: 128 });
      const { kl } = await measureAgreement(small.model, large.model, dataset, options);
      expect(kl).toBeGreaterThan(0);
      // By definition, from the probabilities of every token as training's losses give them.
      const targets = new Int32Array(128);
      const inputs = new Int32Array(128);
      for (let s = 0; s < 4; s++)
        dataset.read(Math.floor((s * (dataset.tokens - 32)) / 4), 32, inputs.subarray(32 * s, 32 * s + 32));
      let sum = 0;
      for (let token = 0; token < 320; token++) {
        targets.fill(token);
        const p = small.evaluate({ inputs, targets }).slice();
        const q = large.evaluate({ inputs, targets });
        p.forEach((loss, i) => (sum += Math.exp(-loss) * (q[i]! - loss)));
      }
      expect(kl).toBeCloseTo(sum / 128, 4);
    }
    expect(counters()).toEqual(before);
  });

  it('needs one vocabulary', async () => {
    using dataset = openDataset(join(data, 'validation'));
    using a = new TrainingSession(stepShape({ vocab_size: 320 }));
    using b = new TrainingSession(stepShape({ vocab_size: 330 }));
    await expect(measureAgreement(a.model, b.model, dataset)).rejects.toThrow(/one vocabulary, found 320 and 330/);
  });
});
