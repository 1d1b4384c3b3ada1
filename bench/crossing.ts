import { PerformanceObserver } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import { loadLibtorch } from '../src/engine/libtorch/load.js';
import { crossingSeconds, measureLimits } from '../src/engine/limits.js';
import { Profile } from '../src/engine/profile.js';
import { describeLimits } from './limits.js';
import { median } from './pairs.js';
import { createTrainStepSubject, type TrainStepShape, type TrainStepSubject } from './train-step-subject.js';
import type { Bench, BenchOptions, CaseResult } from './types.js';

/** 2.2 M parameters: the smaller the model, the larger the share of what is not computing. */
const SHAPES: readonly (TrainStepShape & { readonly name: string })[] = [
  {
    name: 'step of 2M, 4,096 tokens',
    hidden: 128,
    layers: 6,
    heads: 4,
    kvHeads: 4,
    ffn: 344,
    vocab: 4096,
    batch: 16,
    length: 256,
  },
  {
    name: 'step of 2M, 1,024 tokens',
    hidden: 128,
    layers: 6,
    heads: 4,
    kvHeads: 4,
    ffn: 344,
    vocab: 4096,
    batch: 4,
    length: 256,
  },
];
const STEPS = 40;

/** The share of a training step that is spent outside of native code: JavaScript and the crossings into C. */
export const bench: Bench = {
  summary: 'share of a small training step outside of native code, garbage collection, and what a profile costs',
  defaultRepetitions: 5,
  async run(options) {
    const engine = loadLibtorch({ threads: options.threads });
    const results: CaseResult[] = [];
    for (const shape of SHAPES)
      if (shape.name.includes(options.filter ?? '')) results.push(...(await measureShape(shape, options)));
    return {
      results,
      versions: { libtorch: engine.place.version },
      notes: [
        describeLimits(measureLimits()),
        `Outside: the step less the time of its native calls, plus calls times the cost of an empty one. Pauses: garbage collections while ${STEPS} steps ran.`,
        'A profile reads the clock once for every call; its cost is the median ratio of steps with and without it, in turn.',
      ],
    };
  },
};

async function measureShape(shape: (typeof SHAPES)[number], options: BenchOptions): Promise<CaseResult[]> {
  const tokens = Int32Array.from({ length: 4 * shape.batch * (shape.length + 1) }, (_, i) => (i * 7919) % shape.vocab);
  using subject = createTrainStepSubject(shape, 'f32', undefined, tokens);
  for (let i = 0; i < 5; i++) subject.step();
  const shares: number[] = [];
  let calls = 0;
  const empty = crossingSeconds();
  for (let round = 0; round < options.repetitions; round++) {
    const found = profileSteps(subject);
    calls = found.calls;
    shares.push((found.outside + found.calls * empty) / found.step);
    options.log(
      `${shape.name}: round ${round + 1} of ${options.repetitions}: ${(shares.at(-1)! * 100).toFixed(2)} % outside`,
    );
  }
  const pauses = await pausesDuring(subject);
  const cost = profileCost(subject, options);
  const plain = { peers: {}, ratio: {}, spread: {} };
  return [
    {
      ...{
        case: `outside of native code, ${shape.name}`,
        unit: '% of the step',
        ours: median(shares) * 100,
        ...plain,
      },
      details: { 'native calls a step': calls, 'empty call (microseconds)': empty * 1e6 },
    },
    {
      case: `garbage collection, ${shape.name}`,
      unit: `ms in ${STEPS} steps`,
      ours: pauses.milliseconds,
      ...plain,
      details: { pauses: pauses.count },
    },
    { case: `cost of a profile, ${shape.name}`, unit: '% of the step', ours: cost * 100, ...plain },
  ];
}

/** Seconds of a step, of what lies outside of its calls, and their number; averages over steps. */
function profileSteps(subject: TrainStepSubject): { step: number; outside: number; calls: number } {
  using profile = new Profile('steps');
  for (let i = 0; i <= STEPS; i++) profile.step(() => subject.step());
  const totals = profile.totals();
  const inside = totals.reduce((sum, { seconds }) => sum + seconds, 0);
  const calls = totals.reduce((sum, total) => sum + total.calls, 0);
  const { steps, stepSeconds } = profile;
  return { step: stepSeconds / steps, outside: (stepSeconds - inside) / steps, calls: calls / steps };
}

/** Garbage collections while steps run, as the engine of JavaScript reports them. */
async function pausesDuring(subject: TrainStepSubject): Promise<{ count: number; milliseconds: number }> {
  let [count, milliseconds] = [0, 0];
  const observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) {
      count++;
      milliseconds += duration;
    }
  });
  observer.observe({ entryTypes: ['gc'] });
  for (let i = 0; i < STEPS; i++) {
    subject.step();
    await setImmediate();
  }
  observer.disconnect();
  return { count, milliseconds };
}

/** How much longer steps under a profile take, as a share. */
function profileCost(subject: TrainStepSubject, { repetitions }: BenchOptions): number {
  const seconds = (): number => {
    const start = performance.now();
    for (let i = 0; i < STEPS / 4; i++) subject.step();
    return performance.now() - start;
  };
  const ratios = Array.from({ length: repetitions * 2 }, () => {
    const without = seconds();
    using _profile = new Profile('all');
    return seconds() / without;
  });
  return median(ratios) - 1;
}
