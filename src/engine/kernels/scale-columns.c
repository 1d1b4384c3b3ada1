/* Every column times its own number. */
#include "common.h"

struct ScaleColumnsArgs {
  const element *x;
  const float *s;
  element *y;
  int64_t rows, columns, accumulate;
};

/* y[i, j] = x[i, j] s[j] (+ y[i, j]); y may be x. */
void scaleColumns(const struct ScaleColumnsArgs *args) {
  const struct ScaleColumnsArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < s.rows; i++) {
    const element *x = s.x + i * s.columns;
    element *y = s.y + i * s.columns;
    if (s.accumulate) {
#pragma omp simd
      for (int64_t j = 0; j < s.columns; j++) y[j] += x[j] * s.s[j];
    } else {
#pragma omp simd
      for (int64_t j = 0; j < s.columns; j++) y[j] = x[j] * s.s[j];
    }
  }
}
