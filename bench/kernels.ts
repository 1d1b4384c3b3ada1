import {
  ops,
  packedWidth,
  tensorBytes,
  type HeadLayout,
  type OpName,
  type OpRule,
  type TensorType,
} from '../src/ops/index.js';
import { Memory, Scope, type Tensor } from '../src/engine/buffers.js';
import { kernelBuild, prepareKernel } from '../src/engine/kernels/index.js';
import { loadLibtorch } from '../src/engine/libtorch/load.js';
import { measureLimits, type MachineLimits } from '../src/engine/limits.js';
import { reachOf } from '../src/engine/roofline.js';
import { WorkError } from '../src/errors.js';
import { describeLimits } from './limits.js';
import { measurePaired } from './pairs.js';
import { rooflineFigures, type RooflinePoint } from './roofline.js';
import type { Bench, CaseResult } from './types.js';

/** One application to time. */
interface KernelCase {
  readonly name: string;
  readonly op: OpName;
  readonly inputs: readonly TensorType[];
  readonly attributes?: object;
  /** Floating-point operations that the result needs; left out where memory is the limit. */
  readonly flops?: number;
  /** Bytes moved, where they are not those of all inputs and outputs. */
  readonly bytes?: number;
}

/** Shapes of one model's layers. */
interface Shape extends HeadLayout {
  readonly ffn: number;
  readonly vocab: number;
}

const SHAPES: readonly Shape[] = [
  { batch: 8, length: 256, heads: 8, kvHeads: 8, headDim: 32, ffn: 688, vocab: 4096 },
  { batch: 4, length: 512, heads: 8, kvHeads: 8, headDim: 64, ffn: 1376, vocab: 8192 },
];
const GROUPED: HeadLayout = { batch: 4, length: 1024, heads: 8, kvHeads: 2, headDim: 128 };

/** Elements of the arena in the optimizer's cases. */
const ARENA = 8_000_000;
/** A measurement repeats its call until this has passed, so that the clock's resolution does not matter. */
const LEAST_SECONDS = 0.03;

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });
const i32 = (...shape: number[]): TensorType => ({ dtype: 'i32', shape });

/** Forward and backward of attention; the causal half of all pairs is counted. */
function attentionCases(layout: HeadLayout): KernelCase[] {
  const { batch, length, heads, kvHeads, headDim } = layout;
  const rows = batch * length;
  const pairs = (batch * heads * length * (length + 1)) / 2;
  const attributes = { ...layout, scale: headDim ** -0.5 };
  const [qkv, y, lse] = [f32(rows, packedWidth(layout)), f32(rows, heads * headDim), f32(batch, heads, length)];
  const name = `B=${batch} T=${length} H=${heads}/${kvHeads} d=${headDim}`;
  return [
    { name, op: 'attention', inputs: [qkv], attributes, flops: 4 * pairs * headDim },
    { name, op: 'attentionBackward', inputs: [y, qkv, y, lse], attributes, flops: 10 * pairs * headDim },
  ];
}

/** The three products of a linear layer: forward, gradient of its input, gradient of its weight. */
function linearCases(rows: number, inner: number, outer: number): KernelCase[] {
  const [x, w, dy] = [f32(rows, inner), f32(outer, inner), f32(rows, outer)];
  const flops = 2 * rows * inner * outer;
  const product = (name: string, inputs: TensorType[], transposeA: boolean, transposeB: boolean): KernelCase => ({
    name: `${name} ${rows}x${inner}x${outer}`,
    op: 'matmul',
    inputs,
    attributes: { transposeA, transposeB },
    flops,
  });
  return [
    product('x w^T', [x, w], false, true),
    product('dy w', [dy, w], false, false),
    product('dy^T x', [dy, x], true, false),
  ];
}

function casesOf(shape: Shape): KernelCase[] {
  const { batch, length, headDim, ffn, vocab } = shape;
  const [rows, hidden] = [batch * length, shape.heads * headDim];
  const [x, w, rstd] = [f32(rows, hidden), f32(hidden), f32(rows)];
  const [gateUp, angles] = [f32(rows, 2 * ffn), f32(length, headDim / 2)];
  const loss = [x, f32(vocab, hidden), i32(rows), f32(rows)];
  const name = `N=${rows} D=${hidden}`;
  const eps = 1e-5;
  const lossFlops = 2 * rows * hidden * vocab;
  return [
    ...attentionCases(shape),
    ...linearCases(rows, hidden, packedWidth(shape)),
    ...linearCases(rows, hidden, hidden),
    ...linearCases(rows, hidden, 2 * ffn),
    ...linearCases(rows, ffn, hidden),
    { name: `${name} V=${vocab}`, op: 'linearCrossEntropy', inputs: loss, flops: lossFlops },
    {
      name: `${name} V=${vocab}`,
      op: 'linearCrossEntropyBackward',
      inputs: loss,
      attributes: { weightGradient: true },
      flops: 3 * lossFlops,
    },
    { name, op: 'rmsNorm', inputs: [x, w], attributes: { eps } },
    { name, op: 'rmsNormBackward', inputs: [x, x, w, rstd], attributes: { eps, weightGradient: true } },
    {
      name,
      op: 'rotary',
      inputs: [f32(rows, packedWidth(shape)), angles, angles],
      attributes: { ...shape, inverse: false },
    },
    { name: `N=${rows} F=${ffn}`, op: 'swiglu', inputs: [gateUp] },
    { name: `N=${rows} F=${ffn}`, op: 'swigluBackward', inputs: [f32(rows, ffn), gateUp] },
    { name: `${name} V=${vocab}`, op: 'embedding', inputs: [f32(vocab, hidden), i32(rows)], bytes: 2 * tensorBytes(x) },
    { name: `${name} V=${vocab}`, op: 'embeddingBackward', inputs: [x, i32(rows)], attributes: { rows: vocab } },
    { name, op: 'add', inputs: [x, x] },
    { name, op: 'copy', inputs: [x] },
    { name, op: 'addBias', inputs: [x, w] },
    { name, op: 'columnSum', inputs: [x] },
  ];
}

function arenaCases(): KernelCase[] {
  const arena = f32(ARENA);
  const attributes = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1 };
  const scalars = { dtype: 'f64', shape: [4] } as const;
  return [
    { name: `${ARENA} elements`, op: 'adamw', inputs: [arena, arena, arena, arena, scalars], attributes },
    { name: `${ARENA} elements`, op: 'squaredNorm', inputs: [arena] },
  ];
}

/** Memory filled with harmless values: small numbers, ids below every vocabulary, ones in f64. */
function fill(tensor: Tensor): void {
  const data = tensor.data();
  if (data instanceof BigInt64Array) throw new Error('no kernel here reads i64');
  const isInteger = tensor.type.dtype === 'i32';
  for (let i = 0; i < data.length; i++)
    data[i] = isInteger ? (i * 7919) % 4096 : tensor.type.dtype === 'f64' ? 1 : ((i * 2654435761) % 1000) / 1000 - 0.3;
}

async function measure(
  spec: KernelCase,
  limits: MachineLimits,
  options: Parameters<Bench['run']>[0],
): Promise<{ result: CaseResult; point: RooflinePoint }> {
  using scope = new Scope();
  const rule = ops[spec.op] as unknown as OpRule<object>;
  const attributes = spec.attributes ?? {};
  const types = rule.infer(spec.inputs, attributes);
  const inputs = spec.inputs.map((type) => scope.tensor(type));
  for (const input of inputs) fill(input);
  // As in training: an op that may work in place does.
  const outputs = types.map((type, i) => {
    const shared = spec.op === 'adamw' ? rule.inPlace?.find(([output]) => output === i) : undefined;
    return (shared && inputs[shared[1]]) ?? scope.tensor(type);
  });
  const bytes = rule.workspaceBytes?.(spec.inputs, attributes) ?? 0;
  using workspace = bytes > 0 ? new Memory(bytes) : undefined;
  const call = { inputs, outputs, accumulate: types.map(() => false), attributes, workspace: workspace?.address ?? 0n };
  const ours = prepareKernel(spec.op, call).run;
  const theirs = withSetting('off', () => prepareKernel(spec.op, call).run);
  const moved = [...spec.inputs, ...types].reduce((sum, type) => sum + tensorBytes(type), 0);
  const work = (spec.flops ?? spec.bytes ?? moved) / 1e9;
  const result = await measurePaired(
    {
      case: `${spec.op}, ${spec.name}`,
      unit: spec.flops === undefined ? 'GB/s' : 'GFLOP/s',
      better: 'higher',
      ours: () => work / secondsOf(ours),
      peers: { libtorch: () => work / secondsOf(theirs) },
    },
    options,
  );
  const bytesMoved = spec.bytes ?? moved;
  const dtype = spec.inputs[0]?.dtype ?? 'f32';
  const reach = reachOf({ flops: spec.flops ?? 0, bytes: bytesMoved, dtype }, work / result.ours, limits);
  return {
    result: { ...result, limitShare: reach.share },
    point: {
      op: spec.op,
      flopsPerByte: (spec.flops ?? 0) / bytesMoved,
      flopsPerSecond: reach.flops,
      bytesPerSecond: reach.bytes,
    },
  };
}

/** Prepares under another setting of STRATA_KERNELS. */
function withSetting<R>(setting: string, body: () => R): R {
  const before = process.env['STRATA_KERNELS'];
  process.env['STRATA_KERNELS'] = setting;
  try {
    return body();
  } finally {
    if (before === undefined) delete process.env['STRATA_KERNELS'];
    else process.env['STRATA_KERNELS'] = before;
  }
}

/** Shortest of a number of calls; the first one, which meets cold memory, does not count. */
function secondsOf(call: () => void): number {
  call();
  const begin = performance.now();
  let shortest = Infinity;
  let last = begin;
  do {
    call();
    const now = performance.now();
    shortest = Math.min(shortest, now - last);
    last = now;
  } while (last - begin < LEAST_SECONDS * 1000);
  return shortest / 1000;
}

/** Every fused kernel against the same op made of libtorch's calls. */
export const bench: Bench = {
  summary: 'each kernel in C against the same op made of libtorch calls (float32)',
  defaultRepetitions: 5,
  async run(options) {
    const engine = loadLibtorch({ threads: options.threads });
    const build = kernelBuild();
    if ('reason' in build) throw new WorkError(`There are no fused kernels to measure: ${build.reason}.`);
    const cases = [...SHAPES.flatMap(casesOf), ...attentionCases(GROUPED), ...arenaCases()];
    const limits = measureLimits();
    const measured: Awaited<ReturnType<typeof measure>>[] = [];
    for (const spec of cases) {
      if (`${spec.op}, ${spec.name}`.includes(options.filter ?? ''))
        measured.push(await measure(spec, limits, options));
    }
    return {
      results: measured.map(({ result }) => result),
      figures: rooflineFigures(
        measured.map(({ point }) => point),
        limits,
      ),
      versions: { libtorch: engine.place.version, compiler: build.compiler },
      notes: [
        describeLimits(limits),
        'The share of the limit is of arithmetic or of copies, whichever bounds the kernel by its FLOPs per byte; operands that caches hold can pass that of copies.',
        'The shortest of the calls in each measurement counts, on warm memory.',
        'Attention counts the causal half only: 4 (forward) and 10 (backward, whose scores are computed again) operations per pair and head dimension.',
        'GB/s count each input and output once; of an embedding table only the rows that are read.',
      ],
    };
  },
};
