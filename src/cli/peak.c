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
   out, since a chain must live in a register whatever the optimisation level. Reading needs fewer. */
enum { CHAINS = 12, READ_CHAINS = 8, ROUNDS = 20000 };
#define EACH_CHAIN(DO, v)                                                                          \
    DO(v, 0)                                                                                       \
    DO(v, 1)                                                                                       \
    DO(v, 2) DO(v, 3) DO(v, 4) DO(v, 5) DO(v, 6) DO(v, 7) DO(v, 8) DO(v, 9) DO(v, 10) DO(v, 11)
#define EACH_READ(DO, v) DO(v, 0) DO(v, 1) DO(v, 2) DO(v, 3) DO(v, 4) DO(v, 5) DO(v, 6) DO(v, 7)

/* Passes over memory take a multiple of this many floats. */
enum { STREAM_STEP = 16 * READ_CHAINS };

/* Keeps a result that nobody reads. */
static volatile float sink;

/* ---- whole vectors ---- */

/* The loops of a level; v is what the names of its vectors' intrinsics begin with. Text and not one function, since
   the target is an attribute of functions.
   run: fused multiply-adds without memory. stream: x = 0.5 x, each byte is read and written once. read: a sum in
   chains, where the loads, not the additions, are what takes time. */
#define START(v, i) a[i] = v##_set1_ps((float)(i));
#define STEP(v, i) a[i] = v##_fmadd_ps(a[i], x, y);
#define CLEAR(v, i) a[i] = v##_set1_ps(0);
#define TAKE(v, i) a[i] = v##_add_ps(a[i], v##_loadu_ps(x + at + LANES * (i)));
#define SUM(v, i) sum = v##_add_ps(sum, a[i]);
#define LOOPS(level, attributes, vector, v)                                                        \
    attributes static float run_##level(void) {                                                    \
        vector a[CHAINS], x = v##_set1_ps(0.999999F), y = v##_set1_ps(1e-6F);                      \
        vector sum = v##_set1_ps(0);                                                               \
        EACH_CHAIN(START, v)                                                                       \
        for (int round = 0; round < ROUNDS; round++) {                                             \
            EACH_CHAIN(STEP, v)                                                                    \
        }                                                                                          \
        EACH_CHAIN(SUM, v)                                                                         \
        return v##_cvtss_f32(sum);                                                                 \
    }                                                                                              \
    attributes static void stream_##level(float *x, size_t count) {                                \
        enum { LANES = sizeof(vector) / sizeof(float) };                                           \
        vector half = v##_set1_ps(0.5F);                                                           \
        for (size_t i = 0; i < count; i += LANES) {                                                \
            v##_storeu_ps(x + i, v##_mul_ps(v##_loadu_ps(x + i), half));                           \
        }                                                                                          \
    }                                                                                              \
    attributes static float read_##level(const float *x, size_t count) {                           \
        enum { LANES = sizeof(vector) / sizeof(float) };                                           \
        vector a[READ_CHAINS], sum = v##_set1_ps(0);                                               \
        EACH_READ(CLEAR, v)                                                                        \
        for (size_t at = 0; at < count; at += LANES * READ_CHAINS) {                               \
            EACH_READ(TAKE, v)                                                                     \
        }                                                                                          \
        EACH_READ(SUM, v)                                                                          \
        return v##_cvtss_f32(sum);                                                                 \
    }

#if defined(__x86_64__)
LOOPS(avx512, __attribute__((target("avx512f"))), __m512, _mm512)
LOOPS(avx2, __attribute__((target("avx2,fma"))), __m256, _mm256)
#elif defined(__aarch64__)
#define neon_set1_ps vdupq_n_f32
#define neon_loadu_ps vld1q_f32
#define neon_storeu_ps vst1q_f32
#define neon_add_ps vaddq_f32
#define neon_mul_ps vmulq_f32
#define neon_fmadd_ps(a, x, y) vfmaq_f32(y, a, x)
#define neon_cvtss_f32(a) vgetq_lane_f32(a, 0)
LOOPS(neon, , float32x4_t, neon)
#endif

/* ---- plain C ---- */

/* Four lanes, multiply and add apart. */
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

static void stream_portable(float *x, size_t count) {
    for (size_t i = 0; i < count; i++) {
        x[i] *= 0.5F;
    }
}

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

/* ---- what is used ---- */

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
