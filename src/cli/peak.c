#include "cli/peak.h"

#include "base/clock.h"
#include "base/cpu.h"
#include "base/pool.h"

#include <nacre/system.h>
#include <stddef.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* Independent chains hide the latency of one operation: 2 units x 4 cycles are 8, 12 leave room. Written
   out, since a chain must live in a register whatever the optimisation level. */
enum { CHAINS = 12, ROUNDS = 20000 };
#define EACH_CHAIN(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)

/* Keeps a result that nobody reads. */
static volatile float sink;

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static float run_avx512(void) {
    __m512 a[CHAINS], x = _mm512_set1_ps(0.999999F), y = _mm512_set1_ps(1e-6F);
    __m512 sum = _mm512_set1_ps(0);
#define START(i) a[i] = _mm512_set1_ps((float)(i));
#define STEP(i) a[i] = _mm512_fmadd_ps(a[i], x, y);
#define SUM(i) sum = _mm512_add_ps(sum, a[i]);
    EACH_CHAIN(START)
    for (int round = 0; round < ROUNDS; round++) {
        EACH_CHAIN(STEP)
    }
    EACH_CHAIN(SUM)
#undef START
#undef STEP
#undef SUM
    return _mm512_cvtss_f32(sum);
}

__attribute__((target("avx2,fma"))) static float run_avx2(void) {
    __m256 a[CHAINS], x = _mm256_set1_ps(0.999999F), y = _mm256_set1_ps(1e-6F);
    __m256 sum = _mm256_set1_ps(0);
#define START(i) a[i] = _mm256_set1_ps((float)(i));
#define STEP(i) a[i] = _mm256_fmadd_ps(a[i], x, y);
#define SUM(i) sum = _mm256_add_ps(sum, a[i]);
    EACH_CHAIN(START)
    for (int round = 0; round < ROUNDS; round++) {
        EACH_CHAIN(STEP)
    }
    EACH_CHAIN(SUM)
#undef START
#undef STEP
#undef SUM
    return _mm256_cvtss_f32(sum);
}
#elif defined(__aarch64__)
static float run_neon(void) {
    float32x4_t a[CHAINS], x = vdupq_n_f32(0.999999F), y = vdupq_n_f32(1e-6F);
    float32x4_t sum = vdupq_n_f32(0);
#define START(i) a[i] = vdupq_n_f32((float)(i));
#define STEP(i) a[i] = vfmaq_f32(y, a[i], x);
#define SUM(i) sum = vaddq_f32(sum, a[i]);
    EACH_CHAIN(START)
    for (int round = 0; round < ROUNDS; round++) {
        EACH_CHAIN(STEP)
    }
    EACH_CHAIN(SUM)
#undef START
#undef STEP
#undef SUM
    return vgetq_lane_f32(sum, 0);
}
#endif

/* What the compiler makes of plain C: four lanes, multiply and add apart. */
static float run_portable(void) {
    enum { LANES = 4 };
    float a[CHAINS][LANES];
    for (int i = 0; i < CHAINS * LANES; i++) {
        a[i / LANES][i % LANES] = (float)i;
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < CHAINS; i++) {
            for (int k = 0; k < LANES; k++) {
                a[i][k] = a[i][k] * 0.999999F + 1e-6F;
            }
        }
    }
    float sum = 0;
    for (int i = 0; i < CHAINS * LANES; i++) {
        sum += a[i / LANES][i % LANES];
    }
    return sum;
}

/* x = 0.5 x over whole vectors: each byte is read and written once. */
#if defined(__x86_64__)
__attribute__((target("avx512f"))) static void stream_avx512(float *x, size_t count) {
    __m512 half = _mm512_set1_ps(0.5F);
    for (size_t i = 0; i < count; i += 16) {
        _mm512_storeu_ps(x + i, _mm512_mul_ps(_mm512_loadu_ps(x + i), half));
    }
}

__attribute__((target("avx2"))) static void stream_avx2(float *x, size_t count) {
    __m256 half = _mm256_set1_ps(0.5F);
    for (size_t i = 0; i < count; i += 8) {
        _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), half));
    }
}
#elif defined(__aarch64__)
static void stream_neon(float *x, size_t count) {
    for (size_t i = 0; i < count; i += 4) {
        vst1q_f32(x + i, vmulq_n_f32(vld1q_f32(x + i), 0.5F));
    }
}
#endif

static void stream_portable(float *x, size_t count) {
    for (size_t i = 0; i < count; i++) {
        x[i] *= 0.5F;
    }
}

/* Sums whole vectors in chains, as `run` does: the loads, not the additions, are what takes time. The count is a
   multiple of STREAM_STEP floats. */
enum { READ_CHAINS = 8, STREAM_STEP = 16 * READ_CHAINS };
#define EACH_READ(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static float read_avx512(const float *x, size_t count) {
    __m512 a[READ_CHAINS], sum = _mm512_setzero_ps();
#define START(i) a[i] = _mm512_setzero_ps();
#define STEP(i) a[i] = _mm512_add_ps(a[i], _mm512_loadu_ps(x + at + 16 * (i)));
#define SUM(i) sum = _mm512_add_ps(sum, a[i]);
    EACH_READ(START)
    for (size_t at = 0; at < count; at += 16 * READ_CHAINS) {
        EACH_READ(STEP)
    }
    EACH_READ(SUM)
#undef START
#undef STEP
#undef SUM
    return _mm512_cvtss_f32(sum);
}

__attribute__((target("avx2"))) static float read_avx2(const float *x, size_t count) {
    __m256 a[READ_CHAINS], sum = _mm256_setzero_ps();
#define START(i) a[i] = _mm256_setzero_ps();
#define STEP(i) a[i] = _mm256_add_ps(a[i], _mm256_loadu_ps(x + at + 8 * (i)));
#define SUM(i) sum = _mm256_add_ps(sum, a[i]);
    EACH_READ(START)
    for (size_t at = 0; at < count; at += 8 * READ_CHAINS) {
        EACH_READ(STEP)
    }
    EACH_READ(SUM)
#undef START
#undef STEP
#undef SUM
    return _mm256_cvtss_f32(sum);
}
#elif defined(__aarch64__)
static float read_neon(const float *x, size_t count) {
    float32x4_t a[READ_CHAINS], sum = vdupq_n_f32(0);
#define START(i) a[i] = vdupq_n_f32(0);
#define STEP(i) a[i] = vaddq_f32(a[i], vld1q_f32(x + at + 4 * (i)));
#define SUM(i) sum = vaddq_f32(sum, a[i]);
    EACH_READ(START)
    for (size_t at = 0; at < count; at += 4 * READ_CHAINS) {
        EACH_READ(STEP)
    }
    EACH_READ(SUM)
#undef START
#undef STEP
#undef SUM
    return vgetq_lane_f32(sum, 0);
}
#endif

/* Independent sums side by side, which a compiler may lay into vectors without reordering any. */
static float read_portable(const float *x, size_t count) {
    enum { LANES = 4 * READ_CHAINS };
    float a[LANES] = {0}, sum = 0;
    for (size_t at = 0; at < count; at += LANES) {
        for (size_t i = 0; i < LANES; i++) {
            a[i] += x[at + i];
        }
    }
    for (int i = 0; i < LANES; i++) {
        sum += a[i];
    }
    return sum;
}

typedef struct level {
    float (*run)(void);
    void (*stream)(float *x, size_t count);
    float (*read)(const float *x, size_t count);
    int lanes;
} level;

static level level_in_use(void) {
    switch (nacre_isa_in_use()) {
#if defined(__x86_64__)
    case NACRE_ISA_AVX512:
        return (level){run_avx512, stream_avx512, read_avx512, 16};
    case NACRE_ISA_AVX2:
        return (level){run_avx2, stream_avx2, read_avx2, 8};
#elif defined(__aarch64__)
    case NACRE_ISA_NEON:
        return (level){run_neon, stream_neon, read_neon, 4};
#endif
    default:
        return (level){run_portable, stream_portable, read_portable, 4};
    }
}

enum { REPEATS = 40 };

static void repeat(void *context, size_t index) {
    const level *used = context;
    (void)index;
    float sum = 0;
    for (int i = 0; i < REPEATS; i++) {
        sum += used->run();
    }
    sink = sum;
}

static double gflops(size_t threads) {
    level used = level_in_use();
    uint64_t begin = nacre_clock_ns();
    nacre_parallel(threads, repeat, &used);
    double nanoseconds = (double)(nacre_clock_ns() - begin);
    return 2.0 * used.lanes * CHAINS * ROUNDS * REPEATS * (double)threads / nanoseconds;
}

double nacre_cli_peak_gflops(void) { return gflops((size_t)nacre_threads()); }

double nacre_cli_peak_gflops_one(void) { return gflops(1); }

enum { STREAM_NS = 1000000 };

typedef struct streaming {
    level used;
    float *x;
    size_t part; /* a multiple of STREAM_STEP */
} streaming;

static void stream_part(void *context, size_t index) {
    const streaming *s = context;
    s->used.stream(s->x + index * s->part, s->part);
}

static void read_part(void *context, size_t index) {
    const streaming *s = context;
    sink = s->used.read(s->x + index * s->part, s->part);
}

/* passes: how often `pass` moves each byte. */
static double gbytes(float *x, size_t count, void (*pass)(void *, size_t), int passes) {
    size_t threads = (size_t)nacre_threads();
    streaming s = {.used = level_in_use(), .part = count / threads / STREAM_STEP * STREAM_STEP};
    s.x = x;
    double best = 0, bytes = (double)passes * sizeof(float) * (double)(s.part * threads);
    uint64_t start = nacre_clock_ns(), end;
    do {
        uint64_t begin = nacre_clock_ns();
        nacre_parallel(threads, pass, &s);
        end = nacre_clock_ns();
        best = end > begin && bytes / (double)(end - begin) > best ? bytes / (double)(end - begin)
                                                                   : best;
    } while (end - start < STREAM_NS);
    return best;
}

double nacre_cli_stream_gbytes(float *x, size_t count) { return gbytes(x, count, stream_part, 2); }

double nacre_cli_read_gbytes(float *x, size_t count) { return gbytes(x, count, read_part, 1); }
