/* Root-mean-square norm and its gradients. */
#include "common.h"

struct RmsNormArgs {
  const element *x, *weight;
  element *y;
  float *rstd;
  int64_t rows, columns;
  double eps;
};

/* y = x * rstd * weight, rstd = 1 / sqrt(mean(x^2) + eps) for every row. */
void rmsNorm(const struct RmsNormArgs *args) {
  const struct RmsNormArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < s.rows; row++) {
    const element *x = s.x + row * s.columns;
    element *y = s.y + row * s.columns;
    const float rstd = 1.0f / sqrtf(dot(x, x, s.columns) / (float)s.columns + (float)s.eps);
    s.rstd[row] = rstd;
#pragma omp simd
    for (int64_t j = 0; j < s.columns; j++) y[j] = x[j] * rstd * s.weight[j];
  }
}

struct RmsNormBackwardArgs {
  const element *dy, *x, *weight;
  const float *rstd;
  element *dx;
  /* Null where no weight gradient is wanted. */
  element *dweight;
  /* Partial weight gradients [ceil(rows / chunkRows), columns]. */
  float *partials;
  int64_t rows, columns, chunkRows, accumulateDx, accumulateDweight;
};

/* One row: dx, and its share of the weight gradient added to `partial` unless that is null. dx may be dy. */
static inline void row_backward(const struct RmsNormBackwardArgs *s, int64_t row, float *partial) {
  const int64_t columns = s->columns;
  const element *dy = s->dy + row * columns, *x = s->x + row * columns, *weight = s->weight;
  element *dx = s->dx + row * columns;
  const float rstd = s->rstd[row];
  vector s0 = {0}, s1 = {0};
  float sum = 0;
  int64_t j = 0;
  for (; j + 2 * LANES <= columns; j += 2 * LANES) {
    s0 += load(dy + j) * load(weight + j) * load(x + j);
    s1 += load(dy + j + LANES) * load(weight + j + LANES) * load(x + j + LANES);
  }
  for (; j < columns; j++) sum += dy[j] * weight[j] * x[j];
  sum += sum_lanes(s0 + s1);
  if (partial) {
#pragma omp simd
    for (int64_t i = 0; i < columns; i++) partial[i] += dy[i] * (x[i] * rstd);
  }
  const float slope = rstd * rstd * rstd * sum / (float)columns;
  if (s->accumulateDx) {
#pragma omp simd
    for (int64_t i = 0; i < columns; i++) dx[i] += rstd * (dy[i] * weight[i]) - slope * x[i];
  } else {
#pragma omp simd
    for (int64_t i = 0; i < columns; i++) dx[i] = rstd * (dy[i] * weight[i]) - slope * x[i];
  }
}

/* dx = rstd * (h - x * rstd^2 * mean(h * x)) with h = dy * weight; dweight = sum over rows of dy * x * rstd, by chunks of rows. */
void rmsNormBackward(const struct RmsNormBackwardArgs *args) {
  const struct RmsNormBackwardArgs s = *args;
  const int64_t chunks = (s.rows + s.chunkRows - 1) / s.chunkRows;
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
      float *partial = s.dweight ? s.partials + chunk * s.columns : 0;
      if (partial) memset(partial, 0, s.columns * sizeof(float));
      const int64_t end = (chunk + 1) * s.chunkRows < s.rows ? (chunk + 1) * s.chunkRows : s.rows;
      for (int64_t row = chunk * s.chunkRows; row < end; row++) row_backward(&s, row, partial);
    }
    if (s.dweight) {
#pragma omp for schedule(static)
      for (int64_t first = 0; first < s.columns; first += LANES) {
        const int64_t width = first + LANES < s.columns ? LANES : s.columns - first;
        float sums[LANES] = {0};
        for (int64_t chunk = 0; chunk < chunks; chunk++)
#pragma omp simd
          for (int64_t j = 0; j < width; j++) sums[j] += s.partials[chunk * s.columns + first + j];
        for (int64_t j = 0; j < width; j++)
          s.dweight[first + j] = s.accumulateDweight ? s.dweight[first + j] + sums[j] : sums[j];
      }
    }
  }
}
