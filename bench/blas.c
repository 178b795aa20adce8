/* Matrix products of a BLAS library that is installed somewhere, without the language that it came with:

       blas LIBRARY NAME...      for each line {"seconds": S} on stdin a line {"us": [...]}: the best of S seconds of each

   NAME is what nacre bench kernels calls the product: "matmul:MxNxK:tn" is [M,K] by [K,N], the first of them lying
   transposed, "linear:MxNxK" multiplies by a weight [N,K] and adds bias and ReLU, in a pass of its own. Threads are set
   by OMP_NUM_THREADS and its like. */
#include "base/clock.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Fortran's interface, which every BLAS has: matrices by columns, and all arguments by reference. */
typedef void sgemm_short(const char *ta, const char *tb, const int32_t *m, const int32_t *n,
                         const int32_t *k, const float *alpha, const float *a, const int32_t *lda,
                         const float *b, const int32_t *ldb, const float *beta, float *c,
                         const int32_t *ldc);
typedef void sgemm_long(const char *ta, const char *tb, const int64_t *m, const int64_t *n,
                        const int64_t *k, const float *alpha, const float *a, const int64_t *lda,
                        const float *b, const int64_t *ldb, const float *beta, float *c,
                        const int64_t *ldc);

typedef struct library {
    sgemm_short *with_int32;
    sgemm_long *with_int64;
    int threads;
} library;

typedef struct product {
    int32_t m, n, k;
    bool turned_a, turned_b, linear;
    float *a, *b, *bias, *out;
} product;

static const float one = 1, zero = 0;

static bool open_library(const char *path, library *out) {
    static const char *const long_names[] = {"scipy_sgemm_64_", "sgemm_64_", "sgemm_64"};
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        fprintf(stderr, "blas: %s\n", dlerror());
        return false;
    }
    void *found = NULL;
    for (size_t i = 0; !found && i < sizeof long_names / sizeof *long_names; i++) {
        found = dlsym(handle, long_names[i]);
    }
    bool is_long = found != NULL;
    found = found ? found : dlsym(handle, "sgemm_");
    if (!found) {
        fprintf(stderr, "blas: %s has no sgemm\n", path);
        return false;
    }
    /* ISO C has no cast from an object's address to a function's. */
    memcpy(is_long ? (void *)&out->with_int64 : (void *)&out->with_int32, &found, sizeof found);
    const char *threads = getenv("OMP_NUM_THREADS");
    out->threads = threads && atoi(threads) > 1 ? atoi(threads) : 1;
    return true;
}

static float *numbers(size_t count) {
    float *values = aligned_alloc(64, (count * sizeof *values + 63) / 64 * 64);
    if (!values) {
        fprintf(stderr, "blas: no memory\n");
        exit(1);
    }
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)(i * 37 % 101) * 0.01f - 0.5f;
    }
    return values;
}

static bool read_product(const char *name, product *p) {
    char kind[8], how[3] = "nt";
    int read = sscanf(name, "%7[a-z]:%" SCNd32 "x%" SCNd32 "x%" SCNd32 ":%2s", kind, &p->m, &p->n,
                      &p->k, how);
    p->linear = strcmp(kind, "linear") == 0;
    if (read != (p->linear ? 4 : 5) || p->m < 1 || p->n < 1 || p->k < 1) {
        fprintf(stderr, "blas: %s is no product\n", name);
        return false;
    }
    p->turned_a = how[0] == 't';
    p->turned_b = how[1] == 't';
    p->a = numbers((size_t)p->m * (size_t)p->k);
    p->b = numbers((size_t)p->k * (size_t)p->n);
    p->bias = numbers((size_t)p->n);
    p->out = numbers((size_t)p->m * (size_t)p->n);
    return true;
}

/* By rows C = A B; the same memory by columns is C^T = B^T A^T. */
static void multiply(const library *l, const product *p) {
    const char *ta = p->turned_a ? "T" : "N", *tb = p->turned_b ? "T" : "N";
    int32_t lda = p->turned_a ? p->m : p->k, ldb = p->turned_b ? p->k : p->n;
    if (l->with_int32) {
        l->with_int32(tb, ta, &p->n, &p->m, &p->k, &one, p->b, &ldb, p->a, &lda, &zero, p->out,
                      &p->n);
        return;
    }
    int64_t m = p->m, n = p->n, k = p->k, wide_a = lda, wide_b = ldb;
    l->with_int64(tb, ta, &n, &m, &k, &one, p->b, &wide_b, p->a, &wide_a, &zero, p->out, &n);
}

/* Not under sanitizers: what chooses the level runs before they do. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) &&       \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define EVERY_LEVEL __attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3")))
#else
#define EVERY_LEVEL
#endif

EVERY_LEVEL static void add_bias_relu(float *restrict out, const float *restrict bias, int rows,
                                      int columns) {
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < columns; j++) {
            float value = out[(size_t)i * (size_t)columns + (size_t)j] + bias[j];
            out[(size_t)i * (size_t)columns + (size_t)j] = value > 0 ? value : 0;
        }
    }
}

static void run(const library *l, const product *p) {
    multiply(l, p);
    if (p->linear) { /* as if threads shared the pass and handed it over in no time */
        add_bias_relu(p->out, p->bias, (p->m + l->threads - 1) / l->threads, p->n);
    }
}

static double best_us(const library *l, const product *p, double seconds) {
    uint64_t begin = nacre_clock_ns(), best = UINT64_MAX, now;
    do {
        uint64_t start = nacre_clock_ns();
        run(l, p);
        now = nacre_clock_ns();
        best = now - start < best ? now - start : best;
    } while ((double)(now - begin) < seconds * 1e9);
    return (double)best * 1e-3;
}

static void answer(const library *l, const product *products, int count, double seconds) {
    printf("{\"us\": [");
    for (int i = 0; i < count; i++) {
        printf("%s%.3f", i ? ", " : "", best_us(l, &products[i], seconds));
    }
    printf("]}\n");
    fflush(stdout);
}

int main(int argc, char **argv) {
    enum { MOST = 256 };
    static product products[MOST];
    library l = {0};
    int count = argc - 2;
    if (count < 1 || count > MOST) {
        fprintf(stderr, "usage: blas LIBRARY NAME...\n");
        return 2;
    }
    if (!open_library(argv[1], &l)) return 1;
    for (int i = 0; i < count; i++) {
        if (!read_product(argv[i + 2], &products[i])) return 2;
        run(&l, &products[i]);
    }
    printf("{\"version\": \"%s\"}\n", l.with_int64 ? "64-bit" : "32-bit");
    fflush(stdout);
    char line[256];
    while (fgets(line, sizeof line, stdin)) {
        const char *seconds = strchr(line, ':');
        answer(&l, products, count, seconds ? strtod(seconds + 1, NULL) : 0.1);
    }
    return 0;
}
