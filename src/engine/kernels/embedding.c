/* Rows of a table, and the sum of gradients into them. */
#include "common.h"
#include <omp.h>

struct EmbeddingArgs {
  const element *table;
  const int32_t *ids;
  element *y;
  int64_t count, vocabulary, columns;
};

/* y[i] = table[ids[i]]; a row of NaN for an id outside the table, so that it shows in the loss. */
void embedding(const struct EmbeddingArgs *args) {
  const struct EmbeddingArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < s.count; i++) {
    const int64_t id = s.ids[i];
    element *y = s.y + i * s.columns;
    if (id >= 0 && id < s.vocabulary)
      memcpy(y, s.table + id * s.columns, s.columns * sizeof(element));
    else
      for (int64_t j = 0; j < s.columns; j++) y[j] = NAN;
  }
}

struct EmbeddingBackwardArgs {
  const element *dy;
  const int32_t *ids;
  element *dTable;
  int64_t count, vocabulary, columns, accumulate;
};

/* dTable[ids[i]] += dy[i] in order of i: every thread owns some columns, so that no two ever add to one element. */
void embeddingBackward(const struct EmbeddingBackwardArgs *args) {
  const struct EmbeddingBackwardArgs s = *args;
#pragma omp parallel
  {
    if (!s.accumulate) {
#pragma omp for schedule(static)
      for (int64_t row = 0; row < s.vocabulary; row++)
        memset(s.dTable + row * s.columns, 0, s.columns * sizeof(element));
    }
    const int64_t threads = omp_get_num_threads(), thread = omp_get_thread_num();
    const int64_t blocks = (s.columns + LANES - 1) / LANES;
    const int64_t first = blocks * thread / threads * LANES, last = blocks * (thread + 1) / threads * LANES;
    const int64_t end = last < s.columns ? last : s.columns;
    for (int64_t i = 0; i < s.count; i++) {
      const int64_t id = s.ids[i];
      if (id < 0 || id >= s.vocabulary) continue;
      const element *dy = s.dy + i * s.columns;
      element *row = s.dTable + id * s.columns;
#pragma omp simd
      for (int64_t j = first; j < end; j++) row[j] += dy[j];
    }
  }
}
