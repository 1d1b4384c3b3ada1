/* Sums over the lanes of four vectors at once, for products with few rows. */
#ifndef STRATA_REDUCE_H
#define STRATA_REDUCE_H

#include "common.h"

typedef float four __attribute__((vector_size(16)));
typedef int32_t four_index __attribute__((vector_size(16)));

#if defined(__clang__)
#define SHUFFLE_FOUR(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define SHUFFLE_FOUR(a, b, i, j, k, l) __builtin_shuffle(a, b, (four_index){i, j, k, l})
#endif

/* Quarters (or halves) of a vector added, in the order in which they lie. */
static inline four fold(vector v) {
  four parts[LANES / 4];
  memcpy(parts, &v, sizeof v);
#if VECTOR_BYTES == 64
  return (parts[0] + parts[1]) + (parts[2] + parts[3]);
#elif VECTOR_BYTES == 32
  return parts[0] + parts[1];
#else
  return parts[0];
#endif
}

/* The sums of the lanes of a, b, c and d. */
static inline four sum_lanes_of_four(vector a, vector b, vector c, vector d) {
  const four p = fold(a), q = fold(b), r = fold(c), s = fold(d);
  const four pq = SHUFFLE_FOUR(p, q, 0, 4, 1, 5) + SHUFFLE_FOUR(p, q, 2, 6, 3, 7);
  const four rs = SHUFFLE_FOUR(r, s, 0, 4, 1, 5) + SHUFFLE_FOUR(r, s, 2, 6, 3, 7);
  return SHUFFLE_FOUR(pq, rs, 0, 1, 4, 5) + SHUFFLE_FOUR(pq, rs, 2, 3, 6, 7);
}

/* out[j] = a . row j of b for four rows, one behind the other: memory is then read in one stream, which prefetching follows best. Hence the names:
 * compilers compute arguments of a call in any order, and rows read backwards came at half the speed. */
static inline void dot_of_four(const float *a, const float *b, int64_t stride, int64_t n, float *out) {
  const vector first = products(a, b, n), second = products(a, b + stride, n);
  const vector third = products(a, b + 2 * stride, n), fourth = products(a, b + 3 * stride, n);
  const four sums = sum_lanes_of_four(first, second, third, fourth);
  const int64_t whole = n / LANES * LANES;
  memcpy(out, &sums, sizeof sums);
  for (int64_t i = whole; i < n; i++)
    for (int j = 0; j < 4; j++) out[j] += a[i] * b[j * stride + i];
}

#endif
