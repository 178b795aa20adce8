/* Element-wise functions over one tile, and what single element-wise ops are made of. */
#include "backend/cpu/kernels.h"
#include "math.h"
#include "sum.h"

/* Runs `body` (vectors a, b -> y) over n elements; the tail is the same body on padded data. */
#define UNARY(name, expression)                                                                    \
    static void name(size_t n, void *out, const void *from_a, const void *from_b,                  \
                     const void *from_c) {                                                         \
        (void)from_b, (void)from_c;                                                                \
        const float *pa = from_a;                                                                  \
        float *to = out;                                                                           \
        size_t i = 0;                                                                              \
        for (; i + LANES <= n; i += LANES) {                                                       \
            const vec a = vec_load(pa + i);                                                        \
            vec_store(to + i, expression);                                                         \
        }                                                                                          \
        if (i == n) return;                                                                        \
        const vec a = vec_load_part(pa + i, n - i);                                                \
        vec_store_part(to + i, n - i, expression);                                                 \
    }
#define BINARY(name, expression)                                                                   \
    static void name(size_t n, void *out, const void *from_a, const void *from_b,                  \
                     const void *from_c) {                                                         \
        (void)from_c;                                                                              \
        const float *pa = from_a, *pb = from_b;                                                    \
        float *to = out;                                                                           \
        size_t i = 0;                                                                              \
        for (; i + LANES <= n; i += LANES) {                                                       \
            const vec a = vec_load(pa + i), b = vec_load(pb + i);                                  \
            vec_store(to + i, expression);                                                         \
        }                                                                                          \
        if (i == n) return;                                                                        \
        const vec a = vec_load_part(pa + i, n - i), b = vec_load_part(pb + i, n - i);              \
        vec_store_part(to + i, n - i, expression);                                                 \
    }

/* a^b: squares and roots as one rounding each, as pow has them; the rest through the C library. */
INLINE vec vec_pow(vec a, vec b) {
    if (mask_all(vec_equal(b, vec_set(2.0f)))) return vec_mul(a, a);
    if (mask_all(vec_equal(b, vec_set(0.5f)))) {
        /* pow(-0, 1/2) is +0, pow(-inf, 1/2) is inf */
        const vec root = vec_add(vec_sqrt(a), vec_zero());
        return vec_select(vec_equal(a, vec_set(-INFINITY)), vec_set(INFINITY), root);
    }
    float x[LANES], y[LANES];
    vec_store(x, a);
    vec_store(y, b);
    for (int i = 0; i < LANES; i++) x[i] = (float)pow((double)x[i], (double)y[i]);
    return vec_load(x);
}

UNARY(copy, a)
UNARY(neg, vec_neg(a))
UNARY(exponential, vec_exp(a))
UNARY(logarithm, vec_log(a))
UNARY(square_root, vec_sqrt(a))
UNARY(tangent, vec_tanh(a))
UNARY(error_function, vec_erf(a))
UNARY(gelu, vec_gelu(a))
UNARY(gelu_tanh, vec_gelu_tanh(a))
UNARY(relu, vec_max(vec_zero(), a))
BINARY(add, vec_add(a, b))
BINARY(sub, vec_sub(a, b))
BINARY(mul, vec_mul(a, b))
BINARY(divide, vec_div(a, b))
BINARY(power, vec_pow(a, b))
BINARY(larger, vec_maximum(a, b))
BINARY(smaller, vec_minimum(a, b))
BINARY(relu_backward, vec_select(vec_less(vec_zero(), a), b, vec_zero()))
BINARY(gelu_backward, vec_mul(b, vec_gelu_slope(a)))
BINARY(gelu_tanh_backward, vec_mul(b, vec_gelu_tanh_slope(a)))

#define COMPARISON(name, operator)                                                                 \
    static void name(size_t n, void *out, const void *from_a, const void *from_b,                  \
                     const void *from_c) {                                                         \
        (void)from_c;                                                                              \
        const float *a = from_a, *b = from_b;                                                      \
        uint8_t *to = out;                                                                         \
        for (size_t i = 0; i < n; i++) to[i] = a[i] operator b[i];                                 \
    }
COMPARISON(equal, ==)
COMPARISON(not_equal, !=)
COMPARISON(less, <)
COMPARISON(less_equal, <=)
COMPARISON(greater, >)
COMPARISON(greater_equal, >=)

static void where(size_t n, void *out, const void *from_a, const void *from_b, const void *from_c) {
    const uint8_t *condition = from_a;
    const float *yes = from_b, *no = from_c;
    float *to = out;
    for (size_t i = 0; i < n; i++) to[i] = condition[i] ? yes[i] : no[i];
}

static void cast_u8(size_t n, void *out, const void *from_a, const void *from_b,
                    const void *from_c) {
    (void)from_b, (void)from_c;
    const uint8_t *a = from_a;
    float *to = out;
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        EACH (v, 16 / LANES) vec_store(to + i + v * LANES, vec_from_u8(a + i + v * LANES));
    for (; i < n; i++) to[i] = (float)a[i];
}

static void fill(size_t n, float *out, float value) {
    const vec x = vec_set(value);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) vec_store(out + i, x);
    if (i < n) vec_store_part(out + i, n - i, x);
}

/* x / 255 as the division rounds it, for every byte x: the first product is exact, and the second one so small that its
   rounding never reaches the sum's. Divisions take several times as long. */
INLINE vec vec_unit(vec x) {
    return vec_add(vec_mul(x, vec_set(0x1.01p-8f)), vec_mul(x, vec_set(0x1.010102p-24f)));
}

/* 16 bytes at once, which every level has whole vectors of. */
INLINE void pixels_16(const uint8_t *x, float mean, float std, float *out) {
    EACH (v, 16 / LANES) {
        vec y = vec_unit(vec_from_u8(x + v * LANES));
        if (std != 0) y = vec_div(vec_sub(y, vec_set(mean)), vec_set(std));
        vec_store(out + v * LANES, y);
    }
}

static void pixels(size_t n, const uint8_t *x, float mean, float std, float *out) {
    size_t i = 0;
    if (std == 0) {
        for (; i + 16 <= n; i += 16) pixels_16(x + i, 0, 0, out + i);
    } else {
        for (; i + 16 <= n; i += 16) pixels_16(x + i, mean, std, out + i);
    }
    if (i == n) return;
    uint8_t bytes[16] = {0};
    float rest[16];
    memcpy(bytes, x + i, n - i);
    pixels_16(bytes, mean, std, rest);
    memcpy(out + i, rest, (n - i) * sizeof *out);
}

/* Rows of a tile are a vector or two: a call of memcpy for each takes longer than the copy. */
static void copy_rows(int64_t rows, int64_t width, const float *from, int64_t from_row, float *to,
                      int64_t to_row) {
    for (int64_t r = 0; r < rows; r++, from += from_row, to += to_row) {
        int64_t i = 0;
        for (; i + LANES <= width; i += LANES) vec_store(to + i, vec_load(from + i));
        if (i < width) {
            const size_t left = (size_t)(width - i);
            vec_store_part(to + i, left, vec_load_part(from + i, left));
        }
    }
}

const nacre_elementwise_kernels NACRE_AT_LEVEL(nacre_elementwise_kernels) = {
    .tile =
        {
            [NACRE_TILE_COPY] = copy,
            [NACRE_TILE_ADD] = add,
            [NACRE_TILE_SUB] = sub,
            [NACRE_TILE_MUL] = mul,
            [NACRE_TILE_DIV] = divide,
            [NACRE_TILE_POW] = power,
            [NACRE_TILE_MAXIMUM] = larger,
            [NACRE_TILE_MINIMUM] = smaller,
            [NACRE_TILE_NEG] = neg,
            [NACRE_TILE_EXP] = exponential,
            [NACRE_TILE_LOG] = logarithm,
            [NACRE_TILE_SQRT] = square_root,
            [NACRE_TILE_RELU] = relu,
            [NACRE_TILE_RELU_BACKWARD] = relu_backward,
            [NACRE_TILE_TANH] = tangent,
            [NACRE_TILE_ERF] = error_function,
            [NACRE_TILE_GELU] = gelu,
            [NACRE_TILE_GELU_TANH] = gelu_tanh,
            [NACRE_TILE_GELU_BACKWARD] = gelu_backward,
            [NACRE_TILE_GELU_TANH_BACKWARD] = gelu_tanh_backward,
            [NACRE_TILE_EQUAL] = equal,
            [NACRE_TILE_NOT_EQUAL] = not_equal,
            [NACRE_TILE_LESS] = less,
            [NACRE_TILE_LESS_EQUAL] = less_equal,
            [NACRE_TILE_GREATER] = greater,
            [NACRE_TILE_GREATER_EQUAL] = greater_equal,
            [NACRE_TILE_WHERE] = where,
            [NACRE_TILE_CAST_U8] = cast_u8,
        },
    .fill = fill,
    .pixels = pixels,
    .copy_rows = copy_rows,
};
