/* Passes over the logits of one token: what a draw needs to know of all of them, and the draw itself. */
#include "common.h"

#define CHUNK 256

struct SummaryArgs {
  int64_t count;
  double inverse_temperature;
  /* Results. */
  int64_t best;
  double sum, tempered_sum;
};

/* The sum of e^((x[i] - largest) * factor) over a chunk, always in the same order. */
static inline double sum_of_exponentials(const float *x, int64_t count, float largest, float factor) {
  float e[CHUNK];
#pragma omp simd
  for (int64_t i = 0; i < count; i++) e[i] = exp_f32((x[i] - largest) * factor);
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += e[i];
  return sum;
}

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* The largest logit's index, the lowest of equal ones, and the sums of exponentials of the differences to it. */
void summariseLogits(const float *logits, struct SummaryArgs *args) {
  const int64_t count = args->count;
  float largest = logits[0];
  for (int64_t start = 0; start < count; start += CHUNK) {
    const int64_t end = least(start + CHUNK, count);
    float most = logits[start];
#pragma omp simd reduction(max : most)
    for (int64_t i = start; i < end; i++) most = logits[i] > most ? logits[i] : most;
    largest = most > largest ? most : largest;
  }
  int64_t best = 0;
  while (best < count - 1 && logits[best] != largest) best++;
  double sum = 0, tempered = 0;
  const float factor = (float)args->inverse_temperature;
  for (int64_t start = 0; start < count; start += CHUNK) {
    const int64_t length = least(CHUNK, count - start);
    sum += sum_of_exponentials(logits + start, length, largest, 1);
    if (factor != 0 && factor != 1) tempered += sum_of_exponentials(logits + start, length, largest, factor);
  }
  args->best = best;
  args->sum = sum;
  args->tempered_sum = factor == 1 ? sum : tempered;
}

struct DrawArgs {
  int64_t count;
  double inverse_temperature, largest, rest;
  /* Result. */
  int64_t token;
};

/* The token at which the running sum of exponentials passes `rest`; the last one with a share where rounding leaves some. */
void drawLogit(const float *logits, struct DrawArgs *args) {
  const float largest = (float)args->largest, factor = (float)args->inverse_temperature;
  double rest = args->rest;
  int64_t last = 0;
  for (int64_t start = 0; start < args->count; start += CHUNK) {
    const int64_t length = least(CHUNK, args->count - start);
    const double sum = sum_of_exponentials(logits + start, length, largest, factor);
    if (sum == 0) continue;
    const int inside = rest < sum;
    if (!inside) rest -= sum;
    for (int64_t i = inside ? 0 : length - 1; i < length && i >= 0; i += inside ? 1 : -1) {
      const float share = exp_f32((logits[start + i] - largest) * factor);
      if (share == 0) continue;
      last = start + i;
      if (!inside) break;
      rest -= share;
      if (rest < 0) break;
    }
    if (inside) break;
  }
  args->token = last;
}
