/* Causal attention over packed rows, forward and backward, without ever storing all scores.
 *
 * Blocks of TILE queries meet blocks of TILE keys. A block of scores lies keys by queries: the queries of one head stand in the lanes, so that maxima and
 * sums of the softmax need no reduction across lanes, and only queries (and dy) are transposed. Source: Dao, arXiv 2307.08691. */
#include "tile.h"

/* What a kernel is called. */
#if defined(BF16_PRODUCTS)
#define KERNEL(name) name##Bf16
#else
#define KERNEL(name) name
#endif

#define LN_2 0.6931471805599453f

struct Layout {
  int64_t batch, length, heads, kvHeads, headDim;
};

struct AttentionArgs {
  const element *qkv;
  /* First position of the document that each position belongs to, by documentAttention only. Never falls within a sequence. */
  const int32_t *starts;
  element *y;
  float *lse;
  struct Layout layout;
  /* `softcap` bounds the scores to softcap * tanh(score / softcap); 0 leaves them as they are. */
  double scale, softcap;
};

INLINE int64_t packed_width(const struct Layout *l) { return (l->heads + 2 * l->kvHeads) * l->headDim; }
INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t blocks_of(const struct Layout *l) { return (l->length + TILE - 1) / TILE; }
INLINE int64_t rows_of(const struct Layout *l, int64_t block) { return least(TILE, l->length - block * TILE); }

/* Sets the scores of keys behind a query to `value` in a tile on the diagonal, as far as they were computed. */
INLINE void mask_tile(float *scores, float value) {
  for (int64_t j = 0; j < TILE; j++)
    for (int64_t i = first_panel(j, 1); i < j; i++) scores[j * TILE + i] = value;
}

/* Scores become cap * tanh(score / cap); `slopes`, where they are wanted, the derivative 1 - tanh^2. */
INLINE void bound_tile(float *scores, float *slopes, float cap, int diagonal) {
  const float factor = -2.0f / cap;
  for (int64_t j = 0; j < TILE; j++)
#pragma omp simd
    for (int64_t i = first_panel(j, diagonal); i < TILE; i++) {
      const float score = scores[j * TILE + i], e = exp_f32(fabsf(score) * factor), tanh = (1.0f - e) / (1.0f + e);
      if (slopes) slopes[j * TILE + i] = 1.0f - tanh * tanh;
      scores[j * TILE + i] = copysignf(cap * tanh, score);
    }
}

/* First block of keys that a block of queries sees. `starts` are one sequence's, and none where `documents` is 0. */
INLINE int64_t first_keys(const int32_t *starts, int64_t block, const int documents) { return documents ? starts[block * TILE] / TILE : 0; }

/* Copies a block's starts; what stands for queries behind the last one sees all keys. */
INLINE void load_starts(int32_t *to, const int32_t *starts, int64_t block, int64_t count) {
  for (int64_t i = 0; i < TILE; i++) to[i] = i < count ? starts[block * TILE + i] : 0;
}

/* Sets the scores of keys before a query's document to `value`; `keys` is the first key of the tile. */
INLINE void mask_documents(float *scores, const int32_t *starts, int64_t keys, float value) {
  for (int64_t j = 0; j < TILE; j++)
#pragma omp simd
    for (int64_t i = 0; i < TILE; i++) scores[j * TILE + i] = keys + j < starts[i] ? value : scores[j * TILE + i];
}

/* Scores (in units of log2) become e^(score - largest); `sums` and, by `scaling`, what was summed before follow the new maximum.
 * With `documents` a query may have seen nothing yet. */
INLINE void softmax_tile(float *scores, float *largest, float *sums, float *scaling, int diagonal, const int documents) {
  for (int64_t first = 0; first < TILE; first += PANEL) {
    const int64_t last = diagonal ? first + PANEL : TILE;
    float top[PANEL], base[PANEL], sum[PANEL];
#pragma omp simd
    for (int64_t i = 0; i < PANEL; i++) top[i] = largest[first + i];
    for (int64_t j = 0; j < last; j++)
#pragma omp simd
      for (int64_t i = 0; i < PANEL; i++) {
        const float score = scores[j * TILE + first + i];
        top[i] = top[i] < score ? score : top[i];
      }
#pragma omp simd
    for (int64_t i = 0; i < PANEL; i++) {
      base[i] = documents && top[i] == -INFINITY ? 0 : top[i];
      const float factor = exp2_nonpositive(largest[first + i] - base[i]);
      scaling[first + i] = factor;
      sum[i] = sums[first + i] * factor;
    }
    for (int64_t j = 0; j < last; j++)
#pragma omp simd
      for (int64_t i = 0; i < PANEL; i++) {
        const float p = exp2_nonpositive(scores[j * TILE + first + i] - base[i]);
        scores[j * TILE + first + i] = p;
        sum[i] += p;
      }
#pragma omp simd
    for (int64_t i = 0; i < PANEL; i++) {
      largest[first + i] = top[i];
      sums[first + i] = sum[i];
    }
  }
}

/* Blocks of queries that meet a block of keys together, so that keys are brought near once for all of them. */
#define QUERY_BLOCKS(width) (MOST_WIDTH / (width))
#define MOST_BLOCKS QUERY_BLOCKS(32)

/* What one thread works on. Tiles of QUERY_BLOCKS blocks lie one after the other, each of TILE * width. */
struct ForwardScratch {
  cell queries[TILE * MOST_WIDTH / PAIRED], keys[TILE * MOST_WIDTH / PAIRED], values[TILE * MOST_WIDTH / PAIRED], p[TILE * TILE / PAIRED];
  float y[TILE * MOST_WIDTH], scores[TILE * TILE], largest[MOST_BLOCKS * TILE], sums[MOST_BLOCKS * TILE];
  int32_t starts[MOST_BLOCKS * TILE];
} __attribute__((aligned(64)));

/* One block of keys, from key `keys` on: its part of the sum for one block of queries. */
INLINE void forward_tile(struct ForwardScratch *t, int64_t block, const int64_t width, int64_t inner, float cap, int64_t keys, int first,
                         const int diagonal, const int documents) {
  float scaling[TILE], *y = t->y + block * TILE * width;
  score_tile(t->scores, t->keys, width / PAIRED, t->queries + block * TILE * width / PAIRED, inner / PAIRED, diagonal);
  if (cap > 0) bound_tile(t->scores, 0, cap, diagonal);
  if (diagonal) mask_tile(t->scores, -INFINITY);
  if (documents) mask_documents(t->scores, t->starts + block * TILE, keys, -INFINITY);
  softmax_tile(t->scores, t->largest + block * TILE, t->sums + block * TILE, scaling, diagonal, documents);
  if (!first)
    for (int64_t i = 0; i < TILE; i++)
#pragma omp simd
      for (int64_t d = 0; d < width; d++) y[i * width + d] *= scaling[i];
  gather_tile(y, rows_paired(t->p, t->scores), t->values, width, diagonal, !first);
}

/* Blocks [from, to) of the queries of one head. `width` is headDim, padded, and known to the compiler. */
INLINE void forward_blocks(const struct AttentionArgs *s, int64_t sequence, int64_t head, int64_t from, int64_t to, const int64_t width,
                           const int documents) {
  const struct Layout *l = &s->layout;
  const int32_t *starts = documents ? s->starts + sequence * l->length : s->starts;
  const int64_t columns = l->headDim, step = packed_width(l), yStep = l->heads * columns;
  const element *rows = s->qkv + sequence * l->length * step;
  const element *q = rows + head * columns, *k = rows + (l->heads + head / (l->heads / l->kvHeads)) * columns;
  const element *v = k + l->kvHeads * columns;
  element *y = s->y + sequence * l->length * yStep + head * columns;
  float *lse = s->lse + (sequence * l->heads + head) * l->length;
  const float cap = (float)s->softcap * LOG2_E;
  struct ForwardScratch t;
  for (int64_t i = 0; i < (to - from) * TILE; i++) t.largest[i] = -INFINITY, t.sums[i] = 0;
  for (int64_t block = from; block < to; block++) {
    transpose_tile(t.queries + (block - from) * TILE * width / PAIRED, q + block * TILE * step, step, rows_of(l, block), columns, (float)s->scale * LOG2_E);
    if (documents) load_starts(t.starts + (block - from) * TILE, starts, block, rows_of(l, block));
  }
  for (int64_t other = first_keys(starts, from, documents); other < to; other++) {
    pack_tile(t.keys, width / PAIRED, k + other * TILE * step, step, rows_of(l, other), columns, 1);
    pack_rows(t.values, width, v + other * TILE * step, step, rows_of(l, other), columns, 1);
    const int64_t keys = other * TILE;
    if (other >= from) forward_tile(&t, other - from, width, columns, cap, keys, other == first_keys(starts, other, documents), 1, documents);
    for (int64_t block = other < from ? from : other + 1; block < to; block++) {
      const int64_t first = first_keys(starts, block, documents);
      if (other < first) break;
      forward_tile(&t, block - from, width, columns, cap, keys, other == first, 0, documents);
    }
  }
  for (int64_t row = from * TILE; row < least(to * TILE, l->length); row++) {
    const int64_t i = row - from * TILE;
    const float factor = 1.0f / t.sums[i];
#pragma omp simd
    for (int64_t d = 0; d < columns; d++) y[row * yStep + d] = t.y[i * width + d] * factor;
    lse[row] = t.largest[i] * LN_2 + logf(t.sums[i]);
  }
}

/* The queries of one head come together, as they share its keys; late ones first, which have most to do. */
INLINE void forward(const struct AttentionArgs *s, const int64_t width, const int documents) {
  const struct Layout *l = &s->layout;
  const int64_t blocks = blocks_of(l), groups = (blocks + QUERY_BLOCKS(width) - 1) / QUERY_BLOCKS(width);
#pragma omp parallel for schedule(dynamic)
  for (int64_t task = 0; task < l->batch * l->heads * groups; task++) {
    const int64_t unit = task / groups, from = (groups - 1 - task % groups) * QUERY_BLOCKS(width);
    forward_blocks(s, unit / l->heads, unit % l->heads, from, least(from + QUERY_BLOCKS(width), blocks), width, documents);
  }
}

/* Code for each padded width, as the compiler has to know it. */
#define FOR_WIDTH(call, documents)     \
  if (args->layout.headDim <= 32)      \
    call(args, 32, documents);         \
  else if (args->layout.headDim <= 64) \
    call(args, 64, documents);         \
  else if (args->layout.headDim <= 96) \
    call(args, 96, documents);         \
  else if (args->layout.headDim <= 128) \
    call(args, 128, documents);        \
  else                                 \
    call(args, MOST_WIDTH, documents);

/* y = softmax(scale * q k^T + causal mask) v for every head, and the log of each softmax's denominator. headDim: a multiple of 4, at most 256. */
void KERNEL(attention)(const struct AttentionArgs *args) { FOR_WIDTH(forward, 0) }

/* The same within documents: keys before the first position of a query's document are masked, blocks wholly before it skipped. */
void KERNEL(documentAttention)(const struct AttentionArgs *args) { FOR_WIDTH(forward, 1) }

struct AttentionBackwardArgs {
  const element *dy, *qkv;
  const int32_t *starts;
  const element *y;
  const float *lse;
  element *dqkv;
  struct Layout layout;
  double scale, softcap;
};

/* Tiles of queries lie one after the other, as in the forward pass. */
struct BackwardScratch {
  /* Transposed, then as they are; `queries` carry the scale. */
  cell queriesT[TILE * MOST_WIDTH / PAIRED], dyT[TILE * MOST_WIDTH / PAIRED], queries[TILE * MOST_WIDTH / PAIRED], dy[TILE * MOST_WIDTH / PAIRED];
  cell keys[TILE * MOST_WIDTH / PAIRED], values[TILE * MOST_WIDTH / PAIRED], paired[TILE * TILE / PAIRED];
#if PAIRED > 1
  cell keyRows[TILE * MOST_WIDTH / PAIRED];
#endif
  float dQueries[TILE * MOST_WIDTH], dKeys[TILE * MOST_WIDTH], dValues[TILE * MOST_WIDTH];
  float p[TILE * TILE], ds[TILE * TILE], slopes[TILE * TILE], lse[MOST_BLOCKS * TILE], delta[MOST_BLOCKS * TILE];
  int32_t starts[MOST_BLOCKS * TILE];
} __attribute__((aligned(64)));

/* Keys for sums over rows: in f32 the same as for sums over columns. */
#if PAIRED > 1
#define KEY_ROWS(t) (t)->keyRows
#else
#define KEY_ROWS(t) (t)->keys
#endif

/* Rows of dqkv get, or are added, factor times a tile's rows. */
INLINE void deliver_rows(element *to, int64_t step, const float *tile, const int64_t width, int64_t count, int64_t columns, float factor, int add) {
  for (int64_t i = 0; i < count; i++) {
    element *row = to + i * step;
    const float *from = tile + i * width;
#pragma omp simd
    for (int64_t d = 0; d < columns; d++) row[d] = add ? row[d] + factor * from[d] : factor * from[d];
  }
}

/* Scores become p = e^(score - lse), and the products dy v^T become ds = p * (dy v^T - delta). */
INLINE void gradient_tile(struct BackwardScratch *t, const float *lse, const float *delta, const int diagonal) {
  for (int64_t j = 0; j < TILE; j++)
#pragma omp simd
    for (int64_t i = first_panel(j, diagonal); i < TILE; i++) {
      const float e = exp2_nonpositive(t->p[j * TILE + i] - lse[i]);
      const float p = diagonal && i < j ? 0 : e;
      t->p[j * TILE + i] = p;
      t->ds[j * TILE + i] = diagonal && i < j ? 0 : p * (t->ds[j * TILE + i] - delta[i]);
    }
}

INLINE void slope_tile(float *ds, const float *slopes, int diagonal) {
  for (int64_t j = 0; j < TILE; j++)
#pragma omp simd
    for (int64_t i = first_panel(j, diagonal); i < TILE; i++) ds[j * TILE + i] *= slopes[j * TILE + i];
}

/* One block of queries against one block of keys, from key `keys` on; sets dq where the keys are the first, dk and dv where the queries are. */
INLINE void backward_tile(struct BackwardScratch *t, int64_t block, const int64_t width, int64_t columns, float cap, int64_t keys, int firstKeys,
                          int firstQueries, const int diagonal, const int documents) {
  const int64_t tile = block * TILE * width, cells = tile / PAIRED;
  score_tile(t->p, t->keys, width / PAIRED, t->queriesT + cells, columns / PAIRED, diagonal);
  score_tile(t->ds, t->values, width / PAIRED, t->dyT + cells, columns / PAIRED, diagonal);
  if (cap > 0) bound_tile(t->p, t->slopes, cap, diagonal);
  gradient_tile(t, t->lse + block * TILE, t->delta + block * TILE, diagonal);
  if (cap > 0) slope_tile(t->ds, t->slopes, diagonal);
  if (documents) {
    mask_documents(t->p, t->starts + block * TILE, keys, 0);
    mask_documents(t->ds, t->starts + block * TILE, keys, 0);
  }
  scatter_tile(t->dValues, columns_paired(t->paired, t->p), t->dy + cells, width, diagonal, !firstQueries);
  scatter_tile(t->dKeys, columns_paired(t->paired, t->ds), t->queries + cells, width, diagonal, !firstQueries);
  gather_tile(t->dQueries + tile, rows_paired(t->paired, t->ds), KEY_ROWS(t), width, diagonal, !firstKeys);
}

/* What one head's rows begin with, and how far they are apart. */
struct HeadRows {
  const element *q, *k, *v, *y, *dy;
  const float *lse;
  element *dq, *dk, *dv;
  int64_t step, yStep;
};

INLINE struct HeadRows head_rows(const struct AttentionBackwardArgs *s, int64_t sequence, int64_t head) {
  const struct Layout *l = &s->layout;
  const int64_t columns = l->headDim, step = packed_width(l), yStep = l->heads * columns;
  const int64_t row = sequence * l->length, q = row * step + head * columns, y = row * yStep + head * columns;
  const int64_t k = row * step + (l->heads + head / (l->heads / l->kvHeads)) * columns, v = k + l->kvHeads * columns;
  const float *lse = s->lse + (sequence * l->heads + head) * l->length;
  return (struct HeadRows){s->qkv + q, s->qkv + k, s->qkv + v, s->y + y, s->dy + y, lse, s->dqkv + q, s->dqkv + k, s->dqkv + v, step, yStep};
}

/* What the products need of one block of queries. */
INLINE void load_queries(struct BackwardScratch *t, const struct HeadRows *h, int64_t block, int64_t start, int64_t count, int64_t columns,
                         float scale, const int64_t width) {
  const element *q = h->q + start * h->step, *dy = h->dy + start * h->yStep, *y = h->y + start * h->yStep;
  const int64_t tile = block * TILE * width / PAIRED;
  for (int64_t i = 0; i < TILE; i++) {
    t->lse[block * TILE + i] = i < count ? h->lse[start + i] * LOG2_E : 0;
    t->delta[block * TILE + i] = i < count ? dot(dy + i * h->yStep, y + i * h->yStep, columns) : 0;
  }
  transpose_tile(t->queriesT + tile, q, h->step, count, columns, scale * LOG2_E);
  transpose_tile(t->dyT + tile, dy, h->yStep, count, columns, 1);
  pack_rows(t->queries + tile, width, q, h->step, count, columns, scale);
  pack_rows(t->dy + tile, width, dy, h->yStep, count, columns, 1);
}

/* Blocks [from, to) of the queries of one head; the first ones of a group of heads that meet a block of keys set its dk and dv, all others add. */
INLINE void backward_blocks(const struct AttentionBackwardArgs *s, int64_t sequence, int64_t head, int64_t from, int64_t to,
                            struct BackwardScratch *t, const int64_t width, const int documents) {
  const struct Layout *l = &s->layout;
  const int32_t *starts = documents ? s->starts + sequence * l->length : s->starts;
  const struct HeadRows h = head_rows(s, sequence, head);
  const int64_t columns = l->headDim, step = h.step;
  const int firstHead = head % (l->heads / l->kvHeads) == 0;
  const float scale = (float)s->scale, cap = (float)s->softcap * LOG2_E;
  for (int64_t block = from; block < to; block++) {
    load_queries(t, &h, block - from, block * TILE, rows_of(l, block), columns, scale, width);
    if (documents) load_starts(t->starts + (block - from) * TILE, starts, block, rows_of(l, block));
  }
  for (int64_t other = first_keys(starts, from, documents); other < to; other++) {
    const int64_t start = other * TILE * step, count = rows_of(l, other);
    pack_tile(t->keys, width / PAIRED, h.k + start, step, count, columns, 1);
    pack_tile(t->values, width / PAIRED, h.v + start, step, count, columns, 1);
#if PAIRED > 1
    pack_rows(t->keyRows, width, h.k + start, step, count, columns, 1);
#endif
    const int64_t keys = other * TILE;
    if (other >= from) backward_tile(t, other - from, width, columns, cap, keys, other == first_keys(starts, other, documents), 1, 1, documents);
    for (int64_t block = other < from ? from : other + 1; block < to; block++) {
      const int64_t first = first_keys(starts, block, documents);
      if (other < first) break;
      backward_tile(t, block - from, width, columns, cap, keys, other == first, other < from && block == from, 0, documents);
    }
    deliver_rows(h.dk + start, step, t->dKeys, width, count, columns, 1, other < from || !firstHead);
    deliver_rows(h.dv + start, step, t->dValues, width, count, columns, 1, other < from || !firstHead);
  }
  for (int64_t block = from; block < to; block++)
    deliver_rows(h.dq + block * TILE * step, step, t->dQueries + (block - from) * TILE * width, width, rows_of(l, block), columns, scale, 0);
}

/* Query heads that share a kv head belong to one thread, which adds to dk and dv in order. */
INLINE void backward(const struct AttentionBackwardArgs *s, const int64_t width, const int documents) {
  const struct Layout *l = &s->layout;
  const int64_t blocks = blocks_of(l), group = l->heads / l->kvHeads;
#pragma omp parallel for schedule(dynamic)
  for (int64_t unit = 0; unit < l->batch * l->kvHeads; unit++) {
    struct BackwardScratch scratch;
    const int64_t sequence = unit / l->kvHeads, first = unit % l->kvHeads * group;
    for (int64_t head = first; head < first + group; head++)
      for (int64_t block = 0; block < blocks; block += QUERY_BLOCKS(width))
        backward_blocks(s, sequence, head, block, least(block + QUERY_BLOCKS(width), blocks), &scratch, width, documents);
  }
}

/* Gradient with respect to the packed rows. With p = e^(scale * q k^T - lse) and delta = rowsum(dy * y): dv = p^T dy, ds = p * (dy v^T - delta),
 * dq = scale * ds k, dk = scale * ds^T q; kv heads sum over their group. */
void KERNEL(attentionBackward)(const struct AttentionBackwardArgs *args) { FOR_WIDTH(backward, 0) }

void KERNEL(documentAttentionBackward)(const struct AttentionBackwardArgs *args) { FOR_WIDTH(backward, 1) }
