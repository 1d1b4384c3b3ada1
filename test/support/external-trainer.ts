import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openCheckpoint, saveModel } from '../../src/interop/index.js';
import { clipScale } from '../../src/optim/index.js';
import { saveOptimizer } from '../../src/train/checkpoint.js';
import type { StageContract, TokenFile } from '../../src/train/external/contract.js';
import { TrainingSession } from '../../src/train/session.js';
import { copyWeights, storedWeights } from '../../src/train/weights.js';

/** How a trainer may fail to do what it was asked for. */
export interface Misdeeds {
  readonly steps?: number;
  readonly lr?: number;
}

/** Rows of a file of token ids. */
function rowsOf(folder: string, { file, dtype, rows }: TokenFile): (row: number) => ArrayLike<number> {
  const bytes = readFileSync(join(folder, file));
  const ids =
    dtype === 'uint16'
      ? new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2)
      : new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  return (row) => ids.subarray((row * ids.length) / rows, ((row + 1) * ids.length) / rows);
}

/** A trainer that knows nothing but the folder: it does what stage.json says with Strata's kernels. Needs the engine to be loaded. */
export function trainExternally(input: string, output: string, misdeeds: Misdeeds = {}): void {
  const stage = JSON.parse(readFileSync(join(input, 'stage.json'), 'utf8')) as StageContract;
  using given = openCheckpoint(join(input, 'model'));
  const { sequenceLength: length } = stage;
  const sequences = stage.batchTokens / length;
  const trainable = new Set(stage.trainable);
  const optimizer = stage.optimizer as { betas: [number, number]; eps: number; weightDecay: number; clip: number };
  const session = new TrainingSession({
    ...{ config: given.config, family: given.family, sequenceLength: length, microBatchSequences: sequences },
    trainable: ({ name }) => trainable.has(name),
    optimizer: {
      beta1: optimizer.betas[0],
      beta2: optimizer.betas[1],
      eps: optimizer.eps,
      weightDecay: optimizer.weightDecay,
    },
    recompute: false,
  });
  try {
    const state = stage.optimizerState;
    copyWeights(given.weights, storedWeights(given, state === null ? undefined : join(input, state.file)), session);
    const batch = {
      inputs: new Int32Array(sequences * length),
      targets: new Int32Array(sequences * length),
      weights: new Float32Array(sequences * length).fill(1 / (sequences * length)),
    };
    let tokenSum = 0;
    const fill = (rows: (row: number) => ArrayLike<number>, first: number): void => {
      for (let i = 0; i < sequences; i++)
        for (let k = 0; k < length; k++) {
          batch.inputs[i * length + k] = rows(first + i)[k]!;
          batch.targets[i * length + k] = rows(first + i)[k + 1]!;
        }
    };
    const probe = rowsOf(input, stage.data.probe);
    let lossAtLoad = 0;
    for (let row = 0; row < stage.data.probe.rows; row += sequences) {
      fill(probe, row);
      for (const loss of session.evaluate(batch)) lossAtLoad += loss / (stage.data.probe.rows * length);
    }
    const rows = rowsOf(input, stage.data.tokens!);
    const steps = misdeeds.steps ?? stage.steps;
    const lines: string[] = [];
    for (let step = 0; step < steps; step++) {
      fill(rows, step * sequences);
      tokenSum += batch.inputs.reduce((sum, id) => sum + id, 0);
      const loss = session.gradient(batch, 0);
      const gradNorm = session.gradientNorm();
      const lr = (misdeeds.lr ?? 1) * stage.schedule.learningRates[step]!;
      session.update({
        learningRate: lr,
        gradientScale: clipScale(gradNorm, optimizer.clip),
        step: (state?.steps ?? 0) + step + 1,
      });
      lines.push(JSON.stringify({ tokens: (step + 1) * stage.batchTokens, loss, lr, gradNorm }));
    }
    mkdirSync(output, { recursive: true });
    saveModel(join(output, 'model'), given.config, (spec) => session.parameter(spec.name) as Float32Array);
    saveOptimizer(join(output, 'optimizer.safetensors'), given.weights, session);
    writeFileSync(join(output, 'records.jsonl'), `${lines.join('\n')}\n`);
    const { firstSequence } = stage.data;
    const result = {
      format: 1,
      trainer: 'stand-in 1.0',
      steps,
      tokens: steps * stage.batchTokens,
      batchTokens: stage.batchTokens,
      data: { firstSequence, numSequences: steps * sequences, tokenSum },
      lossAtLoad,
      optimizerSteps: (state?.steps ?? 0) + steps,
    };
    writeFileSync(join(output, 'result.json'), JSON.stringify(result));
  } finally {
    session.free();
  }
}
