import { existsSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { isRunFolder, readRunManifest, recordsPath, streamRecords } from '../../records/index.js';
import type { Manifest } from './manifest.js';

/** What one stage of a model's making cost: training, or a growth. */
export interface PaidStage {
  readonly stage: string;
  readonly tokens: number;
  /** Exactly counted, as a decimal number: it can pass 2^53. */
  readonly flopsExact: string;
  /** Of a growth. */
  readonly operator?: string | undefined;
  readonly planHash?: string | undefined;
}

/** The run that a folder is a checkpoint of: RUN in RUN/checkpoints/N. */
function runOf(folder: string): string | undefined {
  const checkpoints = dirname(resolve(folder));
  const run = dirname(checkpoints);
  return basename(checkpoints) === 'checkpoints' && isRunFolder(run) ? run : undefined;
}

/** How people know a checkpoint: a run's by its run and step, any other folder by its own name. */
export function checkpointName(folder: string): string {
  const run = runOf(folder);
  return run === undefined ? basename(resolve(folder)) : `${basename(run)}@${basename(resolve(folder))}`;
}

/**
 * What was paid for a checkpoint, stage by stage: as its manifest has it, else out of the records of its run.
 *
 * @returns Nothing where neither is there, as for a folder of somebody else.
 */
export function paidStages(folder: string, manifest: Manifest | undefined): readonly PaidStage[] {
  if (manifest?.stages !== undefined) return manifest.stages;
  const run = runOf(folder);
  if (run === undefined || manifest?.step === undefined || !existsSync(recordsPath(run))) return [];
  return stagesOfRun(run, manifest.step);
}

function stagesOfRun(run: string, step: number): PaidStage[] {
  const parent = readRunManifest(run).parents[0];
  const stages: PaidStage[] = [];
  let [tokens, flops] = [0, 0n];
  const addUpTo = (stage: string, end: { tokens: number; flops: bigint }, growth: Partial<PaidStage>): void => {
    const last = stages.at(-1);
    const paid = { tokens: end.tokens - tokens, flops: end.flops - flops };
    if (last?.stage === stage)
      stages[stages.length - 1] = {
        ...last,
        tokens: last.tokens + paid.tokens,
        flopsExact: String(BigInt(last.flopsExact) + paid.flops),
      };
    else stages.push({ stage, tokens: paid.tokens, flopsExact: String(paid.flops), ...growth });
    [tokens, flops] = [end.tokens, end.flops];
  };
  if (parent?.flops !== undefined)
    addUpTo(
      checkpointName(parent.path),
      { tokens: parent.tokens ?? 0, flops: exactly(parent.flopsExact, parent.flops) },
      {},
    );
  for (const { record } of streamRecords(recordsPath(run))) {
    if (record.kind !== 'train' && record.kind !== 'growth') continue;
    if (record.step > step) break;
    const end = { tokens: record.tokens, flops: exactly(record.flopsExact, record.flops) };
    const growth = record.kind === 'growth' ? { operator: record.operator, planHash: record.planHash } : {};
    addUpTo(record.stage, end, growth);
  }
  return stages;
}

const exactly = (exact: unknown, rounded: number): bigint =>
  BigInt(typeof exact === 'string' && /^\d+$/.test(exact) ? exact : Math.round(rounded));

/** The stages as a Markdown table; empty where none is known. */
export function stageTable(stages: readonly PaidStage[]): string {
  if (stages.length === 0) return '';
  const rows = stages.map(({ stage, operator, planHash, tokens, flopsExact }) => {
    const what =
      operator === undefined
        ? 'training'
        : `growth by \`${operator}\`${planHash === undefined ? '' : `, plan \`${planHash}\``}`;
    return `| ${stage} | ${what} | ${tokens.toLocaleString('en-US')} | ${flopsExact === '0' ? '0' : Number(flopsExact).toExponential(4)} |`;
  });
  return ['| stage | | tokens | FLOPs |', '|---|---|---:|---:|', ...rows].join('\n');
}
