import { at, chunkRows, size, type LogitAttributes } from '../../../ops/index.js';
import type { FusedKernel, KernelCall, TensorMemory } from '../types.js';
import { prepare } from './arguments.js';
import { prepareProduct, type Product } from './matmul.js';
import { prepareSoftcap } from './softcap.js';

/** Rows whose logits exist at one time. */
interface Chunk {
  readonly start: number;
  readonly count: number;
}

function chunksOf(rows: number, vocabulary: number): Chunk[] {
  const step = chunkRows(rows, vocabulary);
  const chunks: Chunk[] = [];
  for (let start = 0; start < rows; start += step) chunks.push({ start, count: Math.min(step, rows - start) });
  return chunks;
}

const BYTES = 4;

/** One C call that turns a chunk's logits into losses and, where asked, into their gradient. */
function crossEntropy(
  call: Pick<KernelCall<object>, 'inputs' | 'outputs' | 'workspace'>,
  chunk: Chunk,
  gradient: boolean,
) {
  const [targets, weights, losses] = [at(call.inputs, 2), at(call.inputs, 3), at(call.outputs, 1)];
  const offset = BigInt(chunk.start * BYTES);
  const addresses = [call.workspace, ...[targets, weights, losses].map(({ address }) => address + offset)];
  return prepare('crossEntropy', [...addresses, chunk.count, size(at(call.inputs, 1).type, 0), gradient]);
}

const isF32 = ({ inputs }: KernelCall<object>): boolean => [0, 1, 3].every((i) => at(inputs, i).type.dtype === 'f32');

const weightedSum = ({ inputs, outputs }: Pick<KernelCall<object>, 'inputs' | 'outputs'>) =>
  prepare('weightedSum', [at(inputs, 3), at(outputs, 1), at(outputs, 0), size(at(inputs, 3).type, 0)]);

export const linearCrossEntropy: FusedKernel<LogitAttributes> = (call) => {
  if (!isF32(call)) return undefined;
  const head = headOf(call);
  const steps = chunksOf(head.rows, head.vocabulary).flatMap((chunk) => [
    prepareProduct(logitsOf(head, chunk)),
    ...bounded(call, head, chunk),
    crossEntropy(call, chunk, false),
  ]);
  return inOrder([...steps, weightedSum(call)]);
};

export const linearCrossEntropyBackward: FusedKernel<LogitAttributes & { readonly weightGradient: boolean }> = (
  call,
) => {
  if (!isF32(call)) return undefined;
  const { outputs, accumulate, attributes } = call;
  const head = headOf(call);
  const { columns, vocabulary, logits, w, operandType } = head;
  const slopes = logits + BigInt(chunkRows(head.rows, vocabulary) * vocabulary * BYTES);
  const steps = chunksOf(head.rows, vocabulary).flatMap((chunk) => {
    const rows = chunk.count;
    const toX = { a: logits, b: w, c: rowsFrom(at(outputs, 2), chunk, columns), rows, columns, depth: vocabulary };
    const straight = { transposeA: false, transposeB: false, accumulate: false, operandType };
    const prepared = [
      prepareProduct(logitsOf(head, chunk)),
      ...bounded(call, head, chunk, slopes),
      crossEntropy(call, chunk, true),
      ...(attributes.softcap === undefined ? [] : [prepare('multiply', [logits, slopes, rows * vocabulary])]),
      prepareProduct({ ...toX, ...straight }),
    ];
    if (!attributes.weightGradient) return prepared;
    const x = rowsFrom(head.x, chunk, columns);
    const adds = chunk.start > 0 || accumulate[3] === true;
    const toW = { a: logits, b: x, c: at(outputs, 3), rows: vocabulary, columns, depth: rows };
    return [
      ...prepared,
      prepareProduct({ ...toW, transposeA: true, transposeB: false, accumulate: adds, operandType }),
    ];
  });
  return inOrder([...steps, weightedSum(call)]);
};

/** The operands of a call and their sizes; the logits of one chunk lie in the workspace. */
function headOf({
  inputs,
  workspace,
  attributes,
}: Pick<KernelCall<LogitAttributes>, 'inputs' | 'workspace' | 'attributes'>) {
  const [x, w] = [at(inputs, 0), at(inputs, 1)];
  const sizes = { rows: size(x.type, 0), columns: size(x.type, 1), vocabulary: size(w.type, 0) };
  return { x, w, logits: workspace, ...sizes, operandType: attributes.operandType };
}

/** The product that makes a chunk's logits: x w^T. */
const logitsOf = (
  { x, w, logits, columns, vocabulary, operandType }: ReturnType<typeof headOf>,
  chunk: Chunk,
): Product => ({
  a: rowsFrom(x, chunk, columns),
  b: w,
  c: logits,
  rows: chunk.count,
  columns: vocabulary,
  depth: columns,
  transposeA: false,
  transposeB: true,
  accumulate: false,
  operandType,
});

/** The step that bounds a chunk's logits, where they are bounded. */
const bounded = (
  { attributes: { softcap } }: Pick<KernelCall<LogitAttributes>, 'attributes'>,
  { logits, vocabulary }: ReturnType<typeof headOf>,
  { count }: Chunk,
  slopes?: bigint,
): (() => void)[] =>
  softcap === undefined ? [] : [prepareSoftcap(logits, logits, count * vocabulary, softcap, slopes)];

/** Address of a chunk's first row in a matrix of that many columns. */
const rowsFrom = ({ address }: TensorMemory, chunk: Chunk, columns: number): bigint =>
  address + BigInt(chunk.start * columns * BYTES);

const inOrder = (steps: readonly (() => void)[]) => () => {
  for (const step of steps) step();
};
