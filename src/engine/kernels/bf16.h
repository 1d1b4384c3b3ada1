/* Pairs of elements rounded to bf16, and their products. */
#ifndef STRATA_BF16_H
#define STRATA_BF16_H

#include "common.h"

#if defined(__AMX_BF16__) || defined(__AVX512BF16__)
#include <immintrin.h>
#endif

/* Rounds to the nearest, ties to even; NaN stays NaN. */
static inline uint32_t rounded(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return x != x ? 0x7fc0u | bits >> 16 : (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
}

/* cells[k] = the pair (low[k], high[k]). */
static inline void pair_rows(uint32_t *restrict cells, const float *restrict low, const float *restrict high, int count) {
  int i = 0;
#if defined(__AVX512BF16__)
  for (; i < count; i += 16) {
    const __mmask16 kept = (__mmask16)(count - i < 16 ? (1u << (count - i)) - 1 : 0xffff);
    const __m512i even = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(kept, low + i)));
    const __m512i odd = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(kept, high + i)));
    _mm512_mask_storeu_epi32(cells + i, kept, _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
  }
#endif
  for (; i < count; i++) cells[i] = rounded(low[i]) | rounded(high[i]) << 16;
}

/* cells[k] = the pair (from[2 k], from[2 k + 1]); zeros behind `elements`. */
static inline void pair_neighbours(uint32_t *restrict cells, const float *restrict from, int64_t count, int64_t elements) {
  int64_t k = 0;
#if defined(__AVX512BF16__)
  for (; k + 16 <= count && 2 * k + 32 <= elements; k += 16)
    _mm512_storeu_si512(cells + k, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + 2 * k + 16), _mm512_loadu_ps(from + 2 * k)));
#endif
  for (; k < count; k++) {
    const uint32_t low = 2 * k < elements ? rounded(from[2 * k]) : 0, high = 2 * k + 1 < elements ? rounded(from[2 * k + 1]) : 0;
    cells[k] = low | high << 16;
  }
}

/* Cells of two vectors as pairs, and a vector added to their products, summed by pairs. */
#if defined(__AVX512BF16__)
typedef __m512i pairs;
#define LOAD_PAIRS(from) _mm512_loadu_si512(from)
#define SPLAT_PAIRS(pair) _mm512_set1_epi32((int)(pair))
#define ADD_PRODUCTS(sums, x, y) (vector) _mm512_dpbf16_ps((__m512)(sums), (__m512bh)(x), (__m512bh)(y))
#else
typedef uint32_t pairs __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t pairs_unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
#define LOAD_PAIRS(from) (*(const pairs_unaligned *)(from))
#define SPLAT_PAIRS(pair) ((pair) - (pairs){0})
#define ADD_PRODUCTS(sums, x, y) ((sums) + (vector)((x) << 16) * (vector)((y) << 16) + (vector)((x)&0xffff0000u) * (vector)((y)&0xffff0000u))
#endif

#endif
