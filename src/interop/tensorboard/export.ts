import { join } from 'node:path';
import { type RunRecord, recordsPath, streamRecords } from '../../records/index.js';
import { writeAtomically } from '../atomic-file.js';
import { fileVersion, type Scalar, scalarEvent } from './events.js';

/** What an export wrote. */
export interface TensorboardResult {
  readonly path: string;
  readonly scalars: number;
}

/**
 * Writes a run's records as a TensorBoard event file.
 *
 * Curves: `train/loss`, `train/lr`, `train/gradNorm`, `train/tokensPerSecond`, `validation/loss`, `growth/lossBefore`, `growth/lossAfter`, `eval/TASK/METRIC`
 * and what measurements found, by step; `flops` and `tokens` beside the training loss.
 *
 * @param run A run folder.
 * @param folder Where the file goes, which `tensorboard --logdir` then names.
 */
export function exportTensorboard(run: string, folder: string): TensorboardResult {
  let scalars = 0;
  const first = streamRecords(recordsPath(run)).next().value?.record.time ?? 0;
  const path = join(folder, `events.out.tfevents.${Math.floor(first)}.strata`);
  writeAtomically(path, (file) => {
    file.write(fileVersion(first));
    let wallTime = first;
    for (const { record } of streamRecords(recordsPath(run))) {
      wallTime = record.time ?? wallTime;
      for (const [tag, value] of curvesOf(record)) {
        const point: Scalar = { tag, value, wallTime, step: (record as { step: number }).step };
        file.write(scalarEvent(point));
        scalars++;
      }
    }
  });
  return { path, scalars };
}

const trainFields = ['loss', 'lr', 'gradNorm', 'tokensPerSecond', 'tokens', 'flops'] as const;

function curvesOf(record: RunRecord): (readonly [tag: string, value: number])[] {
  const numbers = (prefix: string, fields: readonly string[]): (readonly [string, number])[] =>
    fields.flatMap((field) => {
      const value = (record as Record<string, unknown>)[field];
      return typeof value === 'number' ? [[`${prefix}/${field}`, value] as const] : [];
    });
  switch (record.kind) {
    case 'train':
      return numbers('train', trainFields);
    case 'validation':
      return numbers('validation', ['loss']);
    case 'growth':
      return numbers('growth', ['lossBefore', 'lossAfter']);
    case 'eval':
      return [[`eval/${record.task}/${record.metric}`, record.value]];
    case 'event':
      return [];
    default:
      return numbers(
        record.kind,
        Object.keys(record).filter((field) => field !== 'step' && field !== 'time'),
      );
  }
}
