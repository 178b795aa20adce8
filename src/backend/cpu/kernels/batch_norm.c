/* Batch normalisation over one laned plane. */
#include "backend/cpu/kernels.h"
#include "sum.h"

/* acc[lane] += sum over the pixels of (x - mean)^2 */
static void deviation(int64_t pixels, const float *x, float mean, float *acc) {
    const vec m = vec_set(mean);
    for (int at = 0; at < NACRE_LANES; at += LANES) {
        vec sum[PIXEL_SUMS];
        EACH (k, PIXEL_SUMS) sum[k] = vec_zero();
        const float *from = x + at;
        int64_t i = 0;
        for (; i + PIXEL_SUMS <= pixels; i += PIXEL_SUMS, from += PIXEL_SUMS * NACRE_LANES)
            EACH (k, PIXEL_SUMS) {
                const vec d = vec_sub(vec_load(from + k * NACRE_LANES), m);
                sum[k] = vec_fma(d, d, sum[k]);
            }
        for (; i < pixels; i++, from += NACRE_LANES) {
            const vec d = vec_sub(vec_load(from), m);
            sum[0] = vec_fma(d, d, sum[0]);
        }
        vec_store(acc + at, vec_add(vec_load(acc + at), pixel_sums_join(sum)));
    }
}

INLINE void apply_with(const bool add, const bool relu, int64_t pixels, const float *x, float mean,
                       float scale, float shift, const float *other, float *y) {
    const vec m = vec_set(mean), a = vec_set(scale), b = vec_set(shift);
    for (int64_t i = 0; i < pixels * NACRE_LANES; i += LANES) {
        vec result = vec_fma(vec_sub(vec_load(x + i), m), a, b);
        if (add) result = vec_add(result, vec_load(other + i));
        if (relu) result = vec_max(vec_zero(), result);
        vec_store(y + i, result);
    }
}

/* y = (x - mean) scale + shift, plus other, 0 if below */
static void apply(int64_t pixels, const float *x, float mean, float scale, float shift,
                  const float *other, bool relu, float *y) {
    if (other && relu)
        apply_with(true, true, pixels, x, mean, scale, shift, other, y);
    else if (other)
        apply_with(true, false, pixels, x, mean, scale, shift, other, y);
    else if (relu)
        apply_with(false, true, pixels, x, mean, scale, shift, other, y);
    else
        apply_with(false, false, pixels, x, mean, scale, shift, other, y);
}

/* dy_acc += sum of dy, product_acc += sum of dy (x - mean), lane by lane */
static void products(int64_t pixels, const float *x, const float *dy, float mean, float *dy_acc,
                     float *product_acc) {
    const vec m = vec_set(mean);
    for (int at = 0; at < NACRE_LANES; at += LANES) {
        vec sum[PIXEL_SUMS], product[PIXEL_SUMS];
        EACH (k, PIXEL_SUMS) sum[k] = product[k] = vec_zero();
        const float *from = x + at, *d = dy + at;
        for (int64_t i = 0; i < pixels;) {
            const int64_t n = pixels - i < PIXEL_SUMS ? 1 : PIXEL_SUMS;
            if (n == PIXEL_SUMS) {
                EACH (k, PIXEL_SUMS) {
                    const vec g = vec_load(d + k * NACRE_LANES);
                    sum[k] = vec_add(sum[k], g);
                    product[k] =
                        vec_fma(g, vec_sub(vec_load(from + k * NACRE_LANES), m), product[k]);
                }
            } else {
                const vec g = vec_load(d);
                sum[0] = vec_add(sum[0], g);
                product[0] = vec_fma(g, vec_sub(vec_load(from), m), product[0]);
            }
            i += n;
            from += n * NACRE_LANES;
            d += n * NACRE_LANES;
        }
        vec_store(dy_acc + at, vec_add(vec_load(dy_acc + at), pixel_sums_join(sum)));
        vec_store(product_acc + at, vec_add(vec_load(product_acc + at), pixel_sums_join(product)));
    }
}

/* dx = a dy + b (x - mean) + c */
static void apply_backward(int64_t pixels, const float *x, const float *dy, float mean, float a,
                           float b, float c, float *dx) {
    const vec m = vec_set(mean), va = vec_set(a), vb = vec_set(b), vc = vec_set(c);
    for (int64_t i = 0; i < pixels * NACRE_LANES; i += LANES) {
        const vec part = vec_fma(vec_sub(vec_load(x + i), m), vb, vc);
        vec_store(dx + i, vec_fma(vec_load(dy + i), va, part));
    }
}

const nacre_batch_norm_kernels NACRE_AT_LEVEL(nacre_batch_norm_kernels) = {
    .deviation = deviation,
    .apply = apply,
    .products = products,
    .apply_backward = apply_backward,
};
