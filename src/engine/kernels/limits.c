/* What the machine can do at most: arithmetic without memory, and memory without arithmetic. The clock is the caller's. */
#include "common.h"

#if defined(__AVX512BF16__) || defined(__AMX_BF16__)
#include <immintrin.h>
#endif
#if defined(__AMX_BF16__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* A call that does nothing: what remains is the crossing itself. */
void emptyCall(void *args) { (void)args; }

struct LimitArgs {
  int64_t rounds, threads;
  /* Operations that one round of one thread makes; 0 where the processor lacks the instruction. */
  int64_t operations;
};

/* Independent sums: more than an addition's latency times the additions that begin in a cycle. */
#if defined(__AVX__) && !defined(__AVX512F__)
#define CHAINS 12
#else
#define CHAINS 20
#endif

/* Keeps a register's value alive and unknown, so that nothing is computed ahead or left out. */
#if defined(__x86_64__)
#define OPAQUE(x) __asm__ volatile("" : "+v"(x))
#elif defined(__aarch64__)
#define OPAQUE(x) __asm__ volatile("" : "+w"(x))
#else
#define OPAQUE(x) __asm__ volatile("" : "+m"(x))
#endif

/* Multiplications and additions of f32 in registers. */
void limitF32(struct LimitArgs *args) {
  const int64_t rounds = args->rounds;
#pragma omp parallel num_threads(args->threads)
  {
    vector sums[CHAINS], factor = splat(0.999f), summand = splat(0.001f);
#pragma GCC unroll 20
    for (int i = 0; i < CHAINS; i++) sums[i] = splat((float)i);
    for (int64_t round = 0; round < rounds; round++) {
#pragma GCC unroll 20
      for (int i = 0; i < CHAINS; i++) sums[i] = sums[i] * factor + summand;
#pragma GCC unroll 20
      for (int i = 0; i < CHAINS; i++) OPAQUE(sums[i]);
    }
  }
  args->operations = 2 * CHAINS * LANES;
}

#if defined(__AMX_BF16__) && defined(__linux__)
#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA 18

/* 16 x 16 sums of 32 products each, in four of the eight tiles. */
void limitAmx(struct LimitArgs *args) {
  args->operations = 0;
  if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) != 0) return;
  const int64_t rounds = args->rounds;
#pragma omp parallel num_threads(args->threads)
  {
    struct {
      uint8_t palette, start, reserved[14];
      uint16_t row_bytes[16];
      uint8_t rows[16];
    } __attribute__((packed)) shape = {.palette = 1};
    for (int i = 0; i < 8; i++) shape.row_bytes[i] = 64, shape.rows[i] = 16;
    _tile_loadconfig(&shape);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    for (int64_t round = 0; round < rounds; round++) {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
  }
  args->operations = 4 * 2 * 16 * 16 * 32;
}
#else
void limitAmx(struct LimitArgs *args) { args->operations = 0; }
#endif

/* Sums of pairs of products of bf16. */
void limitAvx512Bf16(struct LimitArgs *args) {
#if defined(__AVX512BF16__)
  const int64_t rounds = args->rounds;
#pragma omp parallel num_threads(args->threads)
  {
    __m512 sums[CHAINS];
    __m512i a = _mm512_set1_epi16(0x3f00), b = _mm512_set1_epi16(0x3e80);
#pragma GCC unroll 20
    for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_setzero_ps();
    for (int64_t round = 0; round < rounds; round++) {
#pragma GCC unroll 20
      for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_dpbf16_ps(sums[i], (__m512bh)a, (__m512bh)b);
#pragma GCC unroll 20
      for (int i = 0; i < CHAINS; i++) OPAQUE(sums[i]);
    }
  }
  args->operations = 2 * CHAINS * 32;
#else
  args->operations = 0;
#endif
}

struct CopyArgs {
  const char *from;
  char *to;
  int64_t bytes, threads;
};

/* Copies with the C library, which writes past the caches where a thread's share is large. */
void limitCopy(const struct CopyArgs *args) {
  const int64_t step = args->bytes / args->threads / 64 * 64;
#pragma omp parallel for schedule(static) num_threads(args->threads)
  for (int64_t i = 0; i < args->threads; i++) memcpy(args->to + i * step, args->from + i * step, step);
}

/* Copies with plain loads and stores. */
void limitCopyCached(const struct CopyArgs *args) {
  const int64_t count = args->bytes / sizeof(vector);
  const float *from = (const float *)args->from;
  float *to = (float *)args->to;
#pragma omp parallel for schedule(static) num_threads(args->threads)
  for (int64_t i = 0; i < count; i++) store(to + i * LANES, load(from + i * LANES));
}
