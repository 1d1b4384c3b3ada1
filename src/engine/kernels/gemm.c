/* Matrix product c (+)= op(a) op(b) for row-major f32, faster than the BLAS in libtorch on the shapes of small and middle models.
 *
 * The scheme is that of Goto and van de Geijn (ACM TOMS 34, 2008): blocks of b and of each thread's rows of a are copied into panels that
 * the innermost kernel reads in order; it keeps a tile of PANEL_ROWS x PANEL_COLUMNS of c in registers. Every element of c is a sum over k
 * in an order that depends on k alone, so results are the same for any number of threads. */
#include "common.h"

#include <omp.h>
#include <stdlib.h>

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

/* Blocks: a panel of a and one of b lie in the first cache, a thread's block of a in the second, a block of b in the third. */
#define BLOCK_DEPTH 512
#define BLOCK_ROWS (PANEL_ROWS * 16)
#define BLOCK_COLUMNS 2048

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

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

static void whole_tile(int64_t depth, const float *a, const float *b, float *c, int64_t stride, int add) { tile(depth, a, b, c, stride, add); }

/* A tile at the edge: computed whole, of which rows x columns are kept. */
static void edge_tile(int64_t depth, const float *a, const float *b, float *c, int64_t stride, int add, int rows, int columns) {
  float kept[PANEL_ROWS * PANEL_COLUMNS];
  tile(depth, a, b, kept, PANEL_COLUMNS, 0);
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < columns; j++) {
      const float sum = kept[i * PANEL_COLUMNS + j];
      c[i * stride + j] = add ? c[i * stride + j] + sum : sum;
    }
}

/* panel[k][i] = from[i][k] for i < count, zeros up to width. */
static void pack_transposed(float *restrict panel, const float *restrict from, int64_t stride, int64_t depth, int count, int width) {
  for (int64_t start = 0; start < depth; start += 16) {
    const int64_t end = least(start + 16, depth);
    for (int i = 0; i < count; i++)
      for (int64_t k = start; k < end; k++) panel[k * width + i] = from[i * stride + k];
  }
  for (int i = count; i < width; i++)
    for (int64_t k = 0; k < depth; k++) panel[k * width + i] = 0;
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

/* Panels, kept from call to call: 4 MiB and under half a MiB for each thread. */
static float *columns_block, *rows_blocks;
static int rows_blocks_threads;

static int reserve(int threads) {
  if (!columns_block) columns_block = aligned_alloc(4096, sizeof(float) * BLOCK_DEPTH * BLOCK_COLUMNS);
  if (rows_blocks_threads < threads) {
    free(rows_blocks);
    rows_blocks = aligned_alloc(4096, sizeof(float) * BLOCK_DEPTH * BLOCK_ROWS * threads);
    rows_blocks_threads = rows_blocks ? threads : 0;
  }
  return columns_block && rows_blocks;
}

struct MatmulArgs {
  const float *a, *b;
  float *c;
  int64_t rows, columns, depth, transpose_a, transpose_b, add;
  /* Set to 1 where there was no memory for the panels. */
  int64_t failed;
};

/* One thread's rows [from, to) of a block of b: c[:, column...] (+)= a[:, start...] times the packed block. */
static void multiply_rows(const struct MatmulArgs *s, float *packed_a, int64_t from, int64_t to, int64_t start, int64_t depth, int64_t column,
                          int64_t columns, int add) {
  const int64_t stride_a = s->transpose_a ? s->rows : s->depth;
  for (int64_t block = from; block < to; block += BLOCK_ROWS) {
    const int64_t rows = least(BLOCK_ROWS, to - block);
    for (int64_t i = 0; i < rows; i += PANEL_ROWS) {
      const int count = (int)least(PANEL_ROWS, rows - i);
      if (s->transpose_a) pack_straight(packed_a + i * depth, s->a + start * stride_a + block + i, stride_a, depth, count, PANEL_ROWS);
      else pack_transposed(packed_a + i * depth, s->a + (block + i) * stride_a + start, stride_a, depth, count, PANEL_ROWS);
    }
    for (int64_t j = 0; j < columns; j += PANEL_COLUMNS) {
      const int across = (int)least(PANEL_COLUMNS, columns - j);
      for (int64_t i = 0; i < rows; i += PANEL_ROWS) {
        const int down = (int)least(PANEL_ROWS, rows - i);
        float *c = s->c + (block + i) * s->columns + column + j;
        const float *a = packed_a + i * depth, *b = columns_block + j * depth;
        if (down == PANEL_ROWS && across == PANEL_COLUMNS) whole_tile(depth, a, b, c, s->columns, add);
        else edge_tile(depth, a, b, c, s->columns, add, down, across);
      }
    }
  }
}

/* c[rows, columns] (+)= op(a)[rows, depth] op(b)[depth, columns]. */
void matmul(struct MatmulArgs *args) {
  const struct MatmulArgs s = *args;
  const int threads = omp_get_max_threads();
  const int64_t panels = (s.rows + PANEL_ROWS - 1) / PANEL_ROWS;
  args->failed = !reserve(threads);
  if (args->failed) return;
#pragma omp parallel num_threads(threads)
  {
    const int64_t id = omp_get_thread_num(), team = omp_get_num_threads();
    float *packed_a = rows_blocks + id * BLOCK_DEPTH * BLOCK_ROWS;
    const int64_t from = panels * id / team * PANEL_ROWS, to = least(panels * (id + 1) / team * PANEL_ROWS, s.rows);
    for (int64_t column = 0; column < s.columns; column += BLOCK_COLUMNS) {
      const int64_t columns = least(BLOCK_COLUMNS, s.columns - column);
      for (int64_t start = 0, depth; start < s.depth; start += depth) {
        const int64_t left = s.depth - start;
        /* Two last blocks of equal depth rather than a full one and a sliver. */
        depth = left <= BLOCK_DEPTH ? left : left < 2 * BLOCK_DEPTH ? (left + 1) / 2 : BLOCK_DEPTH;
        /* Nobody may still read the block before. */
#pragma omp barrier
#pragma omp for schedule(static)
        for (int64_t j = 0; j < columns; j += PANEL_COLUMNS) {
          const int count = (int)least(PANEL_COLUMNS, columns - j);
          float *panel = columns_block + j * depth;
          if (s.transpose_b) pack_transposed(panel, s.b + (column + j) * s.depth + start, s.depth, depth, count, PANEL_COLUMNS);
          else pack_straight(panel, s.b + start * s.columns + column + j, s.columns, depth, count, PANEL_COLUMNS);
        }
        multiply_rows(&s, packed_a, from, to, start, depth, column, columns, s.add || start > 0);
      }
    }
  }
}
