import { at, attentionBackwardOperands, type AttentionAttributes } from '../../../ops/index.js';
import type { FusedKernel } from '../types.js';
import { all, prepare } from './arguments.js';

const WIDEST_HEAD = 256;

/** Heads that the tiles are written for, and no other limit than the causal mask; libtorch serves all others. */
const served = ({ headDim, length, window, softcap }: AttentionAttributes): boolean =>
  headDim % 4 === 0 && headDim <= WIDEST_HEAD && softcap === undefined && (window ?? length) >= length;

const layoutCells = ({ batch, length, heads, kvHeads, headDim }: AttentionAttributes): number[] => [
  batch,
  length,
  heads,
  kvHeads,
  headDim,
];

const kernelName = (name: string, { operandType }: AttentionAttributes): string =>
  operandType === 'bf16' ? `${name}Bf16` : name;

export const attention: FusedKernel<AttentionAttributes> = ({ inputs, outputs, attributes }) => {
  const [qkv, starts] = [at(inputs, 0), inputs[1]];
  if (!all('f32', [qkv]) || !served(attributes)) return undefined;
  const name = kernelName(starts === undefined ? 'attention' : 'documentAttention', attributes);
  return prepare(name, [qkv, starts, ...outputs, ...layoutCells(attributes)], [attributes.scale]);
};

export const attentionBackward: FusedKernel<AttentionAttributes> = ({ inputs, outputs, attributes }) => {
  const { dy, qkv, starts, y, lse } = attentionBackwardOperands(inputs);
  if (!all('f32', [dy, qkv, y, lse]) || !served(attributes)) return undefined;
  const name = kernelName(starts === undefined ? 'attentionBackward' : 'documentAttentionBackward', attributes);
  const cells = [dy, qkv, starts, y, lse, at(outputs, 0), ...layoutCells(attributes)];
  return prepare(name, cells, [attributes.scale]);
};
