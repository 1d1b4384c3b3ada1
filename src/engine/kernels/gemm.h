/* Matrix product c (+)= op(a) op(b) for row-major f32, after Goto and van de Geijn (ACM TOMS 34, 2008): blocks of b and of each thread's rows of a are
 * copied into panels that the innermost kernel reads in order; it keeps a tile of PANEL_ROWS x PANEL_COLUMNS of c in registers. Every element of c is a
 * sum over k in an order that depends on k alone, so results are the same for any number of threads.
 *
 * The file that includes this says how large a tile is, what a panel is made of (4-byte cells: an element, or a pair of rounded ones that follow each other
 * in k, CELL_DEPTH), and how a panel is packed and a tile computed:
 *   pack_a(panel, depth, source, count), pack_b(panel, depth, source, count): `depth` cells of `count` rows of op(a) or columns of op(b), zeros up to the width;
 *   tile(depth, a, b, c, stride, add): c[PANEL_ROWS][PANEL_COLUMNS] (+)= a panel times b panel. */
#include "cells.h"

#include <omp.h>
#include <stdlib.h>
/* Blocks: a panel of a and one of b lie in the first cache, a thread's block of a in the second, a block of b in the third. Depth in cells. */
#define BLOCK_DEPTH 512
#define BLOCK_ROWS (224 / PANEL_ROWS * PANEL_ROWS)
#define BLOCK_COLUMNS 2048
#define CACHE_LINE_CELLS 16

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* A strip of an operand: element (i, k) lies at from[i * stride + k], or where `across` at from[k * stride + i]; `elements` of k are there. */
struct Strip {
  const float *from;
  int64_t stride, elements;
  int across;
};

static void pack_a(cell *panel, int64_t depth, struct Strip source, int count);
static void pack_b(cell *panel, int64_t depth, struct Strip source, int count);
static inline void tile(int64_t depth, const cell *a, const cell *b, float *c, int64_t stride, int add);

static void whole_tile(int64_t depth, const cell *a, const cell *b, float *c, int64_t stride, int add) {
  /* Lines of c come from memory while the tile is computed: short sums else wait for them (256 deep: 2 to 6 % in f32, up to 15 % in bf16). */
  for (int i = 0; i < PANEL_ROWS; i++)
    for (int j = 0; j < PANEL_COLUMNS; j += CACHE_LINE_CELLS) __builtin_prefetch(c + i * stride + j, 1);
  tile(depth, a, b, c, stride, add);
}

/* A tile at the edge: computed whole, of which rows x columns are kept. */
static void edge_tile(int64_t depth, const cell *a, const cell *b, float *c, int64_t stride, int add, int rows, int columns) {
  float kept[PANEL_ROWS * PANEL_COLUMNS] __attribute__((aligned(64)));
  tile(depth, a, b, kept, PANEL_COLUMNS, 0);
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < columns; j++) {
      const float sum = kept[i * PANEL_COLUMNS + j];
      c[i * stride + j] = add ? c[i * stride + j] + sum : sum;
    }
}

/* Panels, kept from call to call: 4 MiB and under half a MiB for each thread. */
static cell *columns_block, *rows_blocks;
static int rows_blocks_threads;

static int reserve(int threads) {
  if (!columns_block) columns_block = aligned_alloc(4096, sizeof(cell) * BLOCK_DEPTH * BLOCK_COLUMNS);
  if (rows_blocks_threads < threads) {
    free(rows_blocks);
    rows_blocks = aligned_alloc(4096, sizeof(cell) * BLOCK_DEPTH * BLOCK_ROWS * threads);
    rows_blocks_threads = rows_blocks ? threads : 0;
  }
  return columns_block && rows_blocks;
}

struct MatmulArgs {
  const float *a, *b;
  float *c;
  int64_t rows, columns, depth, transpose_a, transpose_b, add;
  /* Set to 1 where there was no memory for the panels, to 2 where the system refuses what the tile needs. */
  int64_t failed;
};

/* One block of b, and where in the product it lies. */
struct Block {
  int64_t column, columns;
  /* First element of k, elements, and cells. */
  int64_t start, elements, depth;
  int add;
};

static struct Strip strip_of_a(const struct MatmulArgs *s, const struct Block *b, int64_t row) {
  if (s->transpose_a) return (struct Strip){s->a + b->start * s->rows + row, s->rows, b->elements, 1};
  return (struct Strip){s->a + row * s->depth + b->start, s->depth, b->elements, 0};
}

static struct Strip strip_of_b(const struct MatmulArgs *s, const struct Block *b, int64_t column) {
  if (s->transpose_b) return (struct Strip){s->b + column * s->depth + b->start, s->depth, b->elements, 0};
  return (struct Strip){s->b + b->start * s->columns + column, s->columns, b->elements, 1};
}

/* One thread's rows [from, to) times the packed block. */
static void multiply_rows(const struct MatmulArgs *s, const struct Block *b, cell *packed_a, int64_t from, int64_t to) {
  const int64_t depth = b->depth;
  for (int64_t block = from; block < to; block += BLOCK_ROWS) {
    const int64_t rows = least(BLOCK_ROWS, to - block);
    for (int64_t i = 0; i < rows; i += PANEL_ROWS)
      pack_a(packed_a + i * depth, depth, strip_of_a(s, b, block + i), (int)least(PANEL_ROWS, rows - i));
    for (int64_t j = 0; j < b->columns; j += PANEL_COLUMNS) {
      const int across = (int)least(PANEL_COLUMNS, b->columns - j);
      for (int64_t i = 0; i < rows; i += PANEL_ROWS) {
        const int down = (int)least(PANEL_ROWS, rows - i);
        float *c = s->c + (block + i) * s->columns + b->column + j;
        const cell *x = packed_a + i * depth, *y = columns_block + j * depth;
        if (down == PANEL_ROWS && across == PANEL_COLUMNS) whole_tile(depth, x, y, c, s->columns, b->add);
        else edge_tile(depth, x, y, c, s->columns, b->add, down, across);
      }
    }
  }
}

/* c[rows, columns] (+)= op(a)[rows, depth] op(b)[depth, columns]. */
static void multiply(struct MatmulArgs *args) {
  const struct MatmulArgs s = *args;
  const int threads = omp_get_max_threads();
  const int64_t panels = (s.rows + PANEL_ROWS - 1) / PANEL_ROWS, most = BLOCK_DEPTH * CELL_DEPTH;
  args->failed = !reserve(threads);
  if (args->failed) return;
#pragma omp parallel num_threads(threads)
  {
    ENTER_THREAD;
    const int64_t id = omp_get_thread_num(), team = omp_get_num_threads();
    cell *packed_a = rows_blocks + id * BLOCK_DEPTH * BLOCK_ROWS;
    const int64_t from = panels * id / team * PANEL_ROWS, to = least(panels * (id + 1) / team * PANEL_ROWS, s.rows);
    struct Block b;
    for (b.column = 0; b.column < s.columns; b.column += BLOCK_COLUMNS) {
      b.columns = least(BLOCK_COLUMNS, s.columns - b.column);
      for (b.start = 0; b.start < s.depth; b.start += b.elements) {
        const int64_t left = s.depth - b.start;
        /* Two last blocks of equal depth rather than a full one and a sliver. */
        b.elements = left <= most ? left : left < 2 * most ? (left + 2 * DEPTH_STEP - 1) / (2 * DEPTH_STEP) * DEPTH_STEP : most;
        b.depth = (b.elements + DEPTH_STEP - 1) / DEPTH_STEP * (DEPTH_STEP / CELL_DEPTH);
        b.add = s.add || b.start > 0;
        /* Nobody may still read the block before. */
#pragma omp barrier
#pragma omp for schedule(static)
        for (int64_t j = 0; j < b.columns; j += PANEL_COLUMNS)
          pack_b(columns_block + j * b.depth, b.depth, strip_of_b(&s, &b, b.column + j), (int)least(PANEL_COLUMNS, b.columns - j));
        multiply_rows(&s, &b, packed_a, from, to);
      }
    }
    LEAVE_THREAD;
  }
}
