import { at, type AttentionAttributes } from '../../../ops/index.js';
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

export const attention: FusedKernel<AttentionAttributes> = ({ inputs, outputs, attributes }) => {
  if (!all('f32', inputs) || !served(attributes)) return undefined;
  return prepare('attention', [at(inputs, 0), ...outputs, ...layoutCells(attributes)], [attributes.scale]);
};

export const attentionBackward: FusedKernel<AttentionAttributes> = ({ inputs, outputs, attributes }) => {
  if (!all('f32', inputs) || !served(attributes)) return undefined;
  return prepare('attentionBackward', [...inputs, at(outputs, 0), ...layoutCells(attributes)], [attributes.scale]);
};
