/* Products of small tiles that lie in cache, for the attention kernels, in f32 or, where BF16_PRODUCTS is defined, of operands rounded to bf16.
 *
 * Operands are made of cells: an element, or a pair of rounded ones that follow each other along what is summed over. Sums are f32. */
#ifndef STRATA_TILE_H
#define STRATA_TILE_H

#if defined(BF16_PRODUCTS)
#include <stdint.h>
typedef uint32_t cell;
/* Elements in a cell. */
#define PAIRED 2
#include "bf16.h"
#include "cells.h"
#else
typedef float cell;
#define PAIRED 1
#include "common.h"
#endif

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

/* Widest head, padded. */
#define MOST_WIDTH 256

#if defined(BF16_PRODUCTS)
typedef pairs operand;
#define LOAD_OPERAND LOAD_PAIRS
#define SPLAT_OPERAND SPLAT_PAIRS
#else
typedef vector operand;
#define LOAD_OPERAND load
#define SPLAT_OPERAND splat
#define ADD_PRODUCTS(sums, x, y) ((sums) + (x) * (y))
#endif

/* c[m, n] (+)= sum over cells k in [first, last) of a[m * rowStep + k * innerStep] * b[k * bStep + n], m < MICRO_ROWS, n < PANEL. */
INLINE void micro_product(const cell *a, int64_t rowStep, int64_t innerStep, const cell *b, int64_t bStep, int64_t first,
                          int64_t last, float *c, int64_t cStep, int accumulate) {
  vector sums[MICRO_ROWS][MICRO_VECTORS];
  for (int m = 0; m < MICRO_ROWS; m++)
    for (int v = 0; v < MICRO_VECTORS; v++) sums[m][v] = accumulate ? load(c + m * cStep + v * LANES) : (vector){0};
  for (int64_t k = first; k < last; k++) {
    operand row[MICRO_VECTORS];
    for (int v = 0; v < MICRO_VECTORS; v++) row[v] = LOAD_OPERAND(b + k * bStep + v * LANES);
    for (int m = 0; m < MICRO_ROWS; m++) {
      const operand factor = SPLAT_OPERAND(a[m * rowStep + k * innerStep]);
      for (int v = 0; v < MICRO_VECTORS; v++) sums[m][v] = ADD_PRODUCTS(sums[m][v], factor, row[v]);
    }
  }
  for (int m = 0; m < MICRO_ROWS; m++)
    for (int v = 0; v < MICRO_VECTORS; v++) store(c + m * cStep + v * LANES, sums[m][v]);
}

#if defined(BF16_PRODUCTS)
/* cells[d] = the pair (2 d, 2 d + 1) of factor * x. */
INLINE void pair_columns(cell *cells, const float *x, int64_t columns, float factor) {
  float row[MOST_WIDTH] __attribute__((aligned(64)));
#pragma omp simd
  for (int64_t d = 0; d < columns; d++) row[d] = factor * x[d];
  pair_neighbours(cells, row, columns / 2, columns);
}

/* y[d * TILE + i] = the pair (2 d, 2 d + 1) of factor * x[i * step...] for i < count; zero for the other i < TILE. `columns` is even. */
static void transpose_tile(cell *y, const float *x, int64_t step, int64_t count, int64_t columns, float factor) {
  cell staged[TILE * 128] __attribute__((aligned(64)));
  const int64_t pairs = columns / 2;
  for (int64_t i = 0; i < count; i++) pair_columns(staged + i * pairs, x + i * step, columns, factor);
  transpose_cells(y, TILE, staged, pairs, pairs, (int)count);
  clear_columns(y, TILE, pairs, (int)count);
}

/* For sums over columns: y[i * width + d] = the pair (2 d, 2 d + 1) of row i; zero behind. */
static void pack_tile(cell *y, const int64_t width, const float *x, int64_t step, int64_t count, int64_t columns, float factor) {
  for (int64_t i = 0; i < count; i++) pair_columns(y + i * width, x + i * step, columns, factor);
  memset(y + count * width, 0, (size_t)((TILE - count) * width) * sizeof(cell));
}

/* For sums over rows: y[i * width + d] = the pair of rows 2 i and 2 i + 1; zero behind. */
static void pack_rows(cell *y, const int64_t width, const float *x, int64_t step, int64_t count, int64_t columns, float factor) {
  float rows[2][MOST_WIDTH] __attribute__((aligned(64)));
  for (int64_t i = 0; i < TILE; i += 2) {
    for (int64_t r = 0; r < 2; r++)
#pragma omp simd
      for (int64_t d = 0; d < width; d++) rows[r][d] = i + r < count && d < columns ? factor * x[(i + r) * step + d] : 0;
    pair_rows(y + i / 2 * width, rows[0], rows[1], (int)width);
  }
}

/* Pairs of a tile's rows, or of neighbours within them, for products that sum over rows or over columns. */
static const cell *rows_paired(cell *y, const float *tile) {
  for (int64_t j = 0; j < TILE; j += 2) pair_rows(y + j / 2 * TILE, tile + j * TILE, tile + (j + 1) * TILE, TILE);
  return y;
}
static const cell *columns_paired(cell *y, const float *tile) {
  for (int64_t j = 0; j < TILE; j++) pair_neighbours(y + j * (TILE / 2), tile + j * TILE, TILE / 2, TILE);
  return y;
}
#else
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

/* y[i * width + d] = factor * x[i * step + d] for i < count and d < columns; zero for the other i < TILE and d < width. In f32 one packing serves products
 * that sum over columns and those that sum over rows. */
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

#define pack_rows pack_tile
INLINE const cell *rows_paired(cell *unused, const float *tile) { (void)unused; return tile; }
INLINE const cell *columns_paired(cell *unused, const float *tile) { (void)unused; return tile; }
#endif

/* Key groups and query panels of a tile on the diagonal: where all queries of a panel precede the keys there is nothing to do. */
INLINE int64_t first_panel(int64_t key, int diagonal) { return diagonal ? key / PANEL * PANEL : 0; }

/* scores[j * TILE + i] = sum_d rows[j, d] * columns[d, i]: keys by queries; on the diagonal without the panels that are masked. */
INLINE void score_tile(float *scores, const cell *rows, int64_t width, const cell *columns, int64_t inner, int diagonal) {
  for (int64_t j = 0; j < TILE; j += MICRO_ROWS)
    for (int64_t i = first_panel(j, diagonal); i < TILE; i += PANEL)
      micro_product(rows + j * width, width, 1, columns + i, TILE, 0, inner, scores + j * TILE + i, TILE, 0);
}

/* y[i, d] += sum over keys j of p[j, i] * rows[j, d], both by rows; on the diagonal only keys that are not behind the queries. */
INLINE void gather_tile(float *y, const cell *p, const cell *rows, int64_t width, int diagonal, int accumulate) {
  for (int64_t i = 0; i < TILE; i += MICRO_ROWS) {
    const int64_t last = (diagonal ? i + MICRO_ROWS : TILE) / PAIRED;
    for (int64_t d = 0; d < width; d += PANEL)
      micro_product(p + i, 1, TILE, rows + d, width, 0, last, y + i * width + d, width, accumulate);
  }
}

/* y[j, d] (+)= sum over queries i of p[j, i] * rows[i, d], p by columns; on the diagonal only queries that are not before the keys. */
INLINE void scatter_tile(float *y, const cell *p, const cell *rows, int64_t width, int diagonal, int accumulate) {
  const int64_t step = TILE / PAIRED;
  for (int64_t j = 0; j < TILE; j += MICRO_ROWS)
    for (int64_t d = 0; d < width; d += PANEL)
      micro_product(p + j * step, step, 1, rows + d, width, (diagonal ? j : 0) / PAIRED, step, y + j * width + d, width, accumulate);
}

#endif
