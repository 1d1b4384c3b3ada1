import { join } from 'node:path';
import { type RunCallbacks, type RunInput, type RunResult, train } from '../src/index.js';
import { commonFields, exampleRun, type GrowingRun } from './stackbert.js';

/** What Inheritune needs beside a run's fields; `model` is the reference's and can be left out with `from`. */
export interface Inheritune extends Omit<GrowingRun, 'model'> {
  /** The reference: a checkpoint or run folder. */
  readonly from: string;
  /** Layers of the first target, half of the reference's in the paper. */
  readonly layers: number;
  /** Validation loss of the reference, at which a target is good enough. */
  readonly loss: number;
  /** Layers more in each round. */
  readonly more?: number;
}

/**
 * One round of Inheritune (Sanyal et al. 2024, arXiv 2404.08634): embedding, head, final norm and the first layers of the reference, trained with a
 * schedule of their own until its loss is reached or the steps are spent.
 *
 * It saves inference, not training: the reference is part of the cost.
 */
export function inheritune(run: Inheritune): RunInput {
  const { from, layers, loss, steps, lr = 2e-3 } = run;
  const { model: _, ...fields } = commonFields(
    { ...run, model: { num_hidden_layers: layers } },
    `inheritune-${layers}`,
  );
  return {
    ...fields,
    from,
    stages: [
      { name: 'inherit', kind: 'grow', operator: 'inherit', model: { num_hidden_layers: layers } },
      {
        name: 'target',
        kind: 'train',
        until: { steps, loss },
        optimizer: { lr },
        schedule: { kind: 'cosine', floor: 0.05, warmup: '2%', horizon: steps },
      },
    ],
  };
}

/**
 * All rounds: where a target stays above the reference's loss, two layers more are taken from the reference, again from its weights.
 *
 * @param out Folder of the rounds' run folders.
 * @param most Layers of the largest target to try.
 */
export async function inherituneRounds(
  run: Inheritune & {
    readonly out: string;
    readonly most: number;
    readonly callbacks?: RunCallbacks;
    readonly threads?: number;
  },
): Promise<readonly RunResult[]> {
  const { layers, most, more = 2, out, callbacks, threads } = run;
  const results: RunResult[] = [];
  for (let count = layers; count <= most; count += more) {
    const result = await train(inheritune({ ...run, layers: count }), {
      out: join(out, `layers-${count}`),
      ...(callbacks === undefined ? {} : { callbacks }),
      ...(threads === undefined ? {} : { threads }),
    });
    results.push(result);
    if ((result.validationLoss ?? Infinity) <= run.loss) break;
  }
  return results;
}

export default (): RunInput => inheritune({ ...exampleRun, from: 'runs/reference', layers: 6, loss: 3 });
