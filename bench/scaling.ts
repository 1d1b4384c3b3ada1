import { loadLibtorch } from '../src/engine/libtorch/load.js';
import { openEngine } from '../src/train/engine.js';
import { forecastTime } from '../src/train/forecast-time.js';
import { median } from './pairs.js';
import { createTrainStepSubject, stepShapeOf, type TrainStepShape } from './train-step-subject.js';
import type { Bench, CaseResult } from './types.js';

const BASE: TrainStepShape = {
  hidden: 256,
  layers: 8,
  heads: 4,
  kvHeads: 4,
  ffn: 688,
  vocab: 4096,
  batch: 8,
  length: 256,
};

/** One dimension at a time. */
const VARIATIONS: Readonly<Record<string, readonly Partial<TrainStepShape>[]>> = {
  depth: [2, 4, 8, 16].map((layers) => ({ layers })),
  width: [1, 2, 4, 8].map((times) => ({ hidden: 64 * times, heads: times, kvHeads: times, ffn: 172 * times })),
  T: [128, 256, 512, 1024].map((length) => ({ length, batch: 2048 / length })),
  vocabulary: [1024, 4096, 16_384, 32_768].map((vocab) => ({ vocab })),
  batch: [1, 2, 4, 8, 16].map((batch) => ({ batch })),
};
const SECONDS = 1;

/** Measured steps against the forecast that `strata train --dry-run` makes of them. */
export const bench: Bench = {
  summary: 'time of a step against depth, width, T, vocabulary and batch, and against its forecast',
  defaultRepetitions: 3,
  async run(options) {
    const libtorch = loadLibtorch({ threads: options.threads });
    const environment = openEngine(options.threads);
    const results: CaseResult[] = [];
    for (const [dimension, variations] of Object.entries(VARIATIONS))
      for (const variation of variations) {
        const shape = { ...BASE, ...variation };
        const { hidden, layers, vocab, batch, length } = shape;
        const name = `${dimension}: D=${hidden} L=${layers} V=${vocab} B=${batch} T=${length}`;
        if (!name.includes(options.filter ?? '')) continue;
        const [forecast, measured] = measure(shape, environment, options.repetitions);
        options.log(`${name}: measured ${measured.toFixed(0)}, forecast ${forecast.toFixed(0)} tokens/s`);
        results.push({
          ...{ case: name, unit: 'tokens/s', ours: measured, peers: { forecast } },
          ratio: { forecast: measured / forecast },
          spread: { forecast: { low: measured / forecast, high: measured / forecast } },
        });
      }
    const errors = results.map(({ ratio }) => Math.abs((ratio['forecast'] ?? NaN) - 1));
    return {
      results,
      versions: { libtorch: libtorch.place.version },
      notes: [
        `Largest difference of measured from forecast: ${(Math.max(...errors) * 100).toFixed(1)} %. Forecasts are calibrated anew for each case, on steps of two layers, just before it is measured.`,
        'A ratio above 1: the step is faster than forecast.',
      ],
    };
  },
};

/** Tokens per second: forecast, then the median of measured steps. The order is that of use: a forecast comes first. */
function measure(
  shape: TrainStepShape,
  environment: Parameters<typeof forecastTime>[2],
  repetitions: number,
): [forecast: number, measured: number] {
  const tokens = shape.batch * shape.length;
  const forecasts: number[] = [];
  const seconds: number[] = [];
  for (let round = 0; round < repetitions; round++) {
    const forecast = forecastTime(stepShapeOf(shape, 'f32'), 1, environment, { fresh: true });
    forecasts.push(forecast?.secondsPerStep ?? NaN);
    const ids = Int32Array.from({ length: shape.batch * (shape.length + 1) }, (_, i) => (i * 7919) % shape.vocab);
    using subject = createTrainStepSubject(shape, 'f32', undefined, ids);
    subject.step();
    const begin = performance.now();
    do {
      const start = performance.now();
      subject.step();
      seconds.push((performance.now() - start) / 1000);
    } while (performance.now() - begin < SECONDS * 1000);
  }
  return [tokens / median(forecasts), tokens / median(seconds)];
}
