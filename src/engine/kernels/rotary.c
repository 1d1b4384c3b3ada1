/* Rotary position embedding on packed rows. */
#include "common.h"

struct RotaryArgs {
  const element *x;
  const float *cos, *sin;
  element *y;
  int64_t rows, length, heads, kvHeads, headDim, half;
  double sign;
};

/* Turns query and key heads of every row [q | k | v] by its position (backwards where sign is -1); y may be x. */
void rotary(const struct RotaryArgs *args) {
  const struct RotaryArgs s = *args;
  const int64_t turned = s.heads + s.kvHeads, width = (turned + s.kvHeads) * s.headDim, half = s.half;
  const float sign = (float)s.sign;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < s.rows; row++) {
    const float *cos = s.cos + row % s.length * half, *sin = s.sin + row % s.length * half;
    for (int64_t head = 0; head < turned; head++) {
      const element *x = s.x + row * width + head * s.headDim;
      element *y = s.y + row * width + head * s.headDim;
#pragma omp simd
      for (int64_t j = 0; j < half; j++) {
        const float a = x[j], b = x[j + half], turn = sign * sin[j];
        y[j] = a * cos[j] - b * turn;
        y[j + half] = b * cos[j] + a * turn;
      }
      if (x != y) memcpy(y + 2 * half, x + 2 * half, (s.headDim - 2 * half) * sizeof(element));
    }
    const int64_t values = row * width + turned * s.headDim;
    if (s.x != s.y) memcpy(s.y + values, s.x + values, s.kvHeads * s.headDim * sizeof(element));
  }
}
