/* Smooth bounds of scores and logits. */
#include "common.h"

#define BLOCK 4096

struct SoftcapArgs {
  const element *x;
  element *y;
  /* Receives dy/dx = 1 - tanh^2; null where it is not wanted. */
  float *slopes;
  int64_t count;
  double cap;
};

/* y = cap * tanh(x / cap), with tanh(u) = (1 - e) / (1 + e), e = exp(-2 |u|), and the sign of u; y may be x. */
void softcap(const struct SoftcapArgs *args) {
  const struct SoftcapArgs s = *args;
  const float cap = (float)s.cap, factor = -2.0f / cap;
#pragma omp parallel for schedule(static)
  for (int64_t first = 0; first < s.count; first += BLOCK) {
    const int64_t end = first + BLOCK < s.count ? first + BLOCK : s.count;
    if (s.slopes) {
#pragma omp simd
      for (int64_t i = first; i < end; i++) {
        const float e = exp_f32(fabsf(s.x[i]) * factor), tanh = (1.0f - e) / (1.0f + e);
        s.slopes[i] = 1.0f - tanh * tanh;
        s.y[i] = copysignf(cap * tanh, s.x[i]);
      }
    } else {
#pragma omp simd
      for (int64_t i = first; i < end; i++) {
        const float e = exp_f32(fabsf(s.x[i]) * factor);
        s.y[i] = copysignf(cap * ((1.0f - e) / (1.0f + e)), s.x[i]);
      }
    }
  }
}

struct MultiplyArgs {
  element *x;
  const float *by;
  int64_t count;
};

/* x = x * by. */
void multiply(const struct MultiplyArgs *args) {
  const struct MultiplyArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t first = 0; first < s.count; first += BLOCK) {
    const int64_t end = first + BLOCK < s.count ? first + BLOCK : s.count;
#pragma omp simd
    for (int64_t i = first; i < end; i++) s.x[i] *= s.by[i];
  }
}
