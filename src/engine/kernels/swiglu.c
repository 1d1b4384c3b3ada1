/* Gated linear unit with SiLU, and its gradient. */
#include "common.h"

struct SwigluArgs {
  const element *gateUp;
  element *y;
  int64_t rows, columns;
};

/* y = silu(gate) * up for rows [gate | up] of 2 * columns. */
void swiglu(const struct SwigluArgs *args) {
  const struct SwigluArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < s.rows; row++) {
    const element *gate = s.gateUp + row * 2 * s.columns, *up = gate + s.columns;
    element *y = s.y + row * s.columns;
#pragma omp simd
    for (int64_t j = 0; j < s.columns; j++) y[j] = gate[j] / (1.0f + exp_f32(-gate[j])) * up[j];
  }
}

struct SwigluBackwardArgs {
  const element *dy, *gateUp;
  element *dGateUp;
  int64_t rows, columns;
};

/* With s = sigmoid(gate): dGate = dy * up * s * (1 + gate * (1 - s)), dUp = dy * gate * s; dGateUp may be gateUp. */
void swigluBackward(const struct SwigluBackwardArgs *args) {
  const struct SwigluBackwardArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < s.rows; row++) {
    const element *dy = s.dy + row * s.columns, *gate = s.gateUp + row * 2 * s.columns, *up = gate + s.columns;
    element *dGate = s.dGateUp + row * 2 * s.columns, *dUp = dGate + s.columns;
#pragma omp simd
    for (int64_t j = 0; j < s.columns; j++) {
      const float g = gate[j], sigmoid = 1.0f / (1.0f + exp_f32(-g)), gradient = dy[j] * sigmoid, u = up[j];
      dGate[j] = gradient * u * (1.0f + g * (1.0f - sigmoid));
      dUp[j] = gradient * g;
    }
  }
}
