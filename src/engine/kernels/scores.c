/* Log-probabilities of given and of best tokens from a chunk of rows of logits. */
#include "common.h"

struct TokenScoresArgs {
  const float *logits;
  const int32_t *targets;
  float *log_probs;
  int32_t *best;
  float *best_log_probs;
  int64_t rows, vocabulary;
};

static inline float largest_of(const float *z, int64_t count) {
  float largest = -INFINITY;
#pragma omp simd reduction(max : largest)
  for (int64_t j = 0; j < count; j++) largest = largest < z[j] ? z[j] : largest;
  return largest;
}

static inline float sum_of_exp(const float *z, int64_t count, float largest) {
  float sums[4 * LANES] = {0}, sum = 0;
  int64_t j = 0;
  for (; j + 4 * LANES <= count; j += 4 * LANES) {
#pragma omp simd
    for (int64_t i = 0; i < 4 * LANES; i++) sums[i] += exp_f32(z[j + i] - largest);
  }
  for (; j < count; j++) sum += exp_f32(z[j] - largest);
  for (int i = 0; i < 4 * LANES; i++) sum += sums[i];
  return sum;
}

/* A target outside the vocabulary gives NaN; a row whose logits are all NaN has token 0 as its best. */
void tokenScores(const struct TokenScoresArgs *args) {
  const struct TokenScoresArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < s.rows; row++) {
    const float *z = s.logits + row * s.vocabulary;
    const float largest = largest_of(z, s.vocabulary);
    const float log_sum = logf(sum_of_exp(z, s.vocabulary, largest));
    int64_t best = 0;
    while (best < s.vocabulary && z[best] != largest) best++;
    const int64_t target = s.targets[row];
    s.log_probs[row] = target >= 0 && target < s.vocabulary ? (z[target] - largest) - log_sum : NAN;
    s.best[row] = best < s.vocabulary ? best : 0;
    s.best_log_probs[row] = -log_sum;
  }
}
