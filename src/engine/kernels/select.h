/* Selection by rank. */
#ifndef STRATA_SELECT_H
#define STRATA_SELECT_H

#include "common.h"

/* The value that has `rank` larger or equal ones before it in descending order: Hoare's quickselect, in place. No value may be NaN. */
#define DEFINE_NTH_LARGEST(name, type)                                        \
  static inline __attribute__((unused)) type name(type *x, int64_t count, int64_t rank) { \
    int64_t low = 0, high = count - 1;                                        \
    while (low < high) {                                                      \
      const type pivot = x[low + (high - low) / 2];                           \
      int64_t i = low, j = high;                                              \
      while (i <= j) {                                                        \
        while (x[i] > pivot) i++;                                             \
        while (x[j] < pivot) j--;                                             \
        if (i <= j) {                                                         \
          const type t = x[i];                                                \
          x[i++] = x[j];                                                      \
          x[j--] = t;                                                         \
        }                                                                     \
      }                                                                       \
      if (rank <= j) high = j;                                                \
      else if (rank >= i) low = i;                                            \
      else break;                                                             \
    }                                                                         \
    return x[rank];                                                           \
  }
DEFINE_NTH_LARGEST(nth_largest_f32, float)
DEFINE_NTH_LARGEST(nth_largest_f64, double)

#endif
