import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { fillInitial } from '../architecture/index.js';
import { cacheFolder } from '../engine/libtorch/find.js';
import { Profile, type OpTotal } from '../engine/profile.js';
import { showTypes, workOf } from '../engine/work.js';
import { writeFileAtomic } from '../files/atomic.js';
import type { Operation, Program } from '../program/index.js';
import type { Environment } from './environment.js';
import { type MicroBatch, TrainingSession } from './session.js';
import { recordGradient, recordNorm, recordUpdate, stepLayout, type StepShape } from './step-programs.js';

/** What a step will take, by times of its kernels on this machine. */
export interface TimeForecast {
  readonly secondsPerStep: number;
  /** Operations of the step, by name. */
  readonly secondsByOp: Readonly<Record<string, number>>;
}

/** Layers of the step that is measured: kernels of all layers have the same shapes. */
const PROBE_LAYERS = 2;
/** More than this is not measured at once; fewer sequences are, and their rates taken. */
const PROBE_FLOPS = 1e12;
const MOST_FLOPS = 2e13;
const MEMORY_SHARE = 0.5;
/** At least so many steps are measured, and for so long: one hiccup must not count in a step of milliseconds. */
const STEPS = 4;
const LEAST_SECONDS = 1;

const stored = z.strictObject({
  outside: z.number().min(0),
  ops: z.array(
    z.strictObject({
      op: z.string(),
      key: z.string(),
      calls: z.number(),
      seconds: z.number(),
      flops: z.number(),
      bytes: z.number(),
    }),
  ),
});
type Calibration = z.infer<typeof stored>;

/**
 * Forecasts the time of an optimizer step: calls of its programs, each at the time that a kernel of its shape takes on this machine.
 *
 * Those times come from a few steps of the same model with two layers, kept in the cache by machine, kernels and shape. A kernel of a shape that
 * was not measured goes at the rate of its op. The engine must be loaded.
 *
 * @param microBatches Micro-batches of a step.
 * @returns undefined where even one sequence through two layers is more than should be measured in passing.
 */
export function forecastTime(
  shape: StepShape,
  microBatches: number,
  environment: Environment,
  options: { readonly fresh?: boolean } = {},
): TimeForecast | undefined {
  const probe = probeShape(shape);
  if (probe === undefined) return undefined;
  const calibration = calibrate(probe, environment, options.fresh === true);
  const layout = stepLayout(shape);
  const secondsByOp: Record<string, number> = {};
  const book = (program: Program, times: number): void => {
    for (const operation of program.operations) {
      const { name } = operation.rule;
      secondsByOp[name] = (secondsByOp[name] ?? 0) + times * secondsOf(operation, calibration);
    }
  };
  book(recordGradient(shape, layout, false), 1);
  if (microBatches > 1) book(recordGradient(shape, layout, true), microBatches - 1);
  book(recordNorm(shape, layout), 1);
  book(recordUpdate(shape, layout), 1);
  const inside = Object.values(secondsByOp).reduce((sum, seconds) => sum + seconds, 0);
  return { secondsPerStep: inside + calibration.outside, secondsByOp };
}

/** The step that is measured instead; undefined where it is too large. Masks, objectives and routes add little and are left out. */
function probeShape(shape: StepShape): StepShape | undefined {
  const { masks: _masks, objective: _objective, routing: _routing, ...rest } = shape;
  const layers = Math.min(PROBE_LAYERS, shape.config.num_hidden_layers);
  const config = { ...shape.config, num_hidden_layers: layers };
  const of = (sequences: number): StepShape => ({
    ...{ ...rest, config, microBatchSequences: sequences },
    ...{ trainable: () => true, newEntries: false, withinDocuments: false },
  });
  const one = TrainingSession.forecast(of(1));
  if (one.flopsPerMicroBatch > MOST_FLOPS || one.peakBytes > totalmem() * MEMORY_SHARE) return undefined;
  let sequences = shape.microBatchSequences;
  while (sequences > 1 && sequences * one.flopsPerMicroBatch > PROBE_FLOPS) sequences = Math.ceil(sequences / 2);
  return of(sequences);
}

function calibrate(probe: StepShape, environment: Environment, fresh: boolean): Calibration {
  const { trainable: _trainable, family: _family, ...described } = probe;
  const hash = createHash('sha256').update(JSON.stringify([environment, described]));
  const path = join(cacheFolder(), 'step-times', `${hash.digest('hex').slice(0, 32)}.json`);
  if (!fresh && existsSync(path)) {
    const known = stored.safeParse(JSON.parse(readFileSync(path, 'utf8')));
    if (known.success) return known.data;
  }
  const measured = measureSteps(probe);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileAtomic(path, JSON.stringify(measured));
  return measured;
}

function measureSteps(probe: StepShape): Calibration {
  using session = new TrainingSession(probe);
  for (const [name, { spec }] of session.layout.ranges) fillInitial(session.parameter(name), spec, probe.config, 1);
  const batch = someBatch(probe);
  using profile = new Profile('steps');
  for (let step = 1; step <= STEPS + 1 || profile.stepSeconds < LEAST_SECONDS; step++)
    profile.step(() => {
      session.gradient(batch, 0);
      session.gradientNorm();
      session.update({ learningRate: 1e-4, gradientScale: 1, step });
    });
  const totals = profile.totals();
  const inside = totals.reduce((sum, { seconds }) => sum + seconds, 0);
  return {
    outside: Math.max(0, (profile.stepSeconds - inside) / profile.steps),
    ops: totals.map(({ op, shapes, calls, seconds, flops, bytes }: OpTotal) => ({
      ...{ op, calls, seconds, flops, bytes },
      key: `${shapes} ${flops}`,
    })),
  };
}

function someBatch({ microBatchSequences, sequenceLength, config }: StepShape): MicroBatch {
  const rows = microBatchSequences * sequenceLength;
  const ids = Int32Array.from({ length: rows + 1 }, (_, i) => (i * 7919) % config.vocab_size);
  return { inputs: ids.subarray(0, rows), targets: ids.subarray(1), weights: new Float32Array(rows).fill(1 / rows) };
}

/** The time of one call: that of a kernel of this shape, else by the rate of its op; 0 for an op that was not measured. */
function secondsOf({ rule, attributes, inputs, outputs }: Operation, { ops }: Calibration): number {
  const application = {
    rule,
    attributes,
    inputs: inputs.map(({ type }) => type),
    outputs: outputs.map(({ type }) => type),
  };
  const work = workOf(application);
  const key = `${showTypes(application.inputs)} ${work.flops}`;
  const same = ops.filter(({ op }) => op === rule.name);
  const exact = same.find((entry) => entry.key === key);
  if (exact !== undefined) return exact.seconds / exact.calls;
  const unit = work.flops > 0 ? 'flops' : 'bytes';
  const seconds = same.reduce((sum, entry) => sum + entry.seconds, 0);
  const done = same.reduce((sum, entry) => sum + entry[unit] * entry.calls, 0);
  return done > 0 ? (work[unit] * seconds) / done : 0;
}
