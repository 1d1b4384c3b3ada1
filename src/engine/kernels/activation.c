/* Nonlinearities of feed-forward layers, alone and gated, and their gradients. */
#include "common.h"

/* A function's value and slope; the compiler drops what a loop does not use. */
struct point {
  float value, slope;
};

/* gelu(x) = x P(x), P the distribution function of the normal distribution; its slope P(x) + x p(x). With a = |x| / sqrt 2, P comes from erf(a) as a
 * polynomial in a^2 below 1, and from erfc(a) = exp(-a^2) q R(q), q = 1 / (1 + a / 2), beyond, so that the lower tail keeps its relative precision.
 * Coefficients: minimax fits, relative errors 1.3e-9 and 2.5e-9. */
static inline struct point gelu_point(float x) {
  const float a = fabsf(x) * 0.707106781186547f, square = a * a, bell = exp_f32(-square), q = 1.0f / (1.0f + 0.5f * a);
  const float inner =
      a *
      (1.1283791065216064f +
       square * (-0.3761262595653534f +
                 square * (0.1128358542919159f +
                           square * (-0.026853812858462334f +
                                     square * (0.005188329610973597f +
                                               square * (-0.0008010207675397396f + square * 7.853903662180528e-05f))))));
  const float outer =
      bell * q *
      (0.28208473324775696f +
       q * (0.28237250447273254f +
            q * (0.2435474991798401f +
                 q * (0.19809772074222565f +
                      q * (-0.004915224388241768f +
                           q * (0.2217162847518921f +
                                q * (-0.4044816493988037f + q * (0.2200961858034134f + q * -0.038305554538965225f))))))));
  const float signed_inner = x < 0.0f ? -inner : inner, tail = 0.5f * outer;
  const float p = a < 1.0f ? 0.5f + 0.5f * signed_inner : (x > 0.0f ? 1.0f - tail : tail);
  return (struct point){x * p, p + x * 0.398942280401433f * bell};
}

/* (1 + tanh(u)) / 2 is the sigmoid of 2 u. */
static inline struct point gelu_tanh_point(float x) {
  const float u = 1.59576912160573f * (x + 0.044715f * x * x * x);
  const float slope = 1.59576912160573f * (1.0f + 0.134145f * x * x);
  const float s = 1.0f / (1.0f + exp_f32(-u));
  return (struct point){x * s, s + x * s * (1.0f - s) * slope};
}

static inline struct point silu_point(float x) {
  const float s = 1.0f / (1.0f + exp_f32(-x));
  return (struct point){x * s, s * (1.0f + x * (1.0f - s))};
}

/* Not `x > 0 ? x : 0`, which would turn NaN into 0. */
static inline struct point relu_point(float x) { return (struct point){x < 0.0f ? 0.0f : x, x > 0.0f ? 1.0f : 0.0f}; }

/* Instantiates a loop for every nonlinearity, in the order of ACTIVATIONS. */
#define FOR_EACH_KIND(kind, LOOP) \
  switch (kind) {                 \
    case 0: LOOP(gelu_point); break;       \
    case 1: LOOP(gelu_tanh_point); break;  \
    case 2: LOOP(silu_point); break;       \
    default: LOOP(relu_point); break;      \
  }

/* Elements that one thread takes at a time. */
#define BLOCK 4096

struct ActivationArgs {
  const element *x;
  element *y;
  int64_t count, kind;
};

/* y = f(x); y may be x. */
void activation(const struct ActivationArgs *args) {
  const struct ActivationArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t first = 0; first < s.count; first += BLOCK) {
    const int64_t end = first + BLOCK < s.count ? first + BLOCK : s.count;
#define LOOP(f) _Pragma("omp simd") for (int64_t i = first; i < end; i++) s.y[i] = f(s.x[i]).value
    FOR_EACH_KIND(s.kind, LOOP)
#undef LOOP
  }
}

struct ActivationBackwardArgs {
  const element *dy, *x;
  element *dx;
  int64_t count, kind;
};

/* dx = dy * f'(x); dx may be dy or x. */
void activationBackward(const struct ActivationBackwardArgs *args) {
  const struct ActivationBackwardArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t first = 0; first < s.count; first += BLOCK) {
    const int64_t end = first + BLOCK < s.count ? first + BLOCK : s.count;
#define LOOP(f) _Pragma("omp simd") for (int64_t i = first; i < end; i++) s.dx[i] = s.dy[i] * f(s.x[i]).slope
    FOR_EACH_KIND(s.kind, LOOP)
#undef LOOP
  }
}

struct GatedActivationArgs {
  const element *gateUp;
  element *y;
  int64_t rows, columns, kind;
};

/* y = f(gate) * up for rows [gate | up] of 2 * columns. */
void gatedActivation(const struct GatedActivationArgs *args) {
  const struct GatedActivationArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < s.rows; row++) {
    const element *gate = s.gateUp + row * 2 * s.columns, *up = gate + s.columns;
    element *y = s.y + row * s.columns;
#define LOOP(f) _Pragma("omp simd") for (int64_t j = 0; j < s.columns; j++) y[j] = f(gate[j]).value * up[j]
    FOR_EACH_KIND(s.kind, LOOP)
#undef LOOP
  }
}

struct GatedActivationBackwardArgs {
  const element *dy, *gateUp;
  element *dGateUp;
  int64_t rows, columns, kind;
};

/* dGate = dy * up * f'(gate), dUp = dy * f(gate); dGateUp may be gateUp. */
void gatedActivationBackward(const struct GatedActivationBackwardArgs *args) {
  const struct GatedActivationBackwardArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < s.rows; row++) {
    const element *dy = s.dy + row * s.columns, *gate = s.gateUp + row * 2 * s.columns, *up = gate + s.columns;
    element *dGate = s.dGateUp + row * 2 * s.columns, *dUp = dGate + s.columns;
#define LOOP(f)                                                \
  _Pragma("omp simd") for (int64_t j = 0; j < s.columns; j++) { \
    const struct point at = f(gate[j]);                        \
    const float slope = dy[j] * up[j] * at.slope;              \
    dUp[j] = dy[j] * at.value;                                 \
    dGate[j] = slope;                                          \
  }
    FOR_EACH_KIND(s.kind, LOOP)
#undef LOOP
  }
}
