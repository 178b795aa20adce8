/* The one way a row of numbers becomes one: lane j of 16 takes elements j, j + 16, ...; then lanes 8 apart,
   4, 2 and 1 apart are joined. The same tree at every width. */
#ifndef NACRE_BACKEND_CPU_KERNELS_SUM_H
#define NACRE_BACKEND_CPU_KERNELS_SUM_H

#include "simd.h"

INLINE lanes lanes_set(float x) {
    lanes a;
    EACH (v, SUM_VECS) a.v[v] = vec_set(x);
    return a;
}
INLINE lanes lanes_load(const float *p) {
    lanes a;
    EACH (v, SUM_VECS) a.v[v] = vec_load(p + v * LANES);
    return a;
}
/* The first n floats (all 16 when n is more), `rest` in the other lanes. */
INLINE lanes lanes_load_or(const float *p, int64_t n, float rest) {
    if (n >= SUM_LANES) return lanes_load(p);
    lanes a = lanes_set(rest);
    EACH (v, SUM_VECS) {
        const int64_t left = n - v * LANES;
        if (left >= LANES)
            a.v[v] = vec_load(p + v * LANES);
        else if (left > 0)
            a.v[v] = vec_load_or(p + v * LANES, (size_t)left, rest);
    }
    return a;
}
INLINE void lanes_store_n(float *p, int64_t n, lanes a) {
    EACH (v, SUM_VECS)
        if (n > v * LANES) vec_store_n(p + v * LANES, (size_t)(n - v * LANES), a.v[v]);
}

/* NaN if either is. */
INLINE vec vec_maximum(vec a, vec b) { return vec_select(vec_is_nan(a), a, vec_max(a, b)); }
INLINE vec vec_minimum(vec a, vec b) { return vec_select(vec_is_nan(a), a, vec_min(a, b)); }

/* Lanes 8 apart, then 4, 2 and 1; all but the first lane of the result are of no use. */
#define LANES_TREE(name, join)                                                                     \
    INLINE float name(lanes a) {                                                                   \
        for (int half = SUM_VECS / 2; half > 0; half /= 2)                                         \
            for (int v = 0; v < half; v++) a.v[v] = join(a.v[v], a.v[v + half]);                   \
        vec x = a.v[0];                                                                            \
        if (LANES > 8) x = join(x, vec_swap(x, 8));                                                \
        if (LANES > 4) x = join(x, vec_swap(x, 4));                                                \
        x = join(x, vec_swap(x, 2));                                                               \
        return vec_first(join(x, vec_swap(x, 1)));                                                 \
    }
LANES_TREE(lanes_sum, vec_add)
LANES_TREE(lanes_max, vec_maximum)
LANES_TREE(lanes_min, vec_minimum)

/* Sums over laned pixels: pixel i goes to partial sum i % 4, to hide the latency of additions. */
enum { PIXEL_SUMS = 4 };
INLINE vec pixel_sums_join(const vec a[PIXEL_SUMS]) {
    return vec_add(vec_add(a[0], a[2]), vec_add(a[1], a[3]));
}

#endif
