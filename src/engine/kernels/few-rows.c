/* Product with few rows, as in generation: every weight is read once and used at once, so nothing is packed. */
#include "common.h"

struct FewRowsArgs {
  const float *a, *b;
  float *c;
  int64_t rows, columns, depth, add;
};

/* c (+)= a b^T for row-major a [rows, depth], b [columns, depth]. */
void matmulFewRows(const struct FewRowsArgs *args) {
  const struct FewRowsArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t j = 0; j < s.columns; j++)
    for (int64_t i = 0; i < s.rows; i++) {
      const float sum = dot(s.a + i * s.depth, s.b + j * s.depth, s.depth);
      float *place = s.c + i * s.columns + j;
      *place = s.add ? *place + sum : sum;
    }
}
