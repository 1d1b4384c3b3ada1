import type { AttentionInputs } from '../../infer/attention-inputs.js';

/**
 * The causal attention matrix of one head: row i holds the weights of position i, which sum to 1.
 *
 * Scores are scaled, bounded and windowed as the model does it; a query head reads the kv head of its group. Float64, row-major [length, length].
 */
export function attentionMatrix({ qkv, attributes }: AttentionInputs, head: number): Float64Array {
  const { length, heads, kvHeads, headDim, scale, softcap, window = length } = attributes;
  const width = (heads + 2 * kvHeads) * headDim;
  const query = head * headDim;
  const key = (heads + Math.floor((head * kvHeads) / heads)) * headDim;
  const matrix = new Float64Array(length * length);
  for (let i = 0; i < length; i++) {
    const first = Math.max(0, i - window + 1);
    const row = matrix.subarray(i * length, (i + 1) * length);
    for (let j = first; j <= i; j++) {
      let score = 0;
      for (let c = 0; c < headDim; c++) score += qkv[i * width + query + c]! * qkv[j * width + key + c]!;
      row[j] = softcap === undefined ? scale * score : softcap * Math.tanh((scale * score) / softcap);
    }
    softmax(row.subarray(first, i + 1));
  }
  return matrix;
}

function softmax(row: Float64Array): void {
  const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (let j = 0; j < row.length; j++) sum += row[j] = Math.exp(row[j]! - most);
  for (let j = 0; j < row.length; j++) row[j] = row[j]! / sum;
}
