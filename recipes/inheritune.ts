import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { appendLayers, openCheckpoint, type RunCallbacks, type RunInput, type RunResult, train } from '../src/index.js';
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
  /** As the authors' code, which leaves final norm and learned positions at their first draw. */
  readonly faithful?: boolean;
}

/** What the rounds gave, and what was paid for them in all. */
export interface InherituneResult {
  readonly rounds: readonly RunResult[];
  /** The last round reached the reference's loss. */
  readonly reached: boolean;
  /** Exact FLOPs: of the reference, of all rounds together, and both. The method saves inference, not training. */
  readonly flops: { readonly reference: bigint; readonly rounds: bigint; readonly total: bigint };
}

/**
 * One round of Inheritune (Sanyal et al. 2024, arXiv 2404.08634): embedding, head, final norm and the first layers of the reference, trained with a
 * schedule of their own until its loss is reached or the steps are spent.
 *
 * It saves inference, not training: the reference is part of the cost.
 */
export function inheritune(run: Inheritune): RunInput {
  const { from, layers, faithful = false } = run;
  return {
    ...roundFields(run),
    from,
    stages: [
      {
        name: 'inherit',
        kind: 'grow',
        operator: 'inherit',
        model: { num_hidden_layers: layers },
        options: { faithful },
      },
      targetStage(run),
    ],
  };
}

function roundFields(run: Inheritune): Omit<RunInput, 'from' | 'stages'> {
  const { layers } = run;
  const { model: _, ...fields } = commonFields(
    { ...run, model: { num_hidden_layers: layers } },
    `inheritune-${layers}`,
  );
  return fields;
}

const targetStage = ({ loss, steps, lr = 2e-3 }: Inheritune): RunInput['stages'][number] => ({
  name: 'target',
  kind: 'train',
  until: { steps, loss },
  optimizer: { lr },
  schedule: { kind: 'cosine', floor: 0.05, warmup: '2%', horizon: steps },
});

/**
 * All rounds: where a target stays above the reference's loss, a few layers more are taken and it is trained again.
 *
 * @param run.begin What a further round begins with: the reference's layers (the authors' code), or the layers that the round before has
 *   trained, with the reference's next ones on top (the paper's text).
 * @param run.out Folder of the rounds' run folders. The same call goes on where it stopped.
 * @param run.most Layers of the largest target to try.
 */
export async function inherituneRounds(
  run: Inheritune & {
    readonly out: string;
    readonly most: number;
    readonly begin?: 'reference' | 'target';
    readonly callbacks?: RunCallbacks;
    readonly threads?: number;
  },
): Promise<InherituneResult> {
  const { layers, most, more = 2, out, begin = 'reference', from, callbacks, threads } = run;
  const rounds: RunResult[] = [];
  const reference = flopsOf(from);
  let paid = 0n;
  for (let count = layers; count <= most; count += more) {
    const before = rounds.at(-1);
    const round = { ...run, layers: count };
    const input =
      before === undefined || begin === 'reference'
        ? inheritune(round)
        : { ...roundFields(round), from: withLayers(round, before), stages: [targetStage(round)] };
    const result = await train(input, {
      out: join(out, `layers-${count}`),
      ...(callbacks === undefined ? {} : { callbacks }),
      ...(threads === undefined ? {} : { threads }),
    });
    rounds.push(result);
    // A run's FLOPs hold what was paid for what it began with.
    const begun = begin === 'reference' ? reference : reference + paid;
    paid += BigInt(result.flopsExact) - begun;
    if ((result.validationLoss ?? Infinity) <= run.loss) break;
  }
  return {
    rounds,
    reached: (rounds.at(-1)?.validationLoss ?? Infinity) <= run.loss,
    flops: { reference, rounds: paid, total: reference + paid },
  };
}

/** The model of the round before with the reference's next layers on top, as a folder beside the rounds. */
function withLayers({ out, from, layers }: Inheritune & { readonly out: string }, before: RunResult): string {
  const folder = join(out, `begin-${layers}`);
  if (!existsSync(folder)) appendLayers(before.checkpoint, from, layers, folder);
  return folder;
}

/** What a checkpoint's manifest says was paid for it; 0 where it says nothing. */
function flopsOf(reference: string): bigint {
  using checkpoint = openCheckpoint(reference);
  return BigInt(checkpoint.manifest?.flopsExact ?? 0);
}

export default (): RunInput => inheritune({ ...exampleRun, from: 'runs/reference', layers: 6, loss: 3 });
