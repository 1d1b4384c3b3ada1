import { fusedKernelsEnabled, kernelBuild } from './kernels/index.js';

/** What a draw needs to know of all logits. */
export interface LogitSummary {
  /** Index of the largest; the lowest of equal ones. */
  best: number;
  /** log of the sum of e^x. */
  logSumExp: number;
  /** Sum of e^((x - largest) / temperature); 0 at temperature 0. */
  temperedSum: number;
}

/** Passes over all logits of a token. */
export interface LogitPasses {
  /** Valid until the next call. */
  summarise(logits: Float32Array, temperature: number): Readonly<LogitSummary>;
  /** The token at which the running sum of e^((x - largest) / temperature) passes `uniform` of its total. */
  draw(logits: Float32Array, temperature: number, summary: Readonly<LogitSummary>, uniform: number): number;
}

type Pass = (logits: Float32Array, cells: BigInt64Array) => void;

/** The passes in C; undefined where there are no compiled kernels. libtorch must be loaded. */
export function compiledLogitPasses(): LogitPasses | undefined {
  const build = fusedKernelsEnabled() ? kernelBuild() : undefined;
  if (build === undefined || 'reason' in build) return undefined;
  const bind = (name: string): Pass => build.library.func(`void ${name}(void *, void *)`) as unknown as Pass;
  const [summarise, draw] = [bind('summariseLogits'), bind('drawLogit')];
  const cells = new BigInt64Array(5);
  const numbers = new Float64Array(cells.buffer);
  const summary: LogitSummary = { best: 0, logSumExp: 0, temperedSum: 0 };
  return {
    summarise(logits, temperature) {
      cells[0] = BigInt(logits.length);
      numbers[1] = temperature === 0 ? 0 : 1 / temperature;
      summarise(logits, cells);
      summary.best = Number(cells[2]);
      summary.logSumExp = (logits[summary.best] as number) + Math.log(numbers[3] as number);
      summary.temperedSum = numbers[4] as number;
      return summary;
    },
    draw(logits, temperature, { best, temperedSum }, uniform) {
      cells[0] = BigInt(logits.length);
      numbers[1] = 1 / temperature;
      numbers[2] = logits[best] as number;
      numbers[3] = uniform * temperedSum;
      draw(logits, cells);
      return Number(cells[4]);
    },
  };
}
