/* Attention over rows of several sequences, each tile of query rows seeing a prefix and its own rows up to each. */
#include "reduce.h"
#include "tile.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define KEYS TILE

struct PackedAttentionArgs {
  const float *qkv, *keys, *values;
  float *y;
  const int32_t *tiles;
  int64_t query_stride, key_stride, key_head_stride, tiles_count, heads, kv_heads, head_dim;
  double scale;
};

struct Tile {
  int32_t first, count, prefix_start, prefix_end, own_start, own_last;
};

struct Query {
  const float *q;
  float *y;
  float largest, sum;
};

/* Queries whose products share what is loaded of keys and values. */
#define TOGETHER 4
#define KEY_VECTORS (KEYS / LANES)

/* scores[m][k] = q[m] . key k, for keys that lie transposed [head_dim][KEYS]; two halves of the keys where registers are few. */
static inline __attribute__((always_inline)) void scores_transposed(const struct Query *queries, const int together, const float *restrict transposed,
                                                                    int64_t head_dim, float scores[][KEYS]) {
#if defined(__AVX__) && !defined(__AVX512F__)
  enum { VECTORS = 2 };
#else
  enum { VECTORS = 4 };
#endif
  for (int first = 0; first < KEY_VECTORS; first += VECTORS) {
    vector sums[TOGETHER][VECTORS];
    for (int m = 0; m < together; m++)
      for (int v = 0; v < VECTORS; v++) sums[m][v] = (vector){0};
    for (int64_t d = 0; d < head_dim; d++) {
      vector keys[VECTORS];
      for (int v = 0; v < VECTORS; v++) keys[v] = load(transposed + d * KEYS + (first + v) * LANES);
      for (int m = 0; m < together; m++) {
        const vector factor = splat(queries[m].q[d]);
        for (int v = 0; v < VECTORS; v++) sums[m][v] += factor * keys[v];
      }
    }
    for (int m = 0; m < together; m++)
      for (int v = 0; v < VECTORS; v++) store(scores[m] + (first + v) * LANES, sums[m][v]);
  }
}

/* `count` floats, fewer than a vector has; zeros behind them. */
static inline vector load_part(const float *p, int64_t count) {
#if defined(__AVX512F__)
  return (vector)_mm512_maskz_loadu_ps((__mmask16)((1 << count) - 1), p);
#else
  float lanes[LANES] = {0};
  memcpy(lanes, p, count * sizeof(float));
  return load(lanes);
#endif
}

/* y[m] += sum over k of p[m][k] * value k. */
static inline __attribute__((always_inline)) void add_values(const struct Query *queries, const int together, float p[][KEYS], const float *values,
                                                             int64_t stride, int64_t count, int64_t head_dim) {
  int64_t d = 0;
  for (; d + 4 * LANES <= head_dim; d += 4 * LANES) {
    vector sums[TOGETHER][4];
    for (int m = 0; m < together; m++)
      for (int v = 0; v < 4; v++) sums[m][v] = load(queries[m].y + d + v * LANES);
    for (int64_t k = 0; k < count; k++) {
      vector value[4];
      for (int v = 0; v < 4; v++) value[v] = load(values + k * stride + d + v * LANES);
      for (int m = 0; m < together; m++) {
        const vector weight = splat(p[m][k]);
        for (int v = 0; v < 4; v++) sums[m][v] += weight * value[v];
      }
    }
    for (int m = 0; m < together; m++)
      for (int v = 0; v < 4; v++) store(queries[m].y + d + v * LANES, sums[m][v]);
  }
  for (; d + LANES <= head_dim; d += LANES) {
    vector sums[TOGETHER];
    for (int m = 0; m < together; m++) sums[m] = load(queries[m].y + d);
    for (int64_t k = 0; k < count; k++) {
      const vector value = load(values + k * stride + d);
      for (int m = 0; m < together; m++) sums[m] += splat(p[m][k]) * value;
    }
    for (int m = 0; m < together; m++) store(queries[m].y + d, sums[m]);
  }
  if (d == head_dim) return;
  // What is left of a row fills a part of a vector: a value is read by its own length, as rows end where memory may end.
  const int64_t left = head_dim - d;
  float lanes[LANES] = {0};
  vector sums[TOGETHER];
  for (int m = 0; m < together; m++) {
    memcpy(lanes, queries[m].y + d, left * sizeof(float));
    sums[m] = load(lanes);
  }
  for (int64_t k = 0; k < count; k++) {
    const vector value = load_part(values + k * stride + d, left);
    for (int m = 0; m < together; m++) sums[m] += splat(p[m][k]) * value;
  }
  for (int m = 0; m < together; m++) {
    store(lanes, sums[m]);
    memcpy(queries[m].y + d, lanes, left * sizeof(float));
  }
}

/* Probabilities of one more block of keys for a query, unscaled, where `scale` makes scores powers of 2: its result so far is rescaled to the new
 * largest score (Milakov and Gimelshein, arXiv 1805.02867). Keys from `count` on are not seen. */
static inline void absorb(struct Query *query, float *scores, int64_t count, float scale, int64_t head_dim) {
  for (int64_t k = count; k < KEYS; k++) scores[k] = -INFINITY;
  float largest = query->largest;
#pragma omp simd reduction(max : largest)
  for (int k = 0; k < KEYS; k++) largest = scores[k] > largest ? scores[k] : largest;
  // Scaled behind the subtraction, so that rounding is relative to the difference.
  vector sums = {0};
  for (int v = 0; v < KEY_VECTORS; v++) {
    float *block = scores + v * LANES;
#pragma omp simd
    for (int k = 0; k < LANES; k++) block[k] = exp2_nonpositive((block[k] - largest) * scale);
    sums += load(block);
  }
  const float factor = exp2_nonpositive((query->largest - largest) * scale);
  query->sum = query->sum * factor + sum_lanes(sums);
  query->largest = largest;
  if (factor != 1)
    for (int64_t d = 0; d < head_dim; d++) query->y[d] *= factor;
}

/* One block of keys for queries that share loads; query m sees `seen[m]` of them, the last one most. */
static inline __attribute__((always_inline)) void absorb_block(struct Query *queries, const int together, const int64_t *seen, float scale,
                                                               const float *transposed, const float *values, int64_t stride, int64_t head_dim) {
  float scores[TOGETHER][KEYS];
  scores_transposed(queries, together, transposed, head_dim, scores);
  for (int m = 0; m < together; m++) absorb(queries + m, scores[m], seen[m], scale, head_dim);
  add_values(queries, together, scores, values, stride, seen[together - 1], head_dim);
}

/* One block of keys for one query, without a transposition. */
static void absorb_few(struct Query *query, int64_t seen, float scale, const float *keys, const float *values, int64_t stride, int64_t head_dim) {
  float scores[1][KEYS];
  int64_t k = 0;
  for (; k + 4 <= seen; k += 4) dot_of_four(query->q, keys + k * stride, stride, head_dim, scores[0] + k);
  for (; k < seen; k++) scores[0][k] = dot(query->q, keys + k * stride, head_dim);
  absorb(query, scores[0], seen, scale, head_dim);
  add_values(query, 1, scores, values, stride, seen, head_dim);
}

/* Fewer queries than this do not repay the transposition of keys, unless a key is shorter than a vector. */
#define FEW_QUERIES 6

/* Keys of a block that row j sees: all, or those up to its own. */
static inline int64_t seen_by(int64_t j, int64_t own, int64_t length) { return own + j < length ? own + j : length; }

/* The keys from `start` to before `end`, the last of them only for queries of later rows: row j sees none from `limit + j` on. */
static void attend(const struct PackedAttentionArgs *s, struct Query *queries, int64_t count, int64_t group, int64_t head, int64_t start, int64_t end, int64_t limit, float *transposed) {
  const int64_t head_dim = s->head_dim;
  const int few = count * group < FEW_QUERIES && head_dim >= LANES;
  for (int64_t block = start; block < end; block += KEYS) {
    const int64_t length = end - block < KEYS ? end - block : KEYS;
    const float *keys = s->keys + block * s->key_stride + head * s->key_head_stride;
    const float *values = s->values + block * s->key_stride + head * s->key_head_stride;
    if (!few && head_dim % 4 == 0)
      transpose_tile(transposed, keys, s->key_stride, length, head_dim, 1);
    else if (!few)
      for (int64_t k = 0; k < KEYS; k++)
        for (int64_t d = 0; d < head_dim; d++) transposed[d * KEYS + k] = k < length ? keys[k * s->key_stride + d] : 0;
    // Queries of rows that see none of these keys come first.
    int64_t first = 0;
    while (first < count && limit + first <= block) first++;
    first *= group;
    const int64_t all = count * group;
    const float scale = (float)s->scale * LOG2_E;
    int64_t seen[TOGETHER];
    for (int64_t i = first; i < all;) {
      for (int64_t m = 0; m < TOGETHER && i + m < all; m++) seen[m] = seen_by((i + m) / group, limit - block, length);
      if (few)
        absorb_few(queries + i++, seen[0], scale, keys, values, s->key_stride, head_dim);
      else if (i + TOGETHER <= all)
        absorb_block(queries + i, TOGETHER, seen, scale, transposed, values, s->key_stride, head_dim), i += TOGETHER;
      else
        absorb_block(queries + i++, 1, seen, scale, transposed, values, s->key_stride, head_dim);
    }
  }
}

#define MOST_QUERIES 64

/* One kv head of one tile, a few rows at a time so that all queries fit. */
static void attend_tile(const struct PackedAttentionArgs *s, const struct Tile *tile, int64_t head, float *transposed) {
  const int64_t head_dim = s->head_dim, group = s->heads / s->kv_heads;
  const int64_t step = group < MOST_QUERIES ? MOST_QUERIES / group : 1;
  struct Query queries[group < MOST_QUERIES ? MOST_QUERIES : group];
  for (int64_t from = 0; from < tile->count; from += step) {
    const int64_t count = tile->count - from < step ? tile->count - from : step;
    for (int64_t i = 0; i < count * group; i++) {
      const int64_t row = tile->first + from + i / group, column = (head * group + i % group) * head_dim;
      float *y = s->y + row * s->heads * head_dim + column;
      memset(y, 0, head_dim * sizeof(float));
      queries[i] = (struct Query){s->qkv + row * s->query_stride + column, y, -INFINITY, 0};
    }
    attend(s, queries, count, group, head, tile->prefix_start, tile->prefix_end, tile->prefix_end, transposed);
    const int64_t last = tile->own_last + from + 1;
    attend(s, queries, count, group, head, tile->own_start, last + count - 1, last, transposed);
    for (int64_t i = 0; i < count * group; i++)
      for (int64_t d = 0; d < head_dim; d++) queries[i].y[d] /= queries[i].sum;
  }
}

void packedAttention(const struct PackedAttentionArgs *args) {
  const struct PackedAttentionArgs s = *args;
  const struct Tile *tiles = (const struct Tile *)s.tiles;
  int64_t count = 0;
  while (count < s.tiles_count && tiles[count].count > 0) count++;
#pragma omp parallel
  {
    float transposed[KEYS * s.head_dim];
#pragma omp for collapse(2) schedule(dynamic)
    for (int64_t i = 0; i < count; i++)
      for (int64_t head = 0; head < s.kv_heads; head++) attend_tile(&s, tiles + i, head, transposed);
  }
}

struct StoreKeysArgs {
  const float *qkv;
  float *cache;
  const int32_t *rows;
  int64_t count, query_stride, offset, heads, head_dim, cache_rows;
};

/* Writes keys and values of packed rows to their rows of a cache, in which the rows of a head follow each other. */
void storeKeys(const struct StoreKeysArgs *args) {
  const struct StoreKeysArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < s.count; i++)
    if (s.rows[i] >= 0)
      for (int64_t head = 0; head < s.heads; head++)
        memcpy(s.cache + (head * s.cache_rows + s.rows[i]) * s.head_dim, s.qkv + i * s.query_stride + s.offset + head * s.head_dim,
               s.head_dim * sizeof(float));
}
