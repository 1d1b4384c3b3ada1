/* Causal attention over packed rows, forward and backward, without ever storing all scores.
 *
 * Blocks of TILE queries meet blocks of TILE keys. A block of scores lies keys by queries: the queries of one head stand in the lanes, so that maxima and
 * sums of the softmax need no reduction across lanes, and only queries (and dy) are transposed. Source: Dao, arXiv 2307.08691. */
#include "tile.h"

#define LOG2_E 1.4426950408889634f
#define LN_2 0.6931471805599453f

/* Widest head, padded. */
#define MOST_WIDTH 256

struct Layout {
  int64_t batch, length, heads, kvHeads, headDim;
};

struct AttentionArgs {
  const element *qkv;
  element *y;
  float *lse;
  struct Layout layout;
  double scale;
};

INLINE int64_t packed_width(const struct Layout *l) { return (l->heads + 2 * l->kvHeads) * l->headDim; }
INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Sets the scores of keys behind a query to `value` in a tile on the diagonal, as far as they were computed. */
INLINE void mask_tile(float *scores, float value) {
  for (int64_t j = 0; j < TILE; j++)
    for (int64_t i = first_panel(j, 1); i < j; i++) scores[j * TILE + i] = value;
}

/* Scores (in units of log2) become e^(score - largest); `sums` and, by `scaling`, what was summed before follow the new maximum. */
INLINE void softmax_tile(float *scores, float *largest, float *sums, float *scaling, int diagonal) {
  for (int64_t first = 0; first < TILE; first += PANEL) {
    const int64_t last = diagonal ? first + PANEL : TILE;
    float top[PANEL], sum[PANEL];
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
      const float factor = exp2_nonpositive(largest[first + i] - top[i]);
      scaling[first + i] = factor;
      sum[i] = sums[first + i] * factor;
    }
    for (int64_t j = 0; j < last; j++)
#pragma omp simd
      for (int64_t i = 0; i < PANEL; i++) {
        const float p = exp2_nonpositive(scores[j * TILE + first + i] - top[i]);
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

/* What one thread works on; a tile's rows are `width` apart, so narrow heads touch only a part of it. */
struct ForwardScratch {
  float queries[TILE * MOST_WIDTH], keys[TILE * MOST_WIDTH], values[TILE * MOST_WIDTH], y[TILE * MOST_WIDTH];
  float scores[TILE * TILE], largest[TILE], sums[TILE], scaling[TILE];
} __attribute__((aligned(64)));

/* One block of keys: its part of the sum for one block of queries. */
INLINE void forward_tile(struct ForwardScratch *t, const int64_t width, int64_t inner, int first, const int diagonal) {
  score_tile(t->scores, t->keys, width, t->queries, inner, diagonal);
  if (diagonal) mask_tile(t->scores, -INFINITY);
  softmax_tile(t->scores, t->largest, t->sums, t->scaling, diagonal);
  if (!first)
    for (int64_t i = 0; i < TILE; i++)
#pragma omp simd
      for (int64_t d = 0; d < width; d++) t->y[i * width + d] *= t->scaling[i];
  gather_tile(t->y, t->scores, t->values, width, diagonal, !first);
}

/* One block of queries of one head. `width` is headDim, padded, and known to the compiler. */
INLINE void forward_block(const struct AttentionArgs *s, int64_t sequence, int64_t head, int64_t block, const int64_t width) {
  const struct Layout *l = &s->layout;
  const int64_t columns = l->headDim, step = packed_width(l), start = block * TILE, count = least(TILE, l->length - start);
  const element *rows = s->qkv + sequence * l->length * step;
  const element *q = rows + head * columns, *k = rows + (l->heads + head / (l->heads / l->kvHeads)) * columns;
  const element *v = k + l->kvHeads * columns;
  struct ForwardScratch t;
  for (int64_t i = 0; i < TILE; i++) t.largest[i] = -INFINITY, t.sums[i] = 0;
  transpose_tile(t.queries, q + start * step, step, count, columns, (float)s->scale * LOG2_E);
  for (int64_t other = 0; other <= block; other++) {
    const int64_t position = other * TILE, present = least(TILE, l->length - position);
    pack_tile(t.keys, width, k + position * step, step, present, columns, 1);
    pack_tile(t.values, width, v + position * step, step, present, columns, 1);
    if (other < block)
      forward_tile(&t, width, columns, other == 0, 0);
    else
      forward_tile(&t, width, columns, other == 0, 1);
  }
  for (int64_t i = 0; i < count; i++) {
    element *y = s->y + (sequence * l->length + start + i) * l->heads * columns + head * columns;
    const float factor = 1.0f / t.sums[i];
#pragma omp simd
    for (int64_t d = 0; d < columns; d++) y[d] = t.y[i * width + d] * factor;
    s->lse[(sequence * l->heads + head) * l->length + start + i] = t.largest[i] * LN_2 + logf(t.sums[i]);
  }
}

/* Long blocks of queries first, so that threads end together. */
INLINE void forward(const struct AttentionArgs *s, const int64_t width) {
  const struct Layout *l = &s->layout;
  const int64_t blocks = (l->length + TILE - 1) / TILE, units = l->batch * l->heads;
#pragma omp parallel for schedule(dynamic)
  for (int64_t task = 0; task < blocks * units; task++) {
    const int64_t unit = task % units;
    forward_block(s, unit / l->heads, unit % l->heads, blocks - 1 - task / units, width);
  }
}

/* Code for each padded width, as the compiler has to know it. */
#define FOR_WIDTH(call)            \
  if (args->layout.headDim <= 32)  \
    call(args, 32);                \
  else if (args->layout.headDim <= 64) \
    call(args, 64);                \
  else if (args->layout.headDim <= 96) \
    call(args, 96);                \
  else if (args->layout.headDim <= 128) \
    call(args, 128);               \
  else                             \
    call(args, MOST_WIDTH);

/* y = softmax(scale * q k^T + causal mask) v for every head, and the log of each softmax's denominator. headDim: a multiple of 4, at most 256. */
void attention(const struct AttentionArgs *args) { FOR_WIDTH(forward) }

struct AttentionBackwardArgs {
  const element *dy, *qkv, *y;
  const float *lse;
  element *dqkv;
  struct Layout layout;
  double scale;
};

struct BackwardScratch {
  /* Transposed, then as they are; `queries` carry the scale. */
  float queriesT[TILE * MOST_WIDTH], dyT[TILE * MOST_WIDTH], queries[TILE * MOST_WIDTH], dy[TILE * MOST_WIDTH];
  float keys[TILE * MOST_WIDTH], values[TILE * MOST_WIDTH];
  float dQueries[TILE * MOST_WIDTH], product[TILE * MOST_WIDTH];
  float p[TILE * TILE], ds[TILE * TILE], lse[TILE], delta[TILE];
} __attribute__((aligned(64)));

/* Rows of dqkv get, or are added, a product's rows. */
INLINE void deliver_rows(element *to, int64_t step, const float *product, const int64_t width, int64_t count, int64_t columns, int add) {
  for (int64_t i = 0; i < count; i++) {
    element *row = to + i * step;
    const float *from = product + i * width;
    if (add)
#pragma omp simd
      for (int64_t d = 0; d < columns; d++) row[d] += from[d];
    else
#pragma omp simd
      for (int64_t d = 0; d < columns; d++) row[d] = from[d];
  }
}

/* Scores become p = e^(score - lse), and the products dy v^T become ds = p * (dy v^T - delta). */
INLINE void gradient_tile(struct BackwardScratch *t, const int diagonal) {
  for (int64_t j = 0; j < TILE; j++)
#pragma omp simd
    for (int64_t i = first_panel(j, diagonal); i < TILE; i++) {
      const float e = exp2_nonpositive(t->p[j * TILE + i] - t->lse[i]);
      const float p = diagonal && i < j ? 0 : e;
      t->p[j * TILE + i] = p;
      t->ds[j * TILE + i] = diagonal && i < j ? 0 : p * (t->ds[j * TILE + i] - t->delta[i]);
    }
}

/* One block of queries against one block of keys: dk and dv are delivered, dq stays in the scratch. */
INLINE void backward_tile(struct BackwardScratch *t, const int64_t width, int64_t columns, element *dk, element *dv, int64_t step, int64_t present,
                          int first, int add, const int diagonal) {
  score_tile(t->p, t->keys, width, t->queriesT, columns, diagonal);
  score_tile(t->ds, t->values, width, t->dyT, columns, diagonal);
  gradient_tile(t, diagonal);
  scatter_tile(t->product, t->p, t->dy, width, diagonal);
  deliver_rows(dv, step, t->product, width, present, columns, add);
  scatter_tile(t->product, t->ds, t->queries, width, diagonal);
  deliver_rows(dk, step, t->product, width, present, columns, add);
  gather_tile(t->dQueries, t->ds, t->keys, width, diagonal, !first);
}

/* All of one block of queries of one head. The first head of a group that meets a block of keys, on the diagonal, sets dk and dv; all others add. */
INLINE void backward_block(const struct AttentionBackwardArgs *s, int64_t sequence, int64_t head, int64_t block, struct BackwardScratch *t,
                           const int64_t width) {
  const struct Layout *l = &s->layout;
  const int64_t columns = l->headDim, step = packed_width(l), group = l->heads / l->kvHeads;
  const int64_t start = block * TILE, count = least(TILE, l->length - start), yStep = l->heads * columns;
  const int64_t keys = (l->heads + head / group) * columns, values = keys + l->kvHeads * columns;
  const int64_t rows = sequence * l->length, firstRow = rows + start;
  const element *q = s->qkv + firstRow * step + head * columns;
  const element *dy = s->dy + firstRow * yStep + head * columns, *y = s->y + firstRow * yStep + head * columns;
  const float *lse = s->lse + (sequence * l->heads + head) * l->length + start;
  for (int64_t i = 0; i < TILE; i++) {
    t->lse[i] = i < count ? lse[i] * LOG2_E : 0;
    t->delta[i] = i < count ? dot(dy + i * yStep, y + i * yStep, columns) : 0;
  }
  transpose_tile(t->queriesT, q, step, count, columns, (float)s->scale * LOG2_E);
  transpose_tile(t->dyT, dy, yStep, count, columns, 1);
  pack_tile(t->queries, width, q, step, count, columns, (float)s->scale);
  pack_tile(t->dy, width, dy, yStep, count, columns, 1);
  for (int64_t other = 0; other <= block; other++) {
    const int64_t position = other * TILE, present = least(TILE, l->length - position);
    const element *k = s->qkv + (rows + position) * step + keys, *v = s->qkv + (rows + position) * step + values;
    element *dk = s->dqkv + (rows + position) * step + keys, *dv = s->dqkv + (rows + position) * step + values;
    pack_tile(t->keys, width, k, step, present, columns, 1);
    pack_tile(t->values, width, v, step, present, columns, 1);
    if (other < block)
      backward_tile(t, width, columns, dk, dv, step, present, other == 0, 1, 0);
    else
      backward_tile(t, width, columns, dk, dv, step, present, other == 0, head % group > 0, 1);
  }
  element *dq = s->dqkv + firstRow * step + head * columns;
  for (int64_t i = 0; i < TILE * width; i++) t->dQueries[i] *= (float)s->scale;
  deliver_rows(dq, step, t->dQueries, width, count, columns, 0);
}

/* Query heads that share a kv head belong to one thread, which adds to dk and dv in order. */
INLINE void backward(const struct AttentionBackwardArgs *s, const int64_t width) {
  const struct Layout *l = &s->layout;
  const int64_t blocks = (l->length + TILE - 1) / TILE, group = l->heads / l->kvHeads;
#pragma omp parallel for schedule(dynamic)
  for (int64_t unit = 0; unit < l->batch * l->kvHeads; unit++) {
    struct BackwardScratch scratch;
    const int64_t sequence = unit / l->kvHeads, first = unit % l->kvHeads * group;
    for (int64_t head = first; head < first + group; head++)
      for (int64_t block = 0; block < blocks; block++) backward_block(s, sequence, head, block, &scratch, width);
  }
}

/* Gradient with respect to the packed rows. With p = e^(scale * q k^T - lse) and delta = rowsum(dy * y): dv = p^T dy, ds = p * (dy v^T - delta),
 * dq = scale * ds k, dk = scale * ds^T q; kv heads sum over their group. */
void attentionBackward(const struct AttentionBackwardArgs *args) { FOR_WIDTH(backward) }
