/* Weights of items by their loss in excess of a reference model's. */
#include "select.h"

struct ExcessWeightsArgs {
  const float *losses, *reference, *shares;
  /* inverseTau, logNormaliser: read at every call. */
  const double *scalars;
  float *weights;
  double *sums;
  /* Excess of each item, and a copy that selection may reorder. */
  double *excess, *order;
  int64_t items, group, cvar;
  double clip, alpha;
};

/* Sums are added in f64 in order of items, one thread: N additions are nothing beside the model that made the losses. */
void excessWeights(const struct ExcessWeightsArgs *args) {
  const struct ExcessWeightsArgs s = *args;
  double loss = 0, excess = 0, weighted = 0, share = 0;
  int64_t counted = 0, hasNan = 0;
  for (int64_t item = 0; item < s.items; item++) {
    double q = 0, l = 0, r = 0;
    for (int64_t i = item * s.group; i < (item + 1) * s.group; i++) {
      const double part = s.shares[i];
      if (part == 0) continue;
      q += part;
      l += part * s.losses[i];
      r += part * ((double)s.losses[i] - (double)s.reference[i]);
    }
    double value = q > 0 ? r / q : -INFINITY;
    if (q > 0) value = value > s.clip ? s.clip : value < -s.clip ? -s.clip : value;
    if (value != value) hasNan = 1;
    s.excess[item] = value;
    if (q <= 0) continue;
    s.order[counted++] = value;
    share += q;
    loss += l;
    excess += q * value;
  }
  double threshold = -INFINITY;
  int64_t left = 0;
  if (s.cvar && counted > 0 && !hasNan) {
    const int64_t kept = (int64_t)ceil(s.alpha * (double)counted - 1e-9);
    threshold = nth_largest_f64(s.order, counted, kept - 1);
    int64_t above = 0;
    for (int64_t item = 0; item < s.items; item++) above += s.excess[item] > threshold;
    left = kept - above;
  }
  const double inverseTau = s.scalars[0], logNormaliser = s.scalars[1];
  double weight = 0;
  for (int64_t item = 0; item < s.items; item++) {
    const double r = s.excess[item];
    double w = 0;
    if (r == -INFINITY) w = 0;
    else if (!s.cvar) w = exp(r * inverseTau - logNormaliser);
    else if (r != r || hasNan) w = NAN;
    else if (r > threshold || (r == threshold && left-- > 0)) w = 1;
    double q = 0;
    for (int64_t i = item * s.group; i < (item + 1) * s.group; i++) {
      q += s.shares[i];
      s.weights[i] = (float)(s.shares[i] == 0 ? 0 : s.shares[i] * w);
    }
    if (q <= 0) continue;
    weight += q * w;
    weighted += q * w * r;
  }
  if (s.cvar && weight > 0) {
    const double factor = share / weight;
    for (int64_t i = 0; i < s.items * s.group; i++) s.weights[i] = (float)(s.weights[i] * factor);
    weight = share;
    weighted *= factor;
  }
  s.sums[0] = weight;
  s.sums[1] = loss;
  s.sums[2] = excess;
  s.sums[3] = weighted;
}
