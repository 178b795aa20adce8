/* Optimiser updates: one pass over a parameter, its gradient and its state. */
#include "backend/cpu/kernels.h"
#include "simd.h"

/* m' = b1 m + (1 - b1) g, v' = b2 v + (1 - b2) g^2,
   p' = keep p - rate m' / (root sqrt(v') + epsilon): Kingma and Ba 2015, section 2, with Loshchilov and
   Hutter's decoupled decay; the bias corrections are in rate and root. */
INLINE void adam_vec(const nacre_adam_constants *c, vec *p, vec g, vec *m, vec *v) {
    *m = vec_add(vec_mul(vec_set(c->beta1), *m), vec_mul(vec_set(c->one_minus_beta1), g));
    *v = vec_add(vec_mul(vec_set(c->beta2), *v),
                 vec_mul(vec_set(c->one_minus_beta2), vec_mul(g, g)));
    const vec scale = vec_add(vec_mul(vec_sqrt(*v), vec_set(c->root)), vec_set(c->epsilon));
    const vec step = vec_div(vec_mul(vec_set(c->rate), *m), scale);
    *p = vec_sub(vec_mul(vec_set(c->keep), *p), step);
}

static void adam(size_t n, const nacre_adam_constants *constants, const float *p, const float *g,
                 const float *m, const float *v, float *p_out, float *m_out, float *v_out) {
    const nacre_adam_constants c = *constants;
    for (size_t i = 0; i < n; i += LANES) {
        const size_t left = n - i;
        vec x = vec_load_n(p + i, left), mean = vec_load_n(m + i, left);
        vec square = vec_load_n(v + i, left);
        adam_vec(&c, &x, vec_load_n(g + i, left), &mean, &square);
        vec_store_n(p_out + i, left, x);
        vec_store_n(m_out + i, left, mean);
        vec_store_n(v_out + i, left, square);
    }
}

/* g + weight_decay p */
INLINE vec decayed(vec g, vec p, float weight_decay) {
    return vec_add(g, vec_mul(vec_set(weight_decay), p));
}

static void sgd(size_t n, float rate, float weight_decay, const float *p, const float *g,
                float *p_out) {
    for (size_t i = 0; i < n; i += LANES) {
        const size_t left = n - i;
        const vec x = vec_load_n(p + i, left);
        const vec d = decayed(vec_load_n(g + i, left), x, weight_decay);
        vec_store_n(p_out + i, left, vec_sub(x, vec_mul(vec_set(rate), d)));
    }
}

static void sgd_momentum(size_t n, float rate, float weight_decay, float momentum, const float *p,
                         const float *g, const float *velocity, float *p_out, float *velocity_out) {
    for (size_t i = 0; i < n; i += LANES) {
        const size_t left = n - i;
        const vec x = vec_load_n(p + i, left);
        const vec d = decayed(vec_load_n(g + i, left), x, weight_decay);
        const vec v = vec_add(vec_mul(vec_set(momentum), vec_load_n(velocity + i, left)), d);
        vec_store_n(p_out + i, left, vec_sub(x, vec_mul(vec_set(rate), v)));
        vec_store_n(velocity_out + i, left, v);
    }
}

const nacre_update_kernels NACRE_AT_LEVEL(nacre_update_kernels) = {
    .adam = adam,
    .sgd = sgd,
    .sgd_momentum = sgd_momentum,
};
