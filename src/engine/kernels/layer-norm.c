/* Layer norm and its gradients. */
#include "common.h"

static inline float sum(const float *x, int64_t n) {
  vector s0 = {0}, s1 = {0};
  int64_t i = 0;
  for (; i + 2 * LANES <= n; i += 2 * LANES) {
    s0 += load(x + i);
    s1 += load(x + i + LANES);
  }
  float total = sum_lanes(s0 + s1);
  for (; i < n; i++) total += x[i];
  return total;
}

struct LayerNormArgs {
  const element *x, *weight, *bias;
  element *y;
  float *mean, *rstd;
  int64_t rows, columns;
  double eps;
};

/* y = (x - mean) * rstd * weight + bias for every row; the variance is taken of the centred row, so that a large mean costs no precision. */
void layerNorm(const struct LayerNormArgs *args) {
  const struct LayerNormArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < s.rows; row++) {
    const element *x = s.x + row * s.columns;
    element *y = s.y + row * s.columns;
    const float mean = sum(x, s.columns) / (float)s.columns;
#pragma omp simd
    for (int64_t j = 0; j < s.columns; j++) y[j] = x[j] - mean;
    const float rstd = 1.0f / sqrtf(dot(y, y, s.columns) / (float)s.columns + (float)s.eps);
    s.mean[row] = mean;
    s.rstd[row] = rstd;
#pragma omp simd
    for (int64_t j = 0; j < s.columns; j++) y[j] = y[j] * rstd * s.weight[j] + s.bias[j];
  }
}

struct LayerNormBackwardArgs {
  const element *dy, *x, *weight;
  const float *mean, *rstd;
  element *dx;
  /* Null where no weight gradients are wanted. */
  element *dweight, *dbias;
  /* Partial gradients of weight and bias [ceil(rows / chunkRows), 2, columns]. */
  float *partials;
  int64_t rows, columns, chunkRows, accumulateDx, accumulateDweight, accumulateDbias;
};

/* One row: dx, and its share of the weight gradients added to `partial` unless that is null. dx may be dy. */
static inline void layer_row_backward(const struct LayerNormBackwardArgs *s, int64_t row, float *partial) {
  const int64_t columns = s->columns;
  const element *dy = s->dy + row * columns, *x = s->x + row * columns, *weight = s->weight;
  element *dx = s->dx + row * columns;
  const float mean = s->mean[row], rstd = s->rstd[row];
  vector sums = {0}, products = {0};
  float sum_h = 0, sum_hn = 0;
  int64_t j = 0;
  for (; j + LANES <= columns; j += LANES) {
    const vector h = load(dy + j) * load(weight + j);
    sums += h;
    products += h * ((load(x + j) - splat(mean)) * splat(rstd));
  }
  for (; j < columns; j++) {
    const float h = dy[j] * weight[j];
    sum_h += h;
    sum_hn += h * ((x[j] - mean) * rstd);
  }
  sum_h = (sum_h + sum_lanes(sums)) / (float)columns;
  sum_hn = (sum_hn + sum_lanes(products)) / (float)columns;
  if (partial) {
    float *bias = partial + columns;
#pragma omp simd
    for (int64_t i = 0; i < columns; i++) {
      partial[i] += dy[i] * ((x[i] - mean) * rstd);
      bias[i] += dy[i];
    }
  }
  if (s->accumulateDx) {
#pragma omp simd
    for (int64_t i = 0; i < columns; i++)
      dx[i] += rstd * (dy[i] * weight[i] - sum_h - (x[i] - mean) * rstd * sum_hn);
  } else {
#pragma omp simd
    for (int64_t i = 0; i < columns; i++) dx[i] = rstd * (dy[i] * weight[i] - sum_h - (x[i] - mean) * rstd * sum_hn);
  }
}

static inline void add_partials(const struct LayerNormBackwardArgs *s, int64_t chunks, int64_t first, int64_t part,
                                element *out, int64_t accumulate) {
  const int64_t width = first + LANES < s->columns ? LANES : s->columns - first;
  float sums[LANES] = {0};
  for (int64_t chunk = 0; chunk < chunks; chunk++)
    for (int64_t j = 0; j < width; j++) sums[j] += s->partials[(2 * chunk + part) * s->columns + first + j];
  for (int64_t j = 0; j < width; j++) out[first + j] = accumulate ? out[first + j] + sums[j] : sums[j];
}

/* With n = (x - mean) * rstd and h = dy * weight: dx = rstd * (h - mean(h) - n * mean(h * n)); dweight and dbias are sums by chunks of rows. */
void layerNormBackward(const struct LayerNormBackwardArgs *args) {
  const struct LayerNormBackwardArgs s = *args;
  const int64_t chunks = (s.rows + s.chunkRows - 1) / s.chunkRows;
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
      float *partial = s.dweight ? s.partials + chunk * 2 * s.columns : 0;
      if (partial) memset(partial, 0, 2 * s.columns * sizeof(float));
      const int64_t end = (chunk + 1) * s.chunkRows < s.rows ? (chunk + 1) * s.chunkRows : s.rows;
      for (int64_t row = chunk * s.chunkRows; row < end; row++) layer_row_backward(&s, row, partial);
    }
    if (s.dweight) {
#pragma omp for schedule(static)
      for (int64_t first = 0; first < s.columns; first += LANES) {
        add_partials(&s, chunks, first, 0, s.dweight, s.accumulateDweight);
        add_partials(&s, chunks, first, 1, s.dbias, s.accumulateDbias);
      }
    }
  }
}
