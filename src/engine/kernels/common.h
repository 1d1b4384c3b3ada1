/* What all kernels share: the vector type, exp, and how arguments arrive.
 *
 * Every kernel is `void name(const struct Args *)`: one pointer to 64-bit cells (addresses, int64, double) that the caller fills once, as a
 * foreign call costs more with every argument. Results never depend on the number of threads: a reduction is split into chunks of a fixed
 * size whose partial sums are added in order, or one thread owns all that is added into an element. */
#ifndef STRATA_COMMON_H
#define STRATA_COMMON_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Elements of activations, weights and gradients. */
typedef float element;

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define LANES (VECTOR_BYTES / 4)

typedef float vector __attribute__((vector_size(VECTOR_BYTES)));
typedef float vector_unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));

static inline vector load(const float *p) { return *(const vector_unaligned *)p; }
static inline void store(float *p, vector v) { *(vector_unaligned *)p = v; }
static inline vector splat(float x) { return x - (vector){0}; }

static inline float sum_lanes(vector v) {
  float lanes[LANES];
  store(lanes, v);
  for (int width = LANES / 2; width > 0; width /= 2)
    for (int i = 0; i < width; i++) lanes[i] += lanes[i + width];
  return lanes[0];
}

/* The products a[i] b[i] for the whole vectors below n, summed in one vector; four sums hide the latency of the additions. */
static inline vector products(const float *a, const float *b, int64_t n) {
  vector s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
  int64_t i = 0;
  for (; i + 4 * LANES <= n; i += 4 * LANES) {
    s0 += load(a + i) * load(b + i);
    s1 += load(a + i + LANES) * load(b + i + LANES);
    s2 += load(a + i + 2 * LANES) * load(b + i + 2 * LANES);
    s3 += load(a + i + 3 * LANES) * load(b + i + 3 * LANES);
  }
  for (; i + LANES <= n; i += LANES) s0 += load(a + i) * load(b + i);
  return (s0 + s1) + (s2 + s3);
}

/* sum a[i] b[i]. */
static inline float dot(const float *a, const float *b, int64_t n) {
  float sum = sum_lanes(products(a, b, n));
  for (int64_t i = n / LANES * LANES; i < n; i++) sum += a[i] * b[i];
  return sum;
}

static inline int32_t float_bits(float x) {
  int32_t bits;
  memcpy(&bits, &x, 4);
  return bits;
}

static inline float bits_float(int32_t bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

#define LOG2_E 1.4426950408889634f

/* Adding this rounds a float of magnitude below 2^22 to an integer, which then stands in the low bits of the sum. */
#define ROUNDING 12582912.0f

/* 2^n for n in [-127, 127]; n = -127 gives 0. */
static inline float power_of_two(int32_t n) { return bits_float((n + 127) << 23); }

/* e^x within 1 unit in the last place; subnormal results, infinities and NaN as in libm. The compiler vectorises loops over it, which it cannot
 * do with libm's. The arguments are reduced to |r| <= ln(2)/2; coefficients: minimax fit of (e^r - 1 - r) / r^2. */
static inline float exp_f32(float x) {
  x = x > 89.0f ? 89.0f : x;
  x = x < -104.0f ? -104.0f : x;
  const float shifted = x * 1.44269504089f + ROUNDING;
  const float n = shifted - ROUNDING;
  float r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  const float g =
      0.4999999403953552f +
      r * (0.16666515171527863f + r * (0.04166845604777336f + r * (0.008369418792426586f + r * 0.0013813144760206342f)));
  const float p = 1.0f + (r + r * r * g);
  const int32_t whole = float_bits(shifted) - float_bits(ROUNDING);
  const int32_t half = whole >> 1;
  return p * power_of_two(half) * power_of_two(whole - half);
}

/* 2^x for x <= 0 within 1 unit in the last place; 0 below 2^-127, NaN as in libm. */
static inline float exp2_nonpositive(float x) {
  x = x < -127.0f ? -127.0f : x;
  const float shifted = x + ROUNDING;
  const float r = x - (shifted - ROUNDING);
  const float h =
      0.6931471824645996f +
      r * (0.24022647738456726f +
           r * (0.05550329387187958f + r * (0.009618449956178665f + r * (0.0013400170719251037f + r * 0.0001535231713205576f))));
  return (1.0f + r * h) * power_of_two(float_bits(shifted) - float_bits(ROUNDING));
}

#endif
