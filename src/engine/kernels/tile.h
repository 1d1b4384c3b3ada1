/* Products of small tiles that lie in cache, for the attention kernels. */
#ifndef STRATA_TILE_H
#define STRATA_TILE_H

#include "common.h"

/* Rows of a tile: queries or keys of one block. */
#define TILE 64

/* One micro product keeps MICRO_ROWS x MICRO_VECTORS vectors of its result in registers: 16 of AVX-512's and NEON's 32, 8 of AVX's 16. */
#if defined(__AVX__) && !defined(__AVX512F__)
#define MICRO_ROWS 4
#else
#define MICRO_ROWS 8
#endif
#define MICRO_VECTORS 2
#define PANEL (MICRO_VECTORS * LANES)

#define INLINE static inline __attribute__((always_inline))

/* c[m, n] (+)= sum over k in [first, last) of a[m * rowStep + k * innerStep] * b[k * bStep + n], m < MICRO_ROWS, n < PANEL. */
INLINE void micro_product(const float *a, int64_t rowStep, int64_t innerStep, const float *b, int64_t bStep, int64_t first,
                          int64_t last, float *c, int64_t cStep, int accumulate) {
  vector sums[MICRO_ROWS][MICRO_VECTORS];
  for (int m = 0; m < MICRO_ROWS; m++)
    for (int v = 0; v < MICRO_VECTORS; v++) sums[m][v] = accumulate ? load(c + m * cStep + v * LANES) : (vector){0};
  for (int64_t k = first; k < last; k++) {
    vector row[MICRO_VECTORS];
    for (int v = 0; v < MICRO_VECTORS; v++) row[v] = load(b + k * bStep + v * LANES);
    for (int m = 0; m < MICRO_ROWS; m++) {
      const float factor = a[m * rowStep + k * innerStep];
      for (int v = 0; v < MICRO_VECTORS; v++) sums[m][v] += factor * row[v];
    }
  }
  for (int m = 0; m < MICRO_ROWS; m++)
    for (int v = 0; v < MICRO_VECTORS; v++) store(c + m * cStep + v * LANES, sums[m][v]);
}

typedef float quad __attribute__((vector_size(16)));
typedef float quad_unaligned __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t quad_index __attribute__((vector_size(16)));

#if defined(__clang__)
#define SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define SHUFFLE(a, b, i, j, k, l) __builtin_shuffle(a, b, (quad_index){i, j, k, l})
#endif

/* y[d * TILE + i] = factor * x[i * step + d] for i < count; zero for the other i < TILE. `columns` is a multiple of 4. */
INLINE void transpose_tile(float *y, const float *x, int64_t step, int64_t count, int64_t columns, float factor) {
  const int64_t whole = count / 4 * 4;
  for (int64_t i = 0; i < whole; i += 4)
    for (int64_t d = 0; d < columns; d += 4) {
      const float *p = x + i * step + d;
      const quad a = factor * *(const quad_unaligned *)p, b = factor * *(const quad_unaligned *)(p + step);
      const quad c = factor * *(const quad_unaligned *)(p + 2 * step), e = factor * *(const quad_unaligned *)(p + 3 * step);
      const quad ab = SHUFFLE(a, b, 0, 4, 1, 5), ce = SHUFFLE(c, e, 0, 4, 1, 5);
      const quad ab2 = SHUFFLE(a, b, 2, 6, 3, 7), ce2 = SHUFFLE(c, e, 2, 6, 3, 7);
      float *q = y + d * TILE + i;
      *(quad_unaligned *)q = SHUFFLE(ab, ce, 0, 1, 4, 5);
      *(quad_unaligned *)(q + TILE) = SHUFFLE(ab, ce, 2, 3, 6, 7);
      *(quad_unaligned *)(q + 2 * TILE) = SHUFFLE(ab2, ce2, 0, 1, 4, 5);
      *(quad_unaligned *)(q + 3 * TILE) = SHUFFLE(ab2, ce2, 2, 3, 6, 7);
    }
  for (int64_t i = whole; i < TILE; i++)
    for (int64_t d = 0; d < columns; d++) y[d * TILE + i] = i < count ? factor * x[i * step + d] : 0;
}

/* Keeps the compiler from making a call of memcpy out of a loop, slow for rows as short as these. */
#define KEEP_LOOP __asm__ volatile("" : : : "memory")

/* y[i * width + d] = factor * x[i * step + d] for i < count and d < columns; zero for the other i < TILE and d < width. */
INLINE void pack_tile(float *y, const int64_t width, const float *x, int64_t step, int64_t count, int64_t columns, float factor) {
  for (int64_t i = 0; i < count; i++) {
    int64_t d = 0;
    for (; d + LANES <= columns; d += LANES) {
      store(y + i * width + d, factor * load(x + i * step + d));
      KEEP_LOOP;
    }
    for (; d < columns; d++) y[i * width + d] = factor * x[i * step + d];
    for (; d < width; d++) y[i * width + d] = 0;
  }
  for (int64_t i = count; i < TILE; i++)
    for (int64_t d = 0; d < width; d++) y[i * width + d] = 0;
}

/* Key groups and query panels of a tile on the diagonal: where all queries of a panel precede the keys there is nothing to do. */
INLINE int64_t first_panel(int64_t key, int diagonal) { return diagonal ? key / PANEL * PANEL : 0; }

/* scores[j * TILE + i] = sum_d rows[j * width + d] * columns[d * TILE + i]: keys by queries; on the diagonal without the panels that are masked. */
INLINE void score_tile(float *scores, const float *rows, int64_t width, const float *columns, int64_t inner, int diagonal) {
  for (int64_t j = 0; j < TILE; j += MICRO_ROWS)
    for (int64_t i = first_panel(j, diagonal); i < TILE; i += PANEL)
      micro_product(rows + j * width, width, 1, columns + i, TILE, 0, inner, scores + j * TILE + i, TILE, 0);
}

/* y[i, d] += sum over keys j of p[j * TILE + i] * rows[j * width + d]; on the diagonal only keys that are not behind the queries. */
INLINE void gather_tile(float *y, const float *p, const float *rows, int64_t width, int diagonal, int accumulate) {
  for (int64_t i = 0; i < TILE; i += MICRO_ROWS) {
    const int64_t last = diagonal ? i + MICRO_ROWS : TILE;
    for (int64_t d = 0; d < width; d += PANEL)
      micro_product(p + i, 1, TILE, rows + d, width, 0, last, y + i * width + d, width, accumulate);
  }
}

/* y[j, d] (+)= sum over queries i of p[j * TILE + i] * rows[i * width + d]; on the diagonal only queries that are not before the keys. */
INLINE void scatter_tile(float *y, const float *p, const float *rows, int64_t width, int diagonal, int accumulate) {
  for (int64_t j = 0; j < TILE; j += MICRO_ROWS)
    for (int64_t d = 0; d < width; d += PANEL)
      micro_product(p + j * TILE, TILE, 1, rows + d, width, diagonal ? j : 0, TILE, y + j * width + d, width, accumulate);
}

#endif
