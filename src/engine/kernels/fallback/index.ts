import type { FallbackKernels } from '../types.js';
import { activation, activationBackward, gatedActivation, gatedActivationBackward } from './activation.js';
import { add, addBias, columnSum, copy } from './add.js';
import { affine, softcap } from './affine.js';
import { attention, attentionBackward } from './attention.js';
import { concat } from './concat.js';
import { embedding, embeddingBackward } from './embedding.js';
import { excessWeights } from './excess-weights.js';
import { layerNorm, layerNormBackward } from './layer-norm.js';
import { linearCrossEntropy, linearCrossEntropyBackward } from './linear-cross-entropy.js';
import { matmul } from './matmul.js';
import { muonMomentum, muonUpdate, unitNorm } from './muon.js';
import { adamw, squaredNorm } from './optimizer.js';
import { cachedAttention, packedAttention } from './packed-attention.js';
import { queryKeyNorm, queryKeyNormBackward } from './query-key-norm.js';
import { rmsNorm, rmsNormBackward } from './rms-norm.js';
import { rotary } from './rotary.js';
import {
  routedFeedForward,
  routeGate,
  routeGateBackward,
  routingLoss,
  routingLossBackward,
  rowDot,
  rowSimilarity,
  scaleRows,
} from './routing.js';
import { scaleColumns } from './scale-columns.js';
import { swiglu, swigluBackward } from './swiglu.js';
import { tokenScores } from './token-scores.js';

/** Kernels made of libtorch calls: right for every op and element type, and slower than the fused ones. */
export const fallbackKernels: FallbackKernels = {
  activation,
  activationBackward,
  adamw,
  add,
  addBias,
  affine,
  attention,
  attentionBackward,
  cachedAttention,
  columnSum,
  concat,
  copy,
  embedding,
  embeddingBackward,
  excessWeights,
  gatedActivation,
  gatedActivationBackward,
  layerNorm,
  layerNormBackward,
  linearCrossEntropy,
  linearCrossEntropyBackward,
  matmul,
  muonMomentum,
  muonUpdate,
  packedAttention,
  queryKeyNorm,
  queryKeyNormBackward,
  rmsNorm,
  rmsNormBackward,
  rotary,
  routedFeedForward,
  routeGate,
  routeGateBackward,
  routingLoss,
  routingLossBackward,
  rowDot,
  rowSimilarity,
  scaleColumns,
  scaleRows,
  softcap,
  squaredNorm,
  swiglu,
  swigluBackward,
  tokenScores,
  unitNorm,
};
