import { readFileSync } from 'node:fs';
import { recordsPath } from '../../records/index.js';

/** Time and memory of a stage's steps. */
export interface MeasuredCost {
  /** Exact FLOPs of a token. */
  readonly flopsPerToken: number;
  /** Median over the steps, the first left out. */
  readonly secondsPerToken: number | undefined;
  readonly forecastBytes: number | undefined;
  /** Bytes that the engine held at the end of the stage. */
  readonly countedBytes: number | undefined;
}

interface Line {
  readonly kind?: string;
  readonly name?: string;
  readonly stage?: string;
  readonly tokens?: number;
  readonly flops?: number;
  readonly tokensPerSecond?: number;
  readonly forecastBytes?: number;
  readonly countedBytes?: number;
}

/** What the records of a run say of a stage; undefined where they have fewer than two steps of it. */
export function measuredCost(folder: string, stage: string): MeasuredCost | undefined {
  const lines = readFileSync(recordsPath(folder), 'utf8')
    .split('\n')
    .filter((line) => line.includes(`"${stage}"`))
    .map((line) => JSON.parse(line) as Line)
    .filter((line) => line.stage === stage);
  const steps = lines.filter(({ kind }) => kind === 'train');
  const [first, last] = [steps[0], steps.at(-1)];
  if (first === undefined || last === undefined || steps.length < 2) return undefined;
  const memory = lines.findLast(({ kind, name }) => kind === 'event' && name === 'memory');
  const rates = steps.slice(1).flatMap(({ tokensPerSecond }) => tokensPerSecond ?? []);
  const median = rates.sort((a, b) => a - b)[Math.floor(rates.length / 2)];
  return {
    flopsPerToken: (last.flops! - first.flops!) / (last.tokens! - first.tokens!),
    secondsPerToken: median === undefined || median === 0 ? undefined : 1 / median,
    forecastBytes: memory?.forecastBytes,
    countedBytes: memory?.countedBytes,
  };
}
