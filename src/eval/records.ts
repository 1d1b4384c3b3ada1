import type { EvalRecord } from '../records/index.js';
import type { TaskResult } from './evaluate.js';

/** Where in its run a model stands. */
export interface RunPosition {
  readonly step: number;
  readonly tokens: number;
  readonly flops: number;
  readonly flopsExact?: string | undefined;
}

/** The records of a task's result: one per metric. */
export function evalRecords(
  { task, metrics, chance, nearChance, documents }: TaskResult,
  at: RunPosition,
): EvalRecord[] {
  return Object.entries(metrics).map(([metric, { value, stderr }]) => ({
    kind: 'eval',
    step: at.step,
    tokens: at.tokens,
    flops: at.flops,
    ...(at.flopsExact === undefined ? {} : { flopsExact: at.flopsExact }),
    task: task.task.name,
    metric,
    value,
    ...(stderr === undefined || Number.isNaN(stderr) ? {} : { stderr }),
    documents: documents.length,
    ...(task.fewShot > 0 ? { fewShot: task.fewShot } : {}),
    ...(metric.startsWith('acc') && chance !== undefined ? { chance, nearChance: nearChance.includes(metric) } : {}),
  }));
}
