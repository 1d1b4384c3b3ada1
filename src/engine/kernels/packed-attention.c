/* Attention over rows of several sequences, each tile of query rows seeing a prefix and its own rows up to each. */
#include "reduce.h"

#define KEYS 64

struct PackedAttentionArgs {
  const float *qkv, *keys, *values;
  float *y;
  const int32_t *tiles;
  int64_t query_stride, key_stride, tiles_count, heads, kv_heads, head_dim;
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

/* scores[k] = q . key k, for keys that lie transposed [head_dim][KEYS]. */
static inline void scores_transposed(const float *q, const float *restrict transposed, int64_t head_dim, float *restrict scores) {
  float s[KEYS] = {0};
  for (int64_t d = 0; d < head_dim; d++) {
    const float factor = q[d];
#pragma omp simd
    for (int k = 0; k < KEYS; k++) s[k] += factor * transposed[d * KEYS + k];
  }
  memcpy(scores, s, sizeof s);
}

/* y += sum over k of p[k] * value k. */
static inline void add_values(float *restrict y, const float *p, const float *values, int64_t stride, int64_t count, int64_t head_dim) {
  int64_t d = 0;
  for (; d + 4 * LANES <= head_dim; d += 4 * LANES) {
    vector a = load(y + d), b = load(y + d + LANES), c = load(y + d + 2 * LANES), e = load(y + d + 3 * LANES);
    for (int64_t k = 0; k < count; k++) {
      const vector weight = splat(p[k]);
      const float *v = values + k * stride + d;
      a += weight * load(v);
      b += weight * load(v + LANES);
      c += weight * load(v + 2 * LANES);
      e += weight * load(v + 3 * LANES);
    }
    store(y + d, a), store(y + d + LANES, b), store(y + d + 2 * LANES, c), store(y + d + 3 * LANES, e);
  }
  for (; d + LANES <= head_dim; d += LANES) {
    vector a = load(y + d);
    for (int64_t k = 0; k < count; k++) a += splat(p[k]) * load(values + k * stride + d);
    store(y + d, a);
  }
  if (d == head_dim) return;
  for (int64_t k = 0; k < count; k++)
    for (int64_t i = d; i < head_dim; i++) y[i] += p[k] * values[k * stride + i];
}

/* One more block of keys for a query: its result so far is rescaled to the new largest score (Milakov and Gimelshein, arXiv 1805.02867). */
static inline void absorb(struct Query *query, float *scores, int64_t count, float scale, const float *values, int64_t stride, int64_t head_dim) {
  float largest = query->largest;
  for (int64_t k = 0; k < count; k++) {
    scores[k] *= scale;
    largest = largest < scores[k] ? scores[k] : largest;
  }
  for (int64_t k = count; k < KEYS; k++) scores[k] = -INFINITY;
  float sums[KEYS];
#pragma omp simd
  for (int k = 0; k < KEYS; k++) sums[k] = scores[k] = exp_f32(scores[k] - largest);
  for (int width = KEYS / 2; width > 0; width /= 2)
    for (int k = 0; k < width; k++) sums[k] += sums[k + width];
  const float factor = exp_f32(query->largest - largest);
  query->sum = query->sum * factor + sums[0];
  query->largest = largest;
  if (factor != 1)
    for (int64_t d = 0; d < head_dim; d++) query->y[d] *= factor;
  add_values(query->y, scores, values, stride, count, head_dim);
}

/* Fewer queries than this do not repay the transposition of keys. */
#define FEW_QUERIES 6

/* The keys from `start` to before `end`, the last of them only for queries of later rows: row j sees none from `limit + j` on. */
static void attend(const struct PackedAttentionArgs *s, struct Query *queries, int64_t count, int64_t group, int64_t head, int64_t start, int64_t end, int64_t limit, float *transposed) {
  const int64_t head_dim = s->head_dim;
  const int few = count * group < FEW_QUERIES;
  float scores[KEYS];
  for (int64_t block = start; block < end; block += KEYS) {
    const int64_t length = end - block < KEYS ? end - block : KEYS;
    const float *keys = s->keys + block * s->key_stride + head * head_dim;
    const float *values = s->values + block * s->key_stride + head * head_dim;
    if (!few)
      for (int64_t k = 0; k < KEYS; k++)
        for (int64_t d = 0; d < head_dim; d++) transposed[d * KEYS + k] = k < length ? keys[k * s->key_stride + d] : 0;
    for (int64_t j = 0; j < count; j++) {
      const int64_t seen = limit + j - block < length ? limit + j - block : length;
      if (seen <= 0) continue;
      for (int64_t g = 0; g < group; g++) {
        struct Query *query = queries + j * group + g;
        if (few) {
          int64_t k = 0;
          for (; k + 4 <= seen; k += 4) dot_of_four(query->q, keys + k * s->key_stride, s->key_stride, head_dim, scores + k);
          for (; k < seen; k++) scores[k] = dot(query->q, keys + k * s->key_stride, head_dim);
        } else
          scores_transposed(query->q, transposed, head_dim, scores);
        absorb(query, scores, seen, (float)s->scale, values, s->key_stride, head_dim);
      }
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
  int64_t count, query_stride, offset, width;
};

/* Writes keys and values of packed rows to their rows of a cache. */
void storeKeys(const struct StoreKeysArgs *args) {
  const struct StoreKeysArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < s.count; i++)
    if (s.rows[i] >= 0) memcpy(s.cache + s.rows[i] * s.width, s.qkv + i * s.query_stride + s.offset, s.width * sizeof(float));
}
