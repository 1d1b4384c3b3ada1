/* Routing of tokens around a layer's feed-forward branch (DLO). */
#include "select.h"

static inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

/* As it says; NaN go first. */
static float nth_largest(float *x, int64_t count, int64_t rank) {
  for (int64_t i = 0; i < count; i++)
    if (x[i] != x[i]) x[i] = INFINITY;
  return nth_largest_f32(x, count, rank);
}

struct RouteGateArgs {
  const element *z;
  const double *capacity;
  element *gate;
  float *order;
  int64_t rows;
  double scale, gap;
};

/* gate[i] = scale / 2 + (p - 1/2) gap for the ceil(capacity rows) largest z, and those equal to the last of them; else 0. */
void routeGate(const struct RouteGateArgs *args) {
  const struct RouteGateArgs s = *args;
  int64_t kept = (int64_t)ceil(*s.capacity * (double)s.rows - 1e-9);
  kept = kept > s.rows ? s.rows : kept;
  memcpy(s.order, s.z, s.rows * sizeof(float));
  const float least = kept > 0 ? nth_largest(s.order, s.rows, kept - 1) : INFINITY;
  const float middle = (float)(s.scale / 2), gap = (float)s.gap;
  for (int64_t i = 0; i < s.rows; i++) s.gate[i] = s.z[i] >= least ? middle + (sigmoid(s.z[i]) - 0.5f) * gap : s.z[i] != s.z[i] ? s.z[i] : 0;
}

struct RouteGateBackwardArgs {
  const element *dGate, *z, *gate;
  element *dz;
  int64_t rows, accumulate;
  double scale, gap;
};

/* dz = dGate gap p (1 - p) where the gate is open. */
void routeGateBackward(const struct RouteGateBackwardArgs *args) {
  const struct RouteGateBackwardArgs s = *args;
  for (int64_t i = 0; i < s.rows; i++) {
    const float p = sigmoid(s.z[i]);
    const float d = s.gate[i] == 0 ? 0 : s.dGate[i] * (float)s.gap * p * (1 - p);
    s.dz[i] = s.accumulate ? s.dz[i] + d : d;
  }
}

struct ScaleRowsArgs {
  const element *x, *g;
  element *y;
  int64_t rows, columns, accumulate;
};

/* y[i, j] = x[i, j] g[i] (+ y[i, j]); y may be x. */
void scaleRows(const struct ScaleRowsArgs *args) {
  const struct ScaleRowsArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < s.rows; i++) {
    const element *x = s.x + i * s.columns;
    element *y = s.y + i * s.columns;
    const float g = s.g[i];
    if (s.accumulate) {
#pragma omp simd
      for (int64_t j = 0; j < s.columns; j++) y[j] += x[j] * g;
    } else {
#pragma omp simd
      for (int64_t j = 0; j < s.columns; j++) y[j] = x[j] * g;
    }
  }
}

struct RowPairArgs {
  const element *a, *b;
  element *y;
  int64_t rows, columns;
};

/* y[i] = a[i] . b[i]. */
void rowDot(const struct RowPairArgs *args) {
  const struct RowPairArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < s.rows; i++) s.y[i] = dot(s.a + i * s.columns, s.b + i * s.columns, s.columns);
}

/* y[i] = cos(a[i], a[i] + b[i]) from a . a, a . b and b . b. */
void rowSimilarity(const struct RowPairArgs *args) {
  const struct RowPairArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < s.rows; i++) {
    const element *a = s.a + i * s.columns, *b = s.b + i * s.columns;
    const double aa = dot(a, a, s.columns), ab = dot(a, b, s.columns), bb = dot(b, b, s.columns);
    const double length = aa * (aa + 2 * ab + bb);
    s.y[i] = length > 0 ? (float)((aa + ab) / sqrt(length)) : length == 0 ? 1.0f : NAN;
  }
}

struct RoutingLossArgs {
  const float *weights;
  const double *capacity;
  float *total;
  double *shares;
  float *order;
  int64_t rows, layers, backward;
  double coefficient;
  /* Logits of each layer, then similarities, then gradients where they are wanted. */
  const float *operands[];
};

/* total = coefficient sum_i weights[i] mean_l (max(z, 0) - z label + log(1 + exp(-|z|))); dz = coefficient weights[i] / layers (p - label). */
void routingLoss(const struct RoutingLossArgs *args) {
  const struct RoutingLossArgs s = *args;
  const float *const *operands = args->operands;
  const int64_t all = s.rows * s.layers;
  int64_t lowest = (int64_t)floor(*s.capacity * (double)all + 0.5);
  lowest = lowest > all ? all : lowest;
  for (int64_t l = 0; l < s.layers; l++)
    for (int64_t i = 0; i < s.rows; i++) s.order[l * s.rows + i] = -operands[s.layers + l][i];
  const float most = lowest > 0 ? -nth_largest(s.order, all, lowest - 1) : -INFINITY;
  const double factor = s.coefficient / (double)s.layers;
  double total = 0;
  for (int64_t l = 0; l < s.layers; l++) {
    const float *z = operands[l], *similarity = operands[s.layers + l];
    float *dz = s.backward ? (float *)operands[2 * s.layers + l] : 0;
    int64_t ones = 0;
    for (int64_t i = 0; i < s.rows; i++) {
      const double label = similarity[i] <= most, x = z[i], weight = factor * s.weights[i];
      ones += label != 0;
      total += weight * ((x > 0 ? x : 0) - x * label + log1p(exp(-fabs(x))));
      if (dz) dz[i] = (float)(weight * (1 / (1 + exp(-x)) - label));
    }
    s.shares[l] = (double)ones / (double)s.rows;
  }
  *s.total = (float)total;
}

struct RoutePackArgs {
  const element *x, *z, *gain;
  element *y;
  int32_t *computed;
  element *packed;
  int64_t *places;
  float *factors;
  int64_t rows, columns;
  /* Rows that were packed: read by the caller. */
  int64_t count;
  double eps, scale, gap;
};

/* y = x; the norm of every row with z >= 0 to the front of `packed`. */
void routePack(struct RoutePackArgs *args) {
  const struct RoutePackArgs s = *args;
  int64_t count = 0;
  for (int64_t i = 0; i < s.rows; i++) {
    const int kept = !(s.z[i] < 0);
    s.computed[i] = kept;
    if (!kept) continue;
    s.places[count] = i;
    s.factors[count++] = (float)(s.scale / 2) + (sigmoid(s.z[i]) - 0.5f) * (float)s.gap;
  }
  args->count = count;
  if (s.y != s.x) memcpy(s.y, s.x, s.rows * s.columns * sizeof(element));
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; i++) {
    const element *x = s.x + s.places[i] * s.columns;
    element *packed = s.packed + i * s.columns;
    const float rstd = 1.0f / sqrtf(dot(x, x, s.columns) / (float)s.columns + (float)s.eps);
#pragma omp simd
    for (int64_t j = 0; j < s.columns; j++) packed[j] = x[j] * rstd * s.gain[j];
  }
}

struct RouteUnpackArgs {
  const element *packed;
  const int64_t *places;
  const float *factors;
  element *y;
  int64_t count, columns;
};

/* y[places[i]] += factors[i] packed[i]. */
void routeUnpack(const struct RouteUnpackArgs *args) {
  const struct RouteUnpackArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < s.count; i++) {
    const element *packed = s.packed + i * s.columns;
    element *y = s.y + s.places[i] * s.columns;
    const float factor = s.factors[i];
#pragma omp simd
    for (int64_t j = 0; j < s.columns; j++) y[j] += factor * packed[j];
  }
}
