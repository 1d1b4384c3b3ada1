import type { FusedKernels } from '../types.js';
import { add, addBias, columnSum, copy } from './add.js';
import { attention, attentionBackward } from './attention.js';
import { embedding, embeddingBackward } from './embedding.js';
import { linearCrossEntropy, linearCrossEntropyBackward } from './linear-cross-entropy.js';
import { matmul } from './matmul.js';
import { adamw, squaredNorm } from './optimizer.js';
import { cachedAttention, packedAttention } from './packed-attention.js';
import { rmsNorm, rmsNormBackward } from './rms-norm.js';
import { rotary } from './rotary.js';
import { swiglu, swigluBackward } from './swiglu.js';
import { tokenScores } from './token-scores.js';

/** Kernels in C, for f32. */
export const fusedKernels: FusedKernels = {
  adamw,
  add,
  addBias,
  attention,
  attentionBackward,
  cachedAttention,
  columnSum,
  copy,
  embedding,
  embeddingBackward,
  linearCrossEntropy,
  linearCrossEntropyBackward,
  matmul,
  packedAttention,
  rmsNorm,
  rmsNormBackward,
  rotary,
  squaredNorm,
  swiglu,
  swigluBackward,
  tokenScores,
};
