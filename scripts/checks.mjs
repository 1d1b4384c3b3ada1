// What the checks against other people's programs share: random models, the built command, reference scripts in Python.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root, SetupError } from './setup.mjs';

/** A module of the build. */
export const built = (path) => import(join(root, 'dist', 'src', path));

/** Runs the built command; returns what it printed. */
export function strata(args) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(root, 'dist', 'src', 'cli', 'main.js'), ...args],
    {
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
    },
  );
  if (status !== 0) throw new SetupError(`strata ${args.join(' ')} failed:\n${stderr}`);
  return stdout;
}

/** Gives a job to a script of test/reference; returns what it printed. */
export function askReference(python, name, job) {
  const script = join(root, 'test', 'reference', name);
  const { status, stdout, stderr } = spawnSync(python, [script], {
    input: JSON.stringify(job),
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    env: { ...process.env, HF_HUB_OFFLINE: '1' },
  });
  if (status !== 0) throw new SetupError(`${script} failed:\n${stderr.split('\n').slice(-15).join('\n')}`);
  return stdout;
}

/** Writes a random model with weights large enough for an error anywhere to show; gains off their neutral value and biases off 0 for the same reason. */
export async function writeRandomModel(folder, fields) {
  const { RandomStream, familyOf, weightSize } = await built('architecture/index.js');
  const { saveModel } = await built('interop/index.js');
  const family = familyOf(fields.model_type);
  const config = family.parse(fields, fields.model_type);
  const neutral = 1 - (family.normGainOffset ?? 0);
  saveModel(folder, config, (spec) => {
    const numbers = new Float32Array(weightSize(spec));
    const isGain = spec.axes.length === 1 && spec.kind === 'weight';
    const std = spec.axes.length === 1 ? 0.2 : 1 / Math.sqrt(config.hidden_size);
    new RandomStream(1, spec.name).fillNormal(numbers, std, isGain ? neutral : 0);
    return numbers;
  });
}

/** Logits of a model for every token of a text, row by row. */
export async function allLogits(model, tokens) {
  const { PackedForward } = await built('infer/index.js');
  const count = tokens.length;
  const vocabulary = model.config.vocab_size;
  const forward = new PackedForward(model, { rows: count, maxLength: count });
  try {
    const run = { first: 0, count, prefixStart: 0, prefixEnd: 0, ownStart: 0, ownLast: 0 };
    forward.run({ ids: Int32Array.from(tokens), positions: Int32Array.from(tokens, (_, i) => i), runs: [run] });
    const logits = new Float32Array(count * vocabulary);
    for (let first = 0; first < count; first += PackedForward.mostLogitRows) {
      const rows = Math.min(PackedForward.mostLogitRows, count - first);
      logits.set(forward.logits(Int32Array.from({ length: rows }, (_, i) => first + i)), first * vocabulary);
    }
    return logits;
  } finally {
    forward[Symbol.dispose]();
  }
}

/** Float32 numbers that a reference script gives in base64. */
export const floatsOf = (base64) => new Float32Array(new Uint8Array(Buffer.from(base64, 'base64')).buffer);

/** NaN where a number is, or where the lengths differ. */
export function largestDifference(a, b) {
  if (a.length !== b.length) return NaN;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i] - b[i]);
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}
