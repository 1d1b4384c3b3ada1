/* One straight line for all elements. */
#include "common.h"

#define BLOCK 4096

struct AffineArgs {
  const element *x;
  element *y;
  int64_t count;
  double scale, shift;
};

/* y = scale * x + shift; y may be x. */
void affine(const struct AffineArgs *args) {
  const struct AffineArgs s = *args;
  const float scale = (float)s.scale, shift = (float)s.shift;
#pragma omp parallel for schedule(static)
  for (int64_t first = 0; first < s.count; first += BLOCK) {
    const int64_t end = first + BLOCK < s.count ? first + BLOCK : s.count;
#pragma omp simd
    for (int64_t i = first; i < end; i++) s.y[i] = scale * s.x[i] + shift;
  }
}
