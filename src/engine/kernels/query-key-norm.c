/* Root-mean-square norms of queries and keys in packed rows, and their gradients. */
#include "common.h"

/* A row is [query | key | value]; queries fall into norms of queryNorm columns, keys into norms of keyNorm columns. */
struct QueryKeyNormArgs {
  const element *qkv, *queryWeight, *keyWeight;
  element *y;
  float *rstd;
  int64_t rows, width, query, key, queryNorm, keyNorm;
  double eps;
};

/* y = x * rstd * weight for every norm of a row; values are copied. y may be qkv. */
void queryKeyNorm(const struct QueryKeyNormArgs *args) {
  const struct QueryKeyNormArgs s = *args;
  const int64_t norms = s.query / s.queryNorm + s.key / s.keyNorm;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < s.rows; row++) {
    const element *x = s.qkv + row * s.width;
    element *y = s.y + row * s.width;
    int64_t first = 0;
    for (int64_t norm = 0; norm < norms; norm++) {
      const int64_t isQuery = first < s.query, columns = isQuery ? s.queryNorm : s.keyNorm;
      const element *weight = isQuery ? s.queryWeight : s.keyWeight;
      const float rstd = 1.0f / sqrtf(dot(x + first, x + first, columns) / (float)columns + (float)s.eps);
      s.rstd[row * norms + norm] = rstd;
#pragma omp simd
      for (int64_t j = 0; j < columns; j++) y[first + j] = x[first + j] * rstd * weight[j];
      first += columns;
    }
    if (y != x) memcpy(y + first, x + first, (s.width - first) * sizeof(element));
  }
}

struct QueryKeyNormBackwardArgs {
  const element *dy, *qkv, *queryWeight, *keyWeight;
  const float *rstd;
  element *dqkv;
  /* Null where no weight gradients are wanted. */
  element *dqueryWeight, *dkeyWeight;
  /* Partial gradients of both weights [ceil(rows / chunkRows), queryNorm + keyNorm]. */
  float *partials;
  int64_t rows, width, query, key, queryNorm, keyNorm, chunkRows, accumulateQuery, accumulateKey;
};

/* One norm: dx = rstd * (h - x * rstd^2 * mean(h * x)) with h = dy * weight; dx may be dy. */
static inline void norm_backward(const element *dy, const element *x, const element *weight, float rstd, element *dx,
                                 float *partial, int64_t columns) {
  vector lanes = {0};
  float sum = 0;
  int64_t j = 0;
  for (; j + LANES <= columns; j += LANES) lanes += load(dy + j) * load(weight + j) * load(x + j);
  for (; j < columns; j++) sum += dy[j] * weight[j] * x[j];
  sum += sum_lanes(lanes);
  if (partial) {
#pragma omp simd
    for (int64_t i = 0; i < columns; i++) partial[i] += dy[i] * (x[i] * rstd);
  }
  const float slope = rstd * rstd * rstd * sum / (float)columns;
#pragma omp simd
  for (int64_t i = 0; i < columns; i++) dx[i] = rstd * (dy[i] * weight[i]) - slope * x[i];
}

static inline void rows_backward(const struct QueryKeyNormBackwardArgs *s, int64_t row, float *partial) {
  const int64_t norms = s->query / s->queryNorm + s->key / s->keyNorm;
  const element *dy = s->dy + row * s->width, *x = s->qkv + row * s->width;
  element *dx = s->dqkv + row * s->width;
  int64_t first = 0;
  for (int64_t norm = 0; norm < norms; norm++) {
    const int64_t isQuery = first < s->query, columns = isQuery ? s->queryNorm : s->keyNorm;
    float *share = partial ? partial + (isQuery ? 0 : s->queryNorm) : 0;
    norm_backward(dy + first, x + first, isQuery ? s->queryWeight : s->keyWeight, s->rstd[row * norms + norm], dx + first, share,
                  columns);
    first += columns;
  }
  if (dx != dy) memcpy(dx + first, dy + first, (s->width - first) * sizeof(element));
}

/* Gradients of the packed rows and, if asked for, of both weights, by chunks of rows. */
void queryKeyNormBackward(const struct QueryKeyNormBackwardArgs *args) {
  const struct QueryKeyNormBackwardArgs s = *args;
  const int64_t chunks = (s.rows + s.chunkRows - 1) / s.chunkRows, width = s.queryNorm + s.keyNorm;
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
      float *partial = s.dqueryWeight ? s.partials + chunk * width : 0;
      if (partial) memset(partial, 0, width * sizeof(float));
      const int64_t end = (chunk + 1) * s.chunkRows < s.rows ? (chunk + 1) * s.chunkRows : s.rows;
      for (int64_t row = chunk * s.chunkRows; row < end; row++) rows_backward(&s, row, partial);
    }
    if (s.dqueryWeight) {
#pragma omp for schedule(static)
      for (int64_t j = 0; j < width; j++) {
        float sum = 0;
        for (int64_t chunk = 0; chunk < chunks; chunk++) sum += s.partials[chunk * width + j];
        const int64_t isQuery = j < s.queryNorm;
        element *out = isQuery ? s.dqueryWeight + j : s.dkeyWeight + j - s.queryNorm;
        *out = (isQuery ? s.accumulateQuery : s.accumulateKey) ? *out + sum : sum;
      }
    }
  }
}
