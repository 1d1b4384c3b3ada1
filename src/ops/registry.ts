import {
  activationBackwardRule,
  activationRule,
  gatedActivationBackwardRule,
  gatedActivationRule,
} from './activation.js';
import { addRule, copyRule } from './add.js';
import { adamwRule, squaredNormRule } from './adamw.js';
import { affineRule, softcapRule } from './affine.js';
import { attentionBackwardRule, attentionRule } from './attention.js';
import { concatRule } from './concat.js';
import { embeddingBackwardRule, embeddingRule } from './embedding.js';
import { excessWeightsRule } from './excess-weights.js';
import { layerNormBackwardRule, layerNormRule } from './layer-norm.js';
import { linearCrossEntropyBackwardRule, linearCrossEntropyRule } from './linear-cross-entropy.js';
import { addBiasRule, columnSumRule, matmulRule } from './matmul.js';
import { muonMomentumRule, muonUpdateRule, unitNormRule } from './muon.js';
import { cachedAttentionRule, packedAttentionRule } from './packed-attention.js';
import { queryKeyNormBackwardRule, queryKeyNormRule } from './query-key-norm.js';
import { rmsNormBackwardRule, rmsNormRule } from './rms-norm.js';
import { rotaryRule } from './rotary.js';
import { routedFeedForwardRule } from './routed-feed-forward.js';
import {
  routeGateBackwardRule,
  routeGateRule,
  routingLossBackwardRule,
  routingLossRule,
  rowDotRule,
  rowSimilarityRule,
  scaleRowsRule,
} from './routing.js';
import { scaleColumnsRule } from './scale-columns.js';
import { swigluBackwardRule, swigluRule } from './swiglu.js';
import { tokenScoresRule } from './token-scores.js';
import type { OpRule } from './types.js';

/** Every op. The engine's kernel tables are total over these names. */
export const ops = {
  activation: activationRule,
  activationBackward: activationBackwardRule,
  adamw: adamwRule,
  add: addRule,
  addBias: addBiasRule,
  affine: affineRule,
  attention: attentionRule,
  attentionBackward: attentionBackwardRule,
  cachedAttention: cachedAttentionRule,
  columnSum: columnSumRule,
  concat: concatRule,
  copy: copyRule,
  embedding: embeddingRule,
  embeddingBackward: embeddingBackwardRule,
  excessWeights: excessWeightsRule,
  gatedActivation: gatedActivationRule,
  gatedActivationBackward: gatedActivationBackwardRule,
  layerNorm: layerNormRule,
  layerNormBackward: layerNormBackwardRule,
  linearCrossEntropy: linearCrossEntropyRule,
  linearCrossEntropyBackward: linearCrossEntropyBackwardRule,
  matmul: matmulRule,
  muonMomentum: muonMomentumRule,
  muonUpdate: muonUpdateRule,
  packedAttention: packedAttentionRule,
  queryKeyNorm: queryKeyNormRule,
  queryKeyNormBackward: queryKeyNormBackwardRule,
  rmsNorm: rmsNormRule,
  rmsNormBackward: rmsNormBackwardRule,
  rotary: rotaryRule,
  routedFeedForward: routedFeedForwardRule,
  routeGate: routeGateRule,
  routeGateBackward: routeGateBackwardRule,
  routingLoss: routingLossRule,
  routingLossBackward: routingLossBackwardRule,
  rowDot: rowDotRule,
  rowSimilarity: rowSimilarityRule,
  scaleColumns: scaleColumnsRule,
  scaleRows: scaleRowsRule,
  softcap: softcapRule,
  squaredNorm: squaredNormRule,
  swiglu: swigluRule,
  swigluBackward: swigluBackwardRule,
  tokenScores: tokenScoresRule,
  unitNorm: unitNormRule,
} as const;

export type OpName = keyof typeof ops;

/** The attributes of an op, by name. */
export type AttributesOf<N extends OpName> = (typeof ops)[N] extends OpRule<infer A> ? A : never;
