import { libtorch } from './load.js';
import { check, owned, type Handle } from './tensors.js';

/** out = a b, for matrices [m, k] and [k, n]; any strides. */
export function mmOut(out: Handle, a: Handle, b: Handle): void {
  const status = libtorch().calls.aoti_torch_cpu_mm_out(out, a, b);
  if (status !== 0) check(status, 'mm', [out, a, b]);
}

/** out = beta self + alpha a b; `out` may be `self`. */
export function addmmOut(out: Handle, self: Handle, a: Handle, b: Handle, beta = 1, alpha = 1): void {
  const status = libtorch().calls.aoti_torch_cpu_addmm_out(out, self, a, b, beta, alpha);
  if (status !== 0) check(status, 'addmm', [out, self, a, b]);
}

/** out = a b for every matrix of a batch: [n, m, k] and [n, k, p]. */
export function bmmOut(out: Handle, a: Handle, b: Handle): void {
  const status = libtorch().calls.aoti_torch_cpu_bmm_out(out, a, b);
  if (status !== 0) check(status, 'bmm', [out, a, b]);
}

/** out = beta self + alpha a b for every matrix of a batch; `out` may be `self`. */
export function baddbmmOut(out: Handle, self: Handle, a: Handle, b: Handle, beta = 1, alpha = 1): void {
  const status = libtorch().calls.aoti_torch_cpu_baddbmm_out(out, self, a, b, beta, alpha);
  if (status !== 0) check(status, 'baddbmm', [out, self, a, b]);
}

/** self = source, converted to self's element type and broadcast to its shape. */
export function copy(self: Handle, source: Handle): void {
  const status = libtorch().calls.aoti_torch_copy_(self, source, 0);
  if (status !== 0) check(status, 'copy_', [self, source]);
}

/** self = 0. */
export function zero(self: Handle): void {
  const status = libtorch().calls.aoti_torch_zero_(self);
  if (status !== 0) check(status, 'zero_', [self]);
}

const results = [new BigUint64Array(1), new BigUint64Array(1), new BigUint64Array(1)] as const;
const scaleCell = new Float64Array(1);

const scalePointer = (scale: number | undefined): Float64Array | null => {
  if (scale === undefined) return null;
  scaleCell[0] = scale;
  return scaleCell;
};

/** Options of attention: `scale` is 1/sqrt(head size) where left out. */
export interface AttentionOptions {
  readonly causal: boolean;
  readonly scale?: number;
  /** Added to the scores [query time, key time]; the forward pass only. */
  readonly mask?: Handle;
}

/**
 * Attention of query, key, value [batch, heads, time, head size], all with the same number of heads.
 *
 * The output lies in memory as [batch, time, heads, head size]. Both results are the caller's to release.
 */
export function attentionForward(
  query: Handle,
  key: Handle,
  value: Handle,
  options: AttentionOptions,
): { output: Handle; logSumExp: Handle } {
  const [output, logSumExp] = results;
  const status = libtorch().calls.aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu(
    query,
    key,
    value,
    0,
    options.causal ? 1 : 0,
    options.mask === undefined ? null : BigUint64Array.of(options.mask),
    scalePointer(options.scale),
    output,
    logSumExp,
  );
  if (status !== 0) check(status, 'flash attention', [query, key, value]);
  return { output: owned(output[0]), logSumExp: owned(logSumExp[0]) };
}

/** What `attentionBackward` reads: the gradient of the output, and what the forward pass had and gave. */
export interface AttentionSaved {
  readonly gradOutput: Handle;
  readonly query: Handle;
  readonly key: Handle;
  readonly value: Handle;
  readonly output: Handle;
  readonly logSumExp: Handle;
}

/** Gradients of attention, laid out as its output is; all three are the caller's to release. */
export function attentionBackward(
  saved: AttentionSaved,
  options: AttentionOptions,
): { query: Handle; key: Handle; value: Handle } {
  const [gradQuery, gradKey, gradValue] = results;
  const { gradOutput, query, key, value, output, logSumExp } = saved;
  const status = libtorch().calls.aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu_backward(
    gradOutput,
    query,
    key,
    value,
    output,
    logSumExp,
    0,
    options.causal ? 1 : 0,
    null,
    scalePointer(options.scale),
    gradQuery,
    gradKey,
    gradValue,
  );
  if (status !== 0) check(status, 'flash attention backward', [gradOutput, query, key, value, output, logSumExp]);
  return { query: owned(gradQuery[0]), key: owned(gradKey[0]), value: owned(gradValue[0]) };
}
