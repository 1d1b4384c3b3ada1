/* The product in f32, faster than the BLAS in libtorch on the shapes of small and middle models. */
#if defined(__AVX512F__)
#define PANEL_ROWS 14
#define PANEL_VECTORS 2
#elif defined(__AVX__)
#define PANEL_ROWS 6
#define PANEL_VECTORS 2
#else
#define PANEL_ROWS 6
#define PANEL_VECTORS 3
#endif
#define PANEL_COLUMNS (PANEL_VECTORS * LANES)

typedef float cell;
#define CELL_DEPTH 1
#define DEPTH_STEP 1
#define ENTER_THREAD
#define LEAVE_THREAD
#include "gemm.h"

/* One tile: c[PANEL_ROWS][PANEL_COLUMNS] (+)= a panel times b panel. */
static inline __attribute__((always_inline)) void tile(int64_t depth, const float *restrict a, const float *restrict b, float *restrict c,
                                                       int64_t stride, int add) {
  vector sums[PANEL_ROWS][PANEL_VECTORS];
#pragma GCC unroll 16
  for (int i = 0; i < PANEL_ROWS; i++)
#pragma GCC unroll 4
    for (int j = 0; j < PANEL_VECTORS; j++) sums[i][j] = (vector){0};
  for (int64_t k = 0; k < depth; k++, a += PANEL_ROWS, b += PANEL_COLUMNS) {
    vector columns[PANEL_VECTORS];
#pragma GCC unroll 4
    for (int j = 0; j < PANEL_VECTORS; j++) columns[j] = load(b + j * LANES);
#pragma GCC unroll 16
    for (int i = 0; i < PANEL_ROWS; i++) {
      const vector row = splat(a[i]);
#pragma GCC unroll 4
      for (int j = 0; j < PANEL_VECTORS; j++) sums[i][j] += row * columns[j];
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < PANEL_ROWS; i++)
#pragma GCC unroll 4
    for (int j = 0; j < PANEL_VECTORS; j++) {
      float *place = c + i * stride + j * LANES;
      store(place, add ? load(place) + sums[i][j] : sums[i][j]);
    }
}

/* panel[k][i] = from[k][i] for i < count, zeros up to width. */
static void pack_straight(float *restrict panel, const float *restrict from, int64_t stride, int64_t depth, int count, int width) {
  if (count == width) {
    for (int64_t k = 0; k < depth; k++) memcpy(panel + k * width, from + k * stride, (size_t)width * sizeof(float));
    return;
  }
  for (int64_t k = 0; k < depth; k++)
    for (int i = 0; i < width; i++) panel[k * width + i] = i < count ? from[k * stride + i] : 0;
}

static void pack(float *panel, int64_t depth, struct Strip s, int count, int width) {
  if (s.across) {
    pack_straight(panel, s.from, s.stride, depth, count, width);
    return;
  }
  transpose_cells(panel, width, s.from, s.stride, depth, count);
  clear_columns(panel, width, depth, count);
}

static void pack_a(cell *panel, int64_t depth, struct Strip source, int count) { pack(panel, depth, source, count, PANEL_ROWS); }

static void pack_b(cell *panel, int64_t depth, struct Strip source, int count) { pack(panel, depth, source, count, PANEL_COLUMNS); }

void matmul(struct MatmulArgs *args) { multiply(args); }
