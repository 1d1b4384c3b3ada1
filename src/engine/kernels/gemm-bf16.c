/* The product of f32 matrices whose elements are rounded to bf16 when they are packed; sums are kept in f32.
 *
 * A cell is a pair of elements that follow each other in k, which is what the instructions of AVX512-BF16 and AMX multiply and add. Without either the same
 * product is computed from widened pairs: right, but not faster than f32. STRATA_EMULATE_TILES computes AMX's tiles in C, for tests on any machine. */
#include <stdint.h>
typedef uint32_t cell;
#define CELL_DEPTH 2

#if defined(__AMX_BF16__) || defined(STRATA_EMULATE_TILES)
#define TILES
/* Two by two tiles of 16 rows and 16 columns. */
#define PANEL_ROWS 32
#define PANEL_COLUMNS 32
/* Elements of k in a tile. */
#define DEPTH_STEP 32
#elif defined(__AVX512F__)
#define PANEL_ROWS 14
#define PANEL_COLUMNS (2 * LANES)
#define DEPTH_STEP 2
#else
#define PANEL_ROWS 4
#define PANEL_COLUMNS (2 * LANES)
#define DEPTH_STEP 2
#endif

#if defined(TILES)
static void enter_thread(void);
static void leave_thread(void);
#define ENTER_THREAD enter_thread()
#define LEAVE_THREAD leave_thread()
#else
#define ENTER_THREAD
#define LEAVE_THREAD
#endif
#include "gemm.h"

#include "bf16.h"

/* Cells of a row that are rounded before they are put in their places. */
#define STAGE 64
#define MOST_ROWS (PANEL_COLUMNS > PANEL_ROWS ? PANEL_COLUMNS : PANEL_ROWS)

/* panel[k][i]: cell k of row or column i. */
static inline __attribute__((always_inline)) void pack(cell *panel, int64_t depth, struct Strip s, int count, const int width) {
  static const float zeros[MOST_ROWS];
  if (s.across) {
    for (int64_t k = 0; k < depth; k++) {
      const float *low = 2 * k < s.elements ? s.from + 2 * k * s.stride : zeros;
      const float *high = 2 * k + 1 < s.elements ? s.from + (2 * k + 1) * s.stride : zeros;
      pair_rows(panel + k * width, low, high, count);
    }
  } else {
    cell staged[MOST_ROWS * STAGE] __attribute__((aligned(64)));
    for (int64_t k = 0; k < depth; k += STAGE) {
      const int64_t cells = least(STAGE, depth - k);
      for (int i = 0; i < count; i++) pair_neighbours(staged + i * STAGE, s.from + i * s.stride + 2 * k, cells, s.elements - 2 * k);
      transpose_cells(panel + k * width, width, staged, STAGE, cells, count);
    }
  }
  clear_columns(panel, width, depth, count);
}

static void pack_b(cell *panel, int64_t depth, struct Strip source, int count) { pack(panel, depth, source, count, PANEL_COLUMNS); }

#if defined(TILES)
/* Tiles of a are read by rows: panel[i][k]. */
static void pack_a(cell *panel, int64_t depth, struct Strip s, int count) {
  static const float zeros[PANEL_ROWS];
  cell staged[16 * PANEL_ROWS] __attribute__((aligned(64)));
  if (s.across)
    for (int64_t k = 0; k < depth; k += 16) {
      for (int64_t j = 0; j < 16; j++) {
        const int64_t at = 2 * (k + j);
        pair_rows(staged + j * PANEL_ROWS, at < s.elements ? s.from + at * s.stride : zeros, at + 1 < s.elements ? s.from + (at + 1) * s.stride : zeros, count);
      }
      transpose_cells(panel + k, (int)depth, staged, PANEL_ROWS, count, 16);
    }
  else
    for (int i = 0; i < count; i++) pair_neighbours(panel + i * depth, s.from + i * s.stride, depth, s.elements);
  memset(panel + count * depth, 0, sizeof(cell) * (size_t)((PANEL_ROWS - count) * depth));
}

#if defined(STRATA_EMULATE_TILES)
/* Intel's instructions as its manual words them, 16 rows of 64 bytes in every tile. */
static _Thread_local union { uint32_t cells[16][16]; float sums[16][16]; } tiles[8];
static void TILE_ZERO(int t) { memset(&tiles[t], 0, sizeof tiles[t]); }
static void TILE_LOAD(int t, const void *from, int64_t bytes) {
  for (int i = 0; i < 16; i++) memcpy(tiles[t].cells[i], (const char *)from + i * bytes, 64);
}
static void TILE_STORE(int t, void *to, int64_t bytes) {
  for (int i = 0; i < 16; i++) memcpy((char *)to + i * bytes, tiles[t].cells[i], 64);
}
static void TILE_MULTIPLY(int c, int a, int b) {
  for (int i = 0; i < 16; i++)
    for (int k = 0; k < 16; k++)
      for (int j = 0; j < 16; j++) {
        const uint32_t x = tiles[a].cells[i][k], y = tiles[b].cells[k][j];
        tiles[c].sums[i][j] += bits_float((int32_t)(x << 16)) * bits_float((int32_t)(y << 16));
        tiles[c].sums[i][j] += bits_float((int32_t)(x & 0xffff0000u)) * bits_float((int32_t)(y & 0xffff0000u));
      }
}
static int allow_tiles(void) { return 1; }
static void enter_thread(void) {}
static void leave_thread(void) {}
#else
#include <sys/syscall.h>
#include <unistd.h>
#define TILE_ZERO(t) _tile_zero(t)
#define TILE_LOAD(t, from, bytes) _tile_loadd(t, from, bytes)
#define TILE_STORE(t, to, bytes) _tile_stored(t, to, bytes)
#define TILE_MULTIPLY(c, a, b) _tile_dpbf16ps(c, a, b)

/* Linux gives a process the tiles' registers when it asks for them: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA). */
static int allow_tiles(void) {
  static int allowed = -1;
  if (allowed < 0) allowed = syscall(SYS_arch_prctl, 0x1023, 18) == 0;
  return allowed;
}

/* Eight tiles of 16 rows of 64 bytes. */
static void enter_thread(void) {
  static const struct {
    uint8_t palette, first, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
  } shapes = {.palette = 1, .bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
  _tile_loadconfig(&shapes);
}

static void leave_thread(void) { _tile_release(); }
#endif

static inline __attribute__((always_inline)) void tile(int64_t depth, const cell *a, const cell *b, float *c, int64_t stride, int add) {
  const int64_t bytes = stride * (int64_t)sizeof(float), across = depth * (int64_t)sizeof(cell), below = PANEL_COLUMNS * (int64_t)sizeof(cell);
  if (add) {
    TILE_LOAD(0, c, bytes);
    TILE_LOAD(1, c + 16, bytes);
    TILE_LOAD(2, c + 16 * stride, bytes);
    TILE_LOAD(3, c + 16 * stride + 16, bytes);
  } else {
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
  }
  for (int64_t k = 0; k < depth; k += 16) {
    TILE_LOAD(4, a + k, across);
    TILE_LOAD(6, b + k * PANEL_COLUMNS, below);
    TILE_LOAD(7, b + k * PANEL_COLUMNS + 16, below);
    TILE_MULTIPLY(0, 4, 6);
    TILE_MULTIPLY(1, 4, 7);
    TILE_LOAD(5, a + 16 * depth + k, across);
    TILE_MULTIPLY(2, 5, 6);
    TILE_MULTIPLY(3, 5, 7);
  }
  TILE_STORE(0, c, bytes);
  TILE_STORE(1, c + 16, bytes);
  TILE_STORE(2, c + 16 * stride, bytes);
  TILE_STORE(3, c + 16 * stride + 16, bytes);
}
#else
static void pack_a(cell *panel, int64_t depth, struct Strip source, int count) { pack(panel, depth, source, count, PANEL_ROWS); }
static int allow_tiles(void) { return 1; }

static inline __attribute__((always_inline)) void tile(int64_t depth, const cell *a, const cell *b, float *c, int64_t stride, int add) {
  vector sums[PANEL_ROWS][2];
#pragma GCC unroll 16
  for (int i = 0; i < PANEL_ROWS; i++) sums[i][0] = sums[i][1] = (vector){0};
  for (int64_t k = 0; k < depth; k++, a += PANEL_ROWS, b += PANEL_COLUMNS) {
    const pairs left = LOAD_PAIRS(b), right = LOAD_PAIRS(b + LANES);
#pragma GCC unroll 16
    for (int i = 0; i < PANEL_ROWS; i++) {
      const pairs row = SPLAT_PAIRS(a[i]);
      sums[i][0] = ADD_PRODUCTS(sums[i][0], row, left);
      sums[i][1] = ADD_PRODUCTS(sums[i][1], row, right);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < PANEL_ROWS; i++)
    for (int j = 0; j < 2; j++) {
      float *place = c + i * stride + j * LANES;
      store(place, add ? load(place) + sums[i][j] : sums[i][j]);
    }
}
#endif

/* c (+)= op(a) op(b) with a and b rounded to bf16. */
void matmulBf16(struct MatmulArgs *args) {
  if (allow_tiles()) multiply(args);
  else args->failed = 2;
}
