/* Product with few rows, as in generation: every weight is read once and used at once, so nothing is packed. */
#include "reduce.h"

struct FewRowsArgs {
  const float *a, *b;
  float *c;
  int64_t rows, columns, depth, add;
};

#define MOST_ROWS 4
/* Columns that one call computes together. */
#define GROUP 4
/* A product smaller than this takes less time than waking a second thread. */
#define LEAST_SHARED 32768

/* Products of `rows` rows of a with one row of b, which is read once. */
static inline __attribute__((always_inline)) void multiply(const float *a, const float *b, int64_t depth, const int rows, vector *sums) {
  vector first[MOST_ROWS], second[MOST_ROWS];
  for (int i = 0; i < rows; i++) first[i] = second[i] = (vector){0};
  int64_t k = 0;
  for (; k + 2 * LANES <= depth; k += 2 * LANES) {
    const vector b0 = load(b + k), b1 = load(b + k + LANES);
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) {
      first[i] += load(a + i * depth + k) * b0;
      second[i] += load(a + i * depth + k + LANES) * b1;
    }
  }
  for (; k + LANES <= depth; k += LANES)
    for (int i = 0; i < rows; i++) first[i] += load(a + i * depth + k) * load(b + k);
  for (int i = 0; i < rows; i++) sums[i] = first[i] + second[i];
}

/* `count` columns from `column` on, of `rows` rows. */
static inline __attribute__((always_inline)) void group(const struct FewRowsArgs *s, int64_t column, int64_t count, const int rows) {
  const int64_t depth = s->depth, whole = depth / LANES * LANES;
  const float *b = s->b + column * depth;
  vector sums[GROUP][MOST_ROWS];
  for (int64_t j = 0; j < GROUP; j++) {
    if (j >= count)
      for (int i = 0; i < rows; i++) sums[j][i] = (vector){0};
    else
      multiply(s->a, b + j * depth, depth, rows, sums[j]);
  }
  for (int i = 0; i < rows; i++) {
    float results[GROUP];
    const four totals = sum_lanes_of_four(sums[0][i], sums[1][i], sums[2][i], sums[3][i]);
    memcpy(results, &totals, sizeof totals);
    float *place = s->c + i * s->columns + column;
    for (int64_t j = 0; j < count; j++) {
      float sum = results[j];
      for (int64_t k = whole; k < depth; k++) sum += s->a[i * depth + k] * b[j * depth + k];
      place[j] = s->add ? place[j] + sum : sum;
    }
  }
}

/* The same for one row. */
static inline void group_of_one(const struct FewRowsArgs *s, int64_t column, int64_t count) {
  const float *b = s->b + column * s->depth;
  float results[GROUP];
  if (count == GROUP)
    dot_of_four(s->a, b, s->depth, s->depth, results);
  else
    for (int64_t j = 0; j < count; j++) results[j] = dot(s->a, b + j * s->depth, s->depth);
  for (int64_t j = 0; j < count; j++) s->c[column + j] = s->add ? s->c[column + j] + results[j] : results[j];
}

/* c (+)= a b^T for row-major a [rows, depth], b [columns, depth], with at most four rows. */
void matmulFewRows(const struct FewRowsArgs *args) {
  const struct FewRowsArgs s = *args;
#pragma omp parallel for schedule(static) if (s.columns * s.depth >= LEAST_SHARED)
  for (int64_t j = 0; j < s.columns; j += GROUP) {
    const int64_t count = s.columns - j < GROUP ? s.columns - j : GROUP;
    switch (s.rows) {
    case 1: group_of_one(&s, j, count); break;
    case 2: group(&s, j, count, 2); break;
    case 3: group(&s, j, count, 3); break;
    default: group(&s, j, count, 4);
    }
  }
}
