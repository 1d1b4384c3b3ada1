/* Cross-entropy of a chunk of rows of logits, with its gradient in their place. */
#include "common.h"

struct RowStatistics {
  float largest, sum;
};

/* The largest logit and the sum of e^(z - largest); with `keep` those terms replace the logits. */
static inline __attribute__((always_inline)) struct RowStatistics row_statistics(float *z, int64_t count, int keep) {
  float largest = -INFINITY;
#pragma omp simd reduction(max : largest)
  for (int64_t j = 0; j < count; j++) largest = largest < z[j] ? z[j] : largest;
  float sums[4 * LANES] = {0}, sum = 0;
  int64_t j = 0;
  for (; j + 4 * LANES <= count; j += 4 * LANES) {
#pragma omp simd
    for (int64_t i = 0; i < 4 * LANES; i++) {
      const float term = exp_f32(z[j + i] - largest);
      if (keep) z[j + i] = term;
      sums[i] += term;
    }
  }
  for (; j < count; j++) {
    const float term = exp_f32(z[j] - largest);
    if (keep) z[j] = term;
    sum += term;
  }
  for (int i = 0; i < 4 * LANES; i++) sum += sums[i];
  return (struct RowStatistics){largest, sum};
}

struct CrossEntropyArgs {
  float *logits;
  const int32_t *targets;
  const float *weights;
  float *losses;
  int64_t rows, vocabulary, gradient;
};

/* losses[i] = log sum e^z - z[target], 0 for a negative target, NaN for one outside the vocabulary; with `gradient` the logits become
 * weights[i] * (softmax(z) - onehot(target)). */
void crossEntropy(const struct CrossEntropyArgs *args) {
  const struct CrossEntropyArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < s.rows; row++) {
    float *z = s.logits + row * s.vocabulary;
    const int64_t target = s.targets[row];
    if (target < 0) {
      s.losses[row] = 0;
      if (s.gradient) memset(z, 0, s.vocabulary * sizeof(float));
      continue;
    }
    const float chosen = target < s.vocabulary ? z[target] : NAN;
    const struct RowStatistics statistics =
        s.gradient ? row_statistics(z, s.vocabulary, 1) : row_statistics(z, s.vocabulary, 0);
    s.losses[row] = logf(statistics.sum) + (statistics.largest - chosen);
    if (!s.gradient) continue;
    const float factor = s.weights[row] / statistics.sum;
#pragma omp simd
    for (int64_t j = 0; j < s.vocabulary; j++) z[j] *= factor;
    if (target < s.vocabulary) z[target] -= s.weights[row];
  }
}

struct WeightedSumArgs {
  const float *weights, *losses;
  float *total;
  int64_t rows;
};

/* total = sum weights[i] * losses[i], added in f64 in order of rows. */
void weightedSum(const struct WeightedSumArgs *args) {
  double total = 0;
  for (int64_t i = 0; i < args->rows; i++) total += (double)args->weights[i] * (double)args->losses[i];
  *args->total = (float)total;
}
