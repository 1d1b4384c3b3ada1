/* Sums of tensors, copies, and sums over rows. */
#include "common.h"

/* Elements that one thread takes at a time. */
#define BLOCK 16384

struct AddArgs {
  const element *a, *b;
  element *y;
  int64_t count;
};

/* y = a + b; y may be a or b. */
void add(const struct AddArgs *args) {
  const struct AddArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t start = 0; start < s.count; start += BLOCK) {
    const int64_t end = start + BLOCK < s.count ? start + BLOCK : s.count;
#pragma omp simd
    for (int64_t i = start; i < end; i++) s.y[i] = s.a[i] + s.b[i];
  }
}

struct CopyArgs {
  const element *x;
  element *y;
  int64_t count;
};

/* y = x; nothing is done where they are the same. */
void copy(const struct CopyArgs *args) {
  const struct CopyArgs s = *args;
  if (s.x == s.y) return;
#pragma omp parallel for schedule(static)
  for (int64_t start = 0; start < s.count; start += BLOCK) {
    const int64_t end = start + BLOCK < s.count ? start + BLOCK : s.count;
    memcpy(s.y + start, s.x + start, (end - start) * sizeof(element));
  }
}

struct AddBiasArgs {
  const element *x, *bias;
  element *y;
  int64_t rows, columns;
};

/* y = x + bias in every row; y may be x. */
void addBias(const struct AddBiasArgs *args) {
  const struct AddBiasArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < s.rows; row++) {
    const element *x = s.x + row * s.columns;
    element *y = s.y + row * s.columns;
#pragma omp simd
    for (int64_t j = 0; j < s.columns; j++) y[j] = x[j] + s.bias[j];
  }
}

struct ColumnSumArgs {
  const element *x;
  element *y;
  int64_t rows, columns, accumulate;
};

/* Columns that one thread sums, and rows in one partial sum, which keeps the rounding error of long columns small. */
#define SUM_COLUMNS 64
#define SUM_ROWS 64

/* y[j] = sum_i x[i, j], added to y where asked. */
void columnSum(const struct ColumnSumArgs *args) {
  const struct ColumnSumArgs s = *args;
#pragma omp parallel for schedule(static)
  for (int64_t first = 0; first < s.columns; first += SUM_COLUMNS) {
    const int64_t width = first + SUM_COLUMNS < s.columns ? SUM_COLUMNS : s.columns - first;
    float total[SUM_COLUMNS] = {0};
    for (int64_t row = 0; row < s.rows; row += SUM_ROWS) {
      const int64_t end = row + SUM_ROWS < s.rows ? row + SUM_ROWS : s.rows;
      float partial[SUM_COLUMNS] = {0};
      for (int64_t i = row; i < end; i++) {
        const element *x = s.x + i * s.columns + first;
#pragma omp simd
        for (int64_t j = 0; j < width; j++) partial[j] += x[j];
      }
      for (int64_t j = 0; j < SUM_COLUMNS; j++) total[j] += partial[j];
    }
    for (int64_t j = 0; j < width; j++) s.y[first + j] = s.accumulate ? s.y[first + j] + total[j] : total[j];
  }
}
