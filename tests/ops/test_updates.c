/* The optimisers' updates: PyTorch's numbers over several steps, a step that is not `ok` changes nothing,
   a changed learning rate needs no new plan, and a refused update leaves all as it was. */
#include "ops/check.h"

#include <nacre/grad.h>

enum { N = 5 };

static nacre_tensor *vector(const double *values, nacre_dtype dtype) {
    return tensor_of(values, &(nacre_shape){.ndim = 1, .dims = {N}}, dtype);
}

static void expect_near(nacre_tensor *t, const double *expected, double tolerance) {
    static double got[CHECK_ELEMENTS];
    assert_int_equal(values_of(t, got), N);
    for (int k = 0; k < N; k++)
        if (!close_to(got[k], expected[k], tolerance, fabs(expected[k])))
            fail_msg("element %d is %.17g, not %.17g", k, got[k], expected[k]);
}

static const double start[N] = {1, -2, 0.5, 0, 3};
static const double slope[N] = {0.1, -0.3, 0, 0.25, 1};

static void sgd_follows_its_formula(void **state) {
    (void)state;
    double p[N], v[N] = {0};
    memcpy(p, start, sizeof p);
    nacre_tensor *tp = vector(start, NACRE_F64), *tg = vector(slope, NACRE_F64);
    nacre_tensor *tv = nacre_zeros(NACRE_SHAPE(N), .dtype = NACRE_F64);
    uint64_t made = 0;
    for (int step = 0; step < 5; step++) {
        double lr = 0.1 / (step + 1);
        nacre_sgd_update_options o = {
            .size = sizeof o, .lr = lr, .momentum = 0.9, .weight_decay = 0.01};
        assert_int_equal(nacre_sgd_update(tp, tg, tv, &o), NACRE_OK);
        for (int k = 0; k < N; k++) {
            v[k] = 0.9 * v[k] + slope[k] + 0.01 * p[k];
            p[k] -= lr * v[k];
        }
        expect_near(tp, p, 1e-14);
        expect_near(tv, v, 1e-14);
        if (step == 1) made = nacre_plan_statistics().made;
    }
    assert_int_equal(nacre_plan_statistics().made, made);
}

static void sgd_without_momentum_needs_no_state(void **state) {
    (void)state;
    nacre_tensor *tp = vector(start, NACRE_F64), *tg = vector(slope, NACRE_F64);
    nacre_sgd_update_options o = {.size = sizeof o, .lr = 0.5};
    assert_int_equal(nacre_sgd_update(tp, tg, NULL, &o), NACRE_OK);
    double p[N];
    for (int k = 0; k < N; k++) p[k] = start[k] - 0.5 * slope[k];
    expect_near(tp, p, 1e-15);
}

static void adam_follows_its_formula(void **state) {
    (void)state;
    double p[N], m[N] = {0}, v[N] = {0};
    memcpy(p, start, sizeof p);
    nacre_tensor *tp = vector(start, NACRE_F64), *tg = vector(slope, NACRE_F64);
    nacre_tensor *tm = nacre_zeros(NACRE_SHAPE(N), .dtype = NACRE_F64);
    nacre_tensor *tv = nacre_zeros(NACRE_SHAPE(N), .dtype = NACRE_F64);
    nacre_tensor *step = nacre_from_data(&(int64_t){0}, NACRE_SCALAR, .dtype = NACRE_I64);
    for (int t = 1; t <= 5; t++) {
        double lr = 0.01 * t, keep = 1 - lr * 0.1;
        nacre_adam_update_options o = {.size = sizeof o,
                                       .lr = lr,
                                       .beta1 = 0.9,
                                       .beta2 = 0.999,
                                       .epsilon = 1e-8,
                                       .weight_decay = 0.1};
        nacre_assign(step, nacre_add_scalar(step, 1));
        assert_int_equal(nacre_adam_update(tp, tg, tm, tv, step, &o), NACRE_OK);
        for (int k = 0; k < N; k++) {
            m[k] = 0.9 * m[k] + 0.1 * slope[k];
            v[k] = 0.999 * v[k] + 0.001 * slope[k] * slope[k];
            double m_hat = m[k] / (1 - pow(0.9, t)), v_hat = v[k] / (1 - pow(0.999, t));
            p[k] = keep * p[k] - lr * m_hat / (sqrt(v_hat) + 1e-8);
        }
        expect_near(tp, p, 1e-12);
        expect_near(tm, m, 1e-14);
        expect_near(tv, v, 1e-14);
    }
}

/* The first step moves by lr whatever the gradient's size: only so if 1 - beta2^1 keeps its digits. */
static void first_adam_step_is_exact_in_f32(void **state) {
    (void)state;
    static double got[CHECK_ELEMENTS];
    const double zero[N] = {0}, gradient[N] = {1e-3, -2, 30, 4e3, -0.5};
    nacre_tensor *p = vector(zero, NACRE_F32), *g = vector(gradient, NACRE_F32);
    nacre_tensor *m = nacre_zeros(NACRE_SHAPE(N)), *v = nacre_zeros(NACRE_SHAPE(N));
    nacre_tensor *step = nacre_from_data(&(int64_t){1}, NACRE_SCALAR, .dtype = NACRE_I64);
    nacre_adam_update_options o = {
        .size = sizeof o, .lr = 0.25, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-12};
    assert_int_equal(nacre_adam_update(p, g, m, v, step, &o), NACRE_OK);
    values_of(p, got);
    for (int k = 0; k < N; k++)
        assert_true(close_to(got[k], gradient[k] > 0 ? -0.25 : 0.25, 1e-6, 1));
}

static void a_step_that_is_not_ok_changes_nothing(void **state) {
    (void)state;
    const double bad[N] = {NAN, INFINITY, 1, 1, 1};
    nacre_tensor *p = vector(start, NACRE_F32), *g = vector(bad, NACRE_F32);
    nacre_tensor *m = vector(slope, NACRE_F32), *v = nacre_ones(NACRE_SHAPE(N));
    nacre_tensor *step = nacre_from_data(&(int64_t){1}, NACRE_SCALAR, .dtype = NACRE_I64);
    /* x - x is 0 for finite numbers and NaN for others */
    nacre_tensor *rest = nacre_sum(nacre_sub(g, g));
    nacre_tensor *ok = nacre_equal(rest, rest);
    nacre_adam_update_options adam_options = {.size = sizeof adam_options,
                                              .lr = 0.1,
                                              .beta1 = 0.9,
                                              .beta2 = 0.999,
                                              .epsilon = 1e-8,
                                              .ok = ok};
    nacre_sgd_update_options sgd_options = {
        .size = sizeof sgd_options, .lr = 0.1, .momentum = 0.9, .ok = ok};
    assert_int_equal(nacre_adam_update(p, g, m, v, step, &adam_options), NACRE_OK);
    assert_int_equal(nacre_sgd_update(p, g, m, &sgd_options), NACRE_OK);
    sgd_options.momentum = 0;
    assert_int_equal(nacre_sgd_update(p, g, NULL, &sgd_options), NACRE_OK);
    expect_near(p, start, 1e-7);
    expect_near(m, slope, 1e-7);
    expect_values(v, 1, 1, 1, 1, 1);
}

static void updates_keep_no_history(void **state) {
    (void)state;
    nacre_tensor *p = vector(start, NACRE_F64);
    nacre_requires_grad(p, true);
    assert_int_equal(nacre_backward(nacre_sum(nacre_mul(p, p))), NACRE_OK);
    nacre_sgd_update_options o = {.size = sizeof o, .lr = 0.5};
    assert_int_equal(nacre_sgd_update(p, nacre_grad(p), NULL, &o), NACRE_OK);
    expect_values(p, 0, 0, 0, 0, 0);
    nacre_zero_grad(p);
    assert_int_equal(nacre_backward(nacre_sum(nacre_add_scalar(p, 1))), NACRE_OK);
    expect_values(nacre_grad(p), 1, 1, 1, 1, 1);
}

static void expect_refused(nacre_status status, nacre_status code, const char *message) {
    assert_int_equal(status, code);
    assert_string_equal(nacre_error_message(), message);
    nacre_error_clear();
}

static void refused_updates_change_nothing(void **state) {
    (void)state;
    nacre_tensor *p = vector(start, NACRE_F32), *g = vector(slope, NACRE_F32);
    nacre_tensor *small = nacre_zeros(NACRE_SHAPE(2)), *m = nacre_zeros(NACRE_SHAPE(N));
    nacre_tensor *v = nacre_zeros(NACRE_SHAPE(N));
    nacre_sgd_update_options o = {.size = sizeof o, .lr = 0.1, .momentum = 0.9};
    expect_refused(nacre_sgd_update(p, g, NULL, &o), NACRE_INVALID_ARGUMENT,
                   "sgd_update: momentum is 0.9, velocity is NULL: give a velocity of p's shape");
    expect_refused(nacre_sgd_update(p, small, m, &o), NACRE_SHAPE_MISMATCH,
                   "sgd_update: p is [5], gradient is [2]: shapes must be equal");
    expect_refused(nacre_sgd_update(p, g, m, NULL), NACRE_INVALID_ARGUMENT,
                   "sgd_update: options are NULL");
    expect_refused(nacre_sgd_update(p, NULL, m, &o), NACRE_INVALID_ARGUMENT,
                   "sgd_update: input 1 is NULL");
    o.ok = small;
    expect_refused(nacre_sgd_update(p, g, m, &o), NACRE_INVALID_ARGUMENT,
                   "sgd_update: ok is f32 [2]: it must be a bool scalar");
    nacre_adam_update_options a = {.size = sizeof a, .lr = 0.1, .beta1 = 0.9, .beta2 = 0.999};
    nacre_tensor *step = nacre_ones(NACRE_SHAPE(1), .dtype = NACRE_I64);
    expect_refused(
        nacre_adam_update(p, g, m, v, step, &a), NACRE_INVALID_ARGUMENT,
        "adam_update: step is i64 [1]: it must be an i64 scalar, 1 for the first update");
    expect_refused(nacre_adam_update(p, g, m, small, step, &a), NACRE_SHAPE_MISMATCH,
                   "adam_update: p is [5], v is [2]: shapes must be equal");
    expect_near(p, start, 1e-7);
    expect_values(m, 0, 0, 0, 0, 0);
}

static void one_tensor_in_two_places_changes_nothing(void **state) {
    (void)state;
    nacre_tensor *p = vector(start, NACRE_F64), *g = vector(slope, NACRE_F64);
    nacre_tensor *m = nacre_zeros(NACRE_SHAPE(N), .dtype = NACRE_F64);
    nacre_tensor *step = nacre_from_data(&(int64_t){1}, NACRE_SCALAR, .dtype = NACRE_I64);
    nacre_sgd_update_options s = {.size = sizeof s, .lr = 0.1, .momentum = 0.9};
    nacre_adam_update_options a = {.size = sizeof a, .lr = 0.1, .beta1 = 0.9, .beta2 = 0.999};
    expect_refused(nacre_sgd_update(p, g, p, &s), NACRE_INVALID_ARGUMENT,
                   "sgd_update: p and velocity are the same tensor: give each its own, the update "
                   "writes both");
    nacre_tensor *const wrong[][3] = {{p, p, m}, {p, m, p}, {p, m, m}};
    const char *const names[] = {"p and m", "p and v", "m and v"};
    for (int i = 0; i < 3; i++) {
        char message[160];
        snprintf(message, sizeof message,
                 "adam_update: %s are the same tensor: give each its own, the update writes both",
                 names[i]);
        expect_refused(nacre_adam_update(wrong[i][0], g, wrong[i][1], wrong[i][2], step, &a),
                       NACRE_INVALID_ARGUMENT, message);
    }
    expect_near(p, start, 0);
    expect_values(m, 0, 0, 0, 0, 0);
    /* What is only read may be anything: p' = p - lr p. */
    s.momentum = 0;
    assert_int_equal(nacre_sgd_update(p, p, NULL, &s), NACRE_OK);
    double shrunk[N];
    for (int k = 0; k < N; k++) shrunk[k] = 0.9 * start[k];
    expect_near(p, shrunk, 1e-15);
}

static void settings_without_a_meaning_change_nothing(void **state) {
    (void)state;
    static const double no_share[] = {1, -1, 1.5, NAN, INFINITY, -INFINITY};
    static const double no_size[] = {-1, -1e-300, -0.5, NAN, INFINITY, -INFINITY};
    nacre_tensor *p = vector(start, NACRE_F64), *g = vector(slope, NACRE_F64);
    nacre_tensor *m = nacre_zeros(NACRE_SHAPE(N), .dtype = NACRE_F64);
    nacre_tensor *v = nacre_zeros(NACRE_SHAPE(N), .dtype = NACRE_F64);
    nacre_tensor *step = nacre_from_data(&(int64_t){1}, NACRE_SCALAR, .dtype = NACRE_I64);
    static const char *const names[] = {"lr",    "weight_decay", "momentum", "lr",
                                        "beta1", "beta2",        "epsilon",  "weight_decay"};
    for (int i = 0; i < 8; i++) {
        for (int k = 0; k < 6; k++) {
            nacre_sgd_update_options s = {.size = sizeof s, .lr = 0.1, .momentum = 0.9};
            nacre_adam_update_options a = {.size = sizeof a, .lr = 0.1, .epsilon = 1e-8};
            double *const field[] = {&s.lr,    &s.weight_decay, &s.momentum, &a.lr,
                                     &a.beta1, &a.beta2,        &a.epsilon,  &a.weight_decay};
            bool share = i == 2 || i == 4 || i == 5;
            *field[i] = share ? no_share[k] : no_size[k];
            char message[160];
            snprintf(message, sizeof message, "%s_update: %s is %g: it must be %s",
                     i < 3 ? "sgd" : "adam", names[i], *field[i],
                     share ? "in [0, 1)" : "finite and at least 0");
            nacre_status status =
                i < 3 ? nacre_sgd_update(p, g, m, &s) : nacre_adam_update(p, g, m, v, step, &a);
            expect_refused(status, NACRE_INVALID_ARGUMENT, message);
        }
    }
    expect_near(p, start, 0);
    expect_values(m, 0, 0, 0, 0, 0);
    expect_values(v, 0, 0, 0, 0, 0);
    /* The ends that mean something: no step at all, and averages of the last gradient alone. */
    nacre_adam_update_options least = {.size = sizeof least};
    assert_int_equal(nacre_adam_update(p, g, m, v, step, &least), NACRE_OK);
    expect_near(m, slope, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        on_both(sgd_follows_its_formula),
        on_both(sgd_without_momentum_needs_no_state),
        on_both(adam_follows_its_formula),
        on_both(first_adam_step_is_exact_in_f32),
        on_both(a_step_that_is_not_ok_changes_nothing),
        on_both(updates_keep_no_history),
        on_both(refused_updates_change_nothing),
        on_both(one_tensor_in_two_places_changes_nothing),
        on_both(settings_without_a_meaning_change_nothing),
    };
    return run_on_both("ops: updates", tests);
}
