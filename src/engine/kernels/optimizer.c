/* AdamW over a range of the arena, the element-wise parts of Muon, and the norm of gradients. */
#include "common.h"

struct AdamwArgs {
  const element *p, *g;
  const float *m, *v;
  /* learningRate, gradientScale, biasCorrection1, biasCorrection2 and, with a mask, newEntriesRate: read at every call. */
  const double *scalars;
  /* 1 for entries that have the other rate; null where all have one. */
  const float *mask;
  element *newP;
  float *newM, *newV;
  int64_t count;
  double beta1, beta2, eps, weightDecay;
};

#define BLOCK 16384

/* g' = g * scale; m = b1 m + (1 - b1) g'; v = b2 v + (1 - b2) g'^2; p -= lr * ((m / c1) / (sqrt(v / c2) + eps) + decay * p).
 * The new p, m and v may be the old ones. */
static void plainAdamw(const struct AdamwArgs *args) {
  const struct AdamwArgs s = *args;
  const float rate = (float)s.scalars[0], scale = (float)s.scalars[1];
  const float correction1 = (float)(1.0 / s.scalars[2]), correction2 = (float)(1.0 / s.scalars[3]);
  const float beta1 = (float)s.beta1, beta2 = (float)s.beta2, eps = (float)s.eps, decay = (float)s.weightDecay;
  const float rest1 = (float)(1.0 - s.beta1), rest2 = (float)(1.0 - s.beta2);
#pragma omp parallel for schedule(static)
  for (int64_t start = 0; start < s.count; start += BLOCK) {
    const int64_t end = start + BLOCK < s.count ? start + BLOCK : s.count;
#pragma omp simd
    for (int64_t i = start; i < end; i++) {
      const float g = s.g[i] * scale;
      const float m = beta1 * s.m[i] + rest1 * g;
      const float v = beta2 * s.v[i] + rest2 * g * g;
      s.newM[i] = m;
      s.newV[i] = v;
      s.newP[i] = s.p[i] - rate * (m * correction1 / (sqrtf(v * correction2) + eps) + decay * s.p[i]);
    }
  }
}

/* The same with a rate of its own where the mask says so. */
static void maskedAdamw(const struct AdamwArgs *args) {
  const struct AdamwArgs s = *args;
  const float rate = (float)s.scalars[0], scale = (float)s.scalars[1];
  const float other = (float)s.scalars[4] - rate;
  const float correction1 = (float)(1.0 / s.scalars[2]), correction2 = (float)(1.0 / s.scalars[3]);
  const float beta1 = (float)s.beta1, beta2 = (float)s.beta2, eps = (float)s.eps, decay = (float)s.weightDecay;
  const float rest1 = (float)(1.0 - s.beta1), rest2 = (float)(1.0 - s.beta2);
#pragma omp parallel for schedule(static)
  for (int64_t start = 0; start < s.count; start += BLOCK) {
    const int64_t end = start + BLOCK < s.count ? start + BLOCK : s.count;
#pragma omp simd
    for (int64_t i = start; i < end; i++) {
      const float g = s.g[i] * scale;
      const float m = beta1 * s.m[i] + rest1 * g;
      const float v = beta2 * s.v[i] + rest2 * g * g;
      s.newM[i] = m;
      s.newV[i] = v;
      s.newP[i] = s.p[i] - (rate + s.mask[i] * other) * (m * correction1 / (sqrtf(v * correction2) + eps) + decay * s.p[i]);
    }
  }
}

void adamw(const struct AdamwArgs *args) {
  if (args->mask == 0) plainAdamw(args);
  else maskedAdamw(args);
}

struct SquaredNormArgs {
  const element *x;
  double *y;
  /* One partial sum per chunk. */
  double *partials;
  int64_t count, chunk, accumulate;
};

/* Independent sums that hide the latency of the additions. */
#define SUMS 32

/* y = sum x^2 in f64, added to y where asked. */
void squaredNorm(const struct SquaredNormArgs *args) {
  const struct SquaredNormArgs s = *args;
  const int64_t chunks = (s.count + s.chunk - 1) / s.chunk;
#pragma omp parallel for schedule(static)
  for (int64_t chunk = 0; chunk < chunks; chunk++) {
    const int64_t start = chunk * s.chunk, end = start + s.chunk < s.count ? start + s.chunk : s.count;
    double sums[SUMS] = {0}, sum = 0;
    int64_t i = start;
    for (; i + SUMS <= end; i += SUMS) {
#pragma omp simd
      for (int64_t j = 0; j < SUMS; j++) sums[j] += (double)s.x[i + j] * (double)s.x[i + j];
    }
    for (; i < end; i++) sum += (double)s.x[i] * (double)s.x[i];
    for (int64_t j = 0; j < SUMS; j++) sum += sums[j];
    s.partials[chunk] = sum;
  }
  double total = 0;
  for (int64_t chunk = 0; chunk < chunks; chunk++) total += s.partials[chunk];
  *s.y = s.accumulate ? *s.y + total : total;
}

struct MuonMomentumArgs {
  const element *g;
  const float *m;
  const double *scalars;
  float *newM, *u;
  int64_t count;
  double momentum;
};

/* g' = g * scale; m = b m + (1 - b) g'; u = b m + (1 - b) g'. The new m may be the old one. */
void muonMomentum(const struct MuonMomentumArgs *args) {
  const struct MuonMomentumArgs s = *args;
  const float scale = (float)s.scalars[1], b = (float)s.momentum, rest = (float)(1.0 - s.momentum);
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < s.count; i++) {
    const float g = s.g[i] * scale;
    const float m = b * s.m[i] + rest * g;
    s.newM[i] = m;
    s.u[i] = b * m + rest * g;
  }
}

struct UnitNormArgs {
  const float *x;
  const double *sum;
  float *y;
  int64_t count;
  double eps;
};

/* y = x / (sqrt(sum) + eps); y may be x. */
void unitNorm(const struct UnitNormArgs *args) {
  const struct UnitNormArgs s = *args;
  const float factor = (float)(1.0 / (sqrt(*s.sum) + s.eps));
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < s.count; i++) s.y[i] = s.x[i] * factor;
}

struct MuonUpdateArgs {
  const element *p;
  const float *o;
  const double *scalars;
  element *newP;
  int64_t count;
  double scale, decay;
};

/* p -= lr * (scale * o + decay * p). */
void muonUpdate(const struct MuonUpdateArgs *args) {
  const struct MuonUpdateArgs s = *args;
  const float rate = (float)s.scalars[0], scale = (float)s.scale, decay = (float)s.decay;
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < s.count; i++) s.newP[i] = s.p[i] - rate * (scale * s.o[i] + decay * s.p[i]);
}
