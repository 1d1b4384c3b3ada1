import { at, attentionBackwardOperands, attentionWindow, type AttentionAttributes } from '../../../ops/index.js';
import type { FusedKernel, TensorMemory } from '../types.js';
import { all, prepare, type Cell } from './arguments.js';

const WIDEST_HEAD = 256;

/** Heads that the tiles are written for; libtorch serves all others. */
const served = ({ headDim }: AttentionAttributes): boolean => headDim % 4 === 0 && headDim <= WIDEST_HEAD;

/** Calls the kernel `name` with `operands` before and behind the first keys that queries see, where that is not always the sequence's first. */
function prepareAttention(
  name: string,
  attributes: AttentionAttributes,
  before: readonly Cell[],
  documents: TensorMemory | undefined,
  behind: readonly Cell[],
  workspace: bigint,
): () => void {
  const { batch, length, heads, kvHeads, headDim, scale, softcap = 0, operandType } = attributes;
  const window = attentionWindow(attributes);
  const starts = window === undefined ? documents : workspace;
  const full = `${starts === undefined ? name : `document${name[0]?.toUpperCase()}${name.slice(1)}`}${operandType === 'bf16' ? 'Bf16' : ''}`;
  const run = prepare(full, [...before, starts, ...behind, batch, length, heads, kvHeads, headDim], [scale, softcap]);
  if (window === undefined) return run;
  const limit = prepare('windowStarts', [documents, workspace, batch, length, window]);
  return () => {
    limit();
    run();
  };
}

export const attention: FusedKernel<AttentionAttributes> = ({ inputs, outputs, attributes, workspace }) => {
  const qkv = at(inputs, 0);
  if (!all('f32', [qkv]) || !served(attributes)) return undefined;
  return prepareAttention('attention', attributes, [qkv], inputs[1], outputs, workspace);
};

export const attentionBackward: FusedKernel<AttentionAttributes> = ({ inputs, outputs, attributes, workspace }) => {
  const { dy, qkv, starts, y, lse } = attentionBackwardOperands(inputs);
  if (!all('f32', [dy, qkv, y, lse]) || !served(attributes)) return undefined;
  return prepareAttention('attentionBackward', attributes, [dy, qkv], starts, [y, lse, at(outputs, 0)], workspace);
};
