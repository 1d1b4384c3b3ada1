/* Operands of products, made of 4-byte cells: an f32 element, or a pair of bf16 ones that follow each other along what is summed over.
 * The file that includes this says which: `cell` is the type. */
#ifndef STRATA_CELLS_H
#define STRATA_CELLS_H

#include "common.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#if defined(__clang__)
#define SHUFFLE4(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define SHUFFLE4(a, b, i, j, k, l) __builtin_shuffle(a, b, (four){i, j, k, l})
#endif

/* Four cells as one. */
typedef int32_t four __attribute__((vector_size(16)));
typedef int32_t four_unaligned __attribute__((vector_size(16), aligned(4), may_alias));

/* panel[k * width + i] = from[i * stride + k] for k < depth, i < count: four cells of `count` rows at a time. Nothing is written behind `count`. */
static inline __attribute__((always_inline)) void transpose_cells(cell *restrict panel, int width, const cell *restrict from, int64_t stride,
                                                                  int64_t depth, int count) {
  int64_t k = 0;
#if defined(__AVX512F__)
  /* Lane l of vector r holds four cells of row 4 l + r, so that transposing within lanes puts 16 rows in order. */
  for (int first = 0; first < count; first += 16) {
    const int rows = count - first < 16 ? count - first : 16;
    const __mmask16 kept = (__mmask16)((1u << rows) - 1);
    const cell *row[16];
    for (int i = 0; i < 16; i++) row[i] = from + (first + (i < rows ? i : 0)) * stride;
    for (k = 0; k + 4 <= depth; k += 4) {
      __m512i v[4];
#pragma GCC unroll 4
      for (int r = 0; r < 4; r++) {
        v[r] = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(row[r] + k)));
        v[r] = _mm512_inserti32x4(v[r], _mm_loadu_si128((const __m128i *)(row[r + 4] + k)), 1);
        v[r] = _mm512_inserti32x4(v[r], _mm_loadu_si128((const __m128i *)(row[r + 8] + k)), 2);
        v[r] = _mm512_inserti32x4(v[r], _mm_loadu_si128((const __m128i *)(row[r + 12] + k)), 3);
      }
      const __m512i low = _mm512_unpacklo_epi32(v[0], v[1]), high = _mm512_unpackhi_epi32(v[0], v[1]);
      const __m512i low2 = _mm512_unpacklo_epi32(v[2], v[3]), high2 = _mm512_unpackhi_epi32(v[2], v[3]);
      cell *to = panel + k * width + first;
      _mm512_mask_storeu_epi32(to, kept, _mm512_unpacklo_epi64(low, low2));
      _mm512_mask_storeu_epi32(to + width, kept, _mm512_unpackhi_epi64(low, low2));
      _mm512_mask_storeu_epi32(to + 2 * width, kept, _mm512_unpacklo_epi64(high, high2));
      _mm512_mask_storeu_epi32(to + 3 * width, kept, _mm512_unpackhi_epi64(high, high2));
    }
  }
#else
  for (; k + 4 <= depth; k += 4)
    for (int i = 0; i + 4 <= count; i += 4) {
      const cell *p = from + i * stride + k;
      const four a = *(const four_unaligned *)p, b = *(const four_unaligned *)(p + stride);
      const four c = *(const four_unaligned *)(p + 2 * stride), e = *(const four_unaligned *)(p + 3 * stride);
      const four ab = SHUFFLE4(a, b, 0, 4, 1, 5), ce = SHUFFLE4(c, e, 0, 4, 1, 5);
      const four ab2 = SHUFFLE4(a, b, 2, 6, 3, 7), ce2 = SHUFFLE4(c, e, 2, 6, 3, 7);
      cell *q = panel + k * width + i;
      *(four_unaligned *)q = SHUFFLE4(ab, ce, 0, 1, 4, 5);
      *(four_unaligned *)(q + width) = SHUFFLE4(ab, ce, 2, 3, 6, 7);
      *(four_unaligned *)(q + 2 * width) = SHUFFLE4(ab2, ce2, 0, 1, 4, 5);
      *(four_unaligned *)(q + 3 * width) = SHUFFLE4(ab2, ce2, 2, 3, 6, 7);
    }
  for (int i = count / 4 * 4; i < count; i++)
    for (int64_t j = 0; j < k; j++) panel[j * width + i] = from[i * stride + j];
#endif
  for (; k < depth; k++)
    for (int i = 0; i < count; i++) panel[k * width + i] = from[i * stride + k];
}

static void clear_columns(cell *panel, int width, int64_t depth, int count) {
  for (int i = count; i < width; i++)
    for (int64_t k = 0; k < depth; k++) panel[k * width + i] = 0;
}

#endif
