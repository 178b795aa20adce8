/* exp and log over every normal f32 against double, tanh, erf and gelu in samples, and special values. */
#include "backend/kit.h"

#include <nacre/ops.h>

/* Blocks of neighbouring numbers; an unoptimised or sanitized build looks at one block of 61 (the kernels are
   the same objects), and so does an emulated one. */
enum { BLOCK = 1 << 12 };
#if defined(NDEBUG) && defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) &&                  \
    !defined(__SANITIZE_THREAD__) && !defined(NACRE_TEST_EMULATED)
enum { EVERY = 1 };
#else
enum { EVERY = 61 };
#endif

typedef struct sweep {
    const nacre_op *op;
    uint32_t first; /* bits of the first number */
    uint64_t count;
    double worst[2]; /* of either task */
} sweep;

static void run_op(const nacre_op *op, float *in, float *out, int64_t n) {
    nacre_array a = {.data = in, .dtype = NACRE_F32, .shape = NACRE_SHAPE(n), .strides = {1}};
    nacre_array y = a;
    y.data = out;
    nacre_plan_op step = {.op = op, .inputs = 1, .outputs = 1, .in = {a}, .out = {y}};
    assert_true(nacre_backend_cpu.prepare(&step));
    step.run(&step, NULL);
}

/* e^x = e^c e^d with d = x - c, c in the middle of the block: |d| < 2^-5, its series to d^8. Error below 1e-15
   relative; the loop has no branches and no calls, so that the compiler can vectorise it. */
static void expect_exp(const float *x, double *want, int n) {
    double c = (double)x[n / 2], middle = exp(c);
    for (int i = 0; i < n; i++) {
        double d = (double)x[i] - c, p = d / 8 + 1;
        p = p * (d / 7) + 1;
        p = p * (d / 6) + 1;
        p = p * (d / 5) + 1;
        p = p * (d / 4) + 1;
        p = p * (d / 3) + 1;
        p = p * (d / 2) + 1;
        want[i] = middle + middle * (p * d);
    }
}

/* log x = log c + log(1 + d) with d = (x - c) / c, |d| < 2^-10, its series to d^5. */
static void expect_log(const float *x, double *want, int n) {
    double c = (double)x[n / 2], middle = log(c), inverse = 1 / c;
    for (int i = 0; i < n; i++) {
        double d = ((double)x[i] - c) * inverse;
        want[i] = middle + d * (1 - d * (1.0 / 2 - d * (1.0 / 3 - d * (1.0 / 4 - d / 5))));
    }
}

/* Errors in units of the last place of f32; 2^-60 is nothing beside any of them but keeps log 1 = 0 apart. */
static double worst_error(const float *y, const double *want, int n) {
    double error[BLOCK], worst[4] = {0};
    for (int i = 0; i < n; i++) {
        int64_t bits;
        memcpy(&bits, &want[i], sizeof bits);
        bits = (bits & (0x7ffLL << 52)) - (23LL << 52);
        double unit;
        memcpy(&unit, &bits, sizeof unit);
        double e = fabs((double)y[i] - want[i]) / (unit + 0x1p-60 * (fabs(want[i]) < 1));
        error[i] = e < 1e9 ? e : 1e9; /* a NaN too */
    }
    for (int i = 0; i < n; i++) worst[i % 4] = error[i] > worst[i % 4] ? error[i] : worst[i % 4];
    return fmax(fmax(worst[0], worst[1]), fmax(worst[2], worst[3]));
}

/* Task t takes every second block; two of them, one per core. */
static void sweep_task(void *context, size_t index) {
    sweep *s = context;
    float x[BLOCK], y[BLOCK];
    double want[BLOCK];
    const uint64_t step = 2 * (uint64_t)BLOCK * EVERY;
    for (uint64_t from = index * BLOCK; from < s->count; from += step) {
        int n = s->count - from < BLOCK ? (int)(s->count - from) : BLOCK;
        for (int i = 0; i < n; i++) {
            uint32_t bits = s->first + (uint32_t)from + (uint32_t)i;
            memcpy(&x[i], &bits, sizeof bits);
        }
        run_op(s->op, x, y, n);
        (s->op == &nacre_op_exp ? expect_exp : expect_log)(x, want, n);
        s->worst[index] = fmax(s->worst[index], worst_error(y, want, n));
    }
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* All normal numbers from `from` up to `to` in absolute value. */
static double worst_over(const nacre_op *op, float from, float to) {
    sweep s = {.op = op, .first = bits_of(from)};
    s.count = (uint64_t)(bits_of(to) - s.first) + 1;
    nacre_parallel(2, sweep_task, &s);
    return fmax(s.worst[0], s.worst[1]);
}

static void the_expected_values_are_right(void **state) {
    (void)state;
    float x[BLOCK];
    double want[BLOCK];
    for (float start = 0x1p-20f; start < 88.0f; start *= 1.37f) {
        for (int negative = 0; negative < 2; negative++) {
            uint32_t bits = bits_of(negative ? -start : start);
            for (uint32_t i = 0; i < BLOCK; i++) memcpy(&x[i], &(uint32_t){bits + i}, sizeof *x);
            expect_exp(x, want, BLOCK);
            for (int i = 0; i < BLOCK; i += 31)
                assert_true(fabs(want[i] / exp((double)x[i]) - 1) < 1e-14);
            if (negative) continue;
            expect_log(x, want, BLOCK);
            for (int i = 0; i < BLOCK; i += 31)
                assert_true(fabs(want[i] - log((double)x[i])) < 1e-14);
        }
    }
}

static void exp_is_within_one_ulp_of_every_normal_number(void **state) {
    (void)state;
    double positive = worst_over(&nacre_op_exp, 0x1p-126f, 0x1.62e42ep6f);
    double negative = worst_over(&nacre_op_exp, -0x1p-126f, -0x1.5d589ep6f);
    print_message("exp: %.3f and %.3f ulp\n", positive, negative);
    assert_true(positive <= 1 && negative <= 1);
}

static void log_is_within_one_ulp_of_every_normal_number(void **state) {
    (void)state;
    double worst = worst_over(&nacre_op_log, 0x1p-126f, 0x1.fffffep127f);
    print_message("log: %.3f ulp\n", worst);
    assert_true(worst <= 1);
}

static void special_values_are_those_of_the_c_library(void **state) {
    (void)state;
    float x[] = {INFINITY,      -INFINITY,       NAN,    0.0f, -0.0f, -1.0f, 0x1.62e43p6f, 1e30f,
                 -0x1.5d58ap6f, 0x1.fffffep127f, -1e30f, 1.0f};
    enum { COUNT = sizeof x / sizeof x[0] };
    static const float exps[] = {INFINITY, 0,        NAN, 1,        1, 0x1.78b564p-2f,
                                 INFINITY, INFINITY, 0,   INFINITY, 0, 0x1.5bf0a8p1f};
    static const float logs[] = {INFINITY,      NAN,           NAN, -INFINITY,    -INFINITY, NAN,
                                 0x1.1f12b8p2f, 0x1.144f6ap6f, NAN, 0x1.62e43p6f, NAN,       0};
    float y[COUNT];
    for (int kind = 0; kind < 2; kind++) {
        const float *want = kind ? logs : exps;
        run_op(kind ? &nacre_op_log : &nacre_op_exp, x, y, COUNT);
        for (int i = 0; i < COUNT; i++) {
            if (isnan(want[i]))
                assert_true(isnan(y[i]));
            else
                assert_true(kit_ulp(y[i], (double)want[i]) <= 1);
        }
    }
}

/* ---- tanh, erf, gelu: against the C library in double ---- */

/* Blocks between those looked at: the library's functions take 20 ns and more. */
enum { APART = EVERY == 1 ? 61 : 1021 };

typedef double expected_function(double x);

static double gelu_of(double x) { return x < -40 ? 0 : 0.5 * x * erfc(-sqrt(0.5) * x); }
static double gelu_slope_of(double x) {
    if (fabs(x) > 40) return x > 0;
    return 0.5 * erfc(-sqrt(0.5) * x) + x * 0.3989422804014327 * exp(-0.5 * x * x);
}
static double part_of(double x) { /* P by tanh */
    double u = 0.79788456080286536 * (x + 0.044715 * x * x * x);
    return 1 / (1 + exp(-2 * u));
}
static double gelu_tanh_of(double x) { return x < -40 ? 0 : x * part_of(x); }
static double gelu_tanh_slope_of(double x) {
    if (fabs(x) > 40) return x > 0;
    double p = part_of(x), slope = 0.79788456080286536 * (1 + 3 * 0.044715 * x * x);
    return p + 2 * x * slope * p * (1 - p);
}

typedef struct smooth {
    const nacre_op *op;
    nacre_gelu_form form;
    int inputs;
    expected_function *expected;
    bool absolute; /* errors in units of the larger of |x| and 1, else in ulp */
} smooth;

static void run_smooth(const smooth *f, float *in, float *ones, float *out, int64_t n) {
    nacre_array a = {.data = in, .dtype = NACRE_F32, .shape = NACRE_SHAPE(n), .strides = {1}};
    nacre_array b = a, y = a;
    b.data = ones;
    y.data = out;
    const nacre_word attrs[] = {{.i = f->form}};
    nacre_plan_op step = {
        .op = f->op, .attrs = attrs, .inputs = f->inputs, .outputs = 1, .in = {a, b}, .out = {y}};
    assert_true(nacre_backend_cpu.prepare(&step));
    step.run(&step, NULL);
}

/* Largest error over normal numbers of both signs. */
static double worst_of(const smooth *f) {
    static float x[BLOCK], ones[BLOCK], y[BLOCK];
    double worst = 0;
    for (int i = 0; i < BLOCK; i++) ones[i] = 1;
    /* Without a fused multiply-add a tenth of the smallest numbers is flushed before it is added. */
    const float least = strcmp(nacre_isa(), "portable") == 0 ? 0x1p-122f : 0x1p-126f;
    const uint32_t most = bits_of(0x1.fffffep127f);
    for (uint32_t bits = bits_of(least); bits < most - BLOCK; bits += BLOCK * APART) {
        for (uint32_t sign = 0; sign < 2; sign++) {
            for (uint32_t i = 0; i < BLOCK; i++)
                memcpy(&x[i], &(uint32_t){(bits + i) | sign << 31}, sizeof *x);
            run_smooth(f, x, ones, y, BLOCK);
            for (int i = 0; i < BLOCK; i++) {
                double want = f->expected((double)x[i]), large = fmax(fabs((double)x[i]), 1);
                if (!f->absolute && fabs(want) < 0x1p-126) continue;
                double error =
                    f->absolute ? fabs((double)y[i] - want) / large : kit_ulp(y[i], want);
                worst = error > worst || isnan(error) ? error : worst;
            }
        }
    }
    return worst;
}

static void tanh_and_erf_are_within_two_ulp(void **state) {
    (void)state;
    const smooth functions[] = {{&nacre_op_tanh, 0, 1, tanh, false},
                                {&nacre_op_erf, 0, 1, erf, false}};
    for (int i = 0; i < 2; i++) {
        double worst = worst_of(&functions[i]);
        print_message("%s: %.3f ulp\n", functions[i].op->name, worst);
        assert_true(worst <= 2);
    }
}

static void gelu_and_its_slope_are_within_their_bound(void **state) {
    (void)state;
    const smooth functions[] = {
        {&nacre_op_gelu, NACRE_GELU_ERF, 1, gelu_of, true},
        {&nacre_op_gelu, NACRE_GELU_TANH, 1, gelu_tanh_of, true},
        {&nacre_op_gelu_backward, NACRE_GELU_ERF, 2, gelu_slope_of, true},
        {&nacre_op_gelu_backward, NACRE_GELU_TANH, 2, gelu_tanh_slope_of, true}};
    for (int i = 0; i < 4; i++) {
        double worst = worst_of(&functions[i]);
        print_message("%s %d: %.3f 2^-22\n", functions[i].op->name, functions[i].form,
                      worst * 0x1p22);
        assert_true(worst <= 0x1p-22);
    }
}

static void smooth_functions_reach_their_limits_and_show_nan(void **state) {
    (void)state;
    float x[] = {INFINITY, -INFINITY, NAN, 0.0f, -0.0f, 1e30f, -1e30f}, y[7];
    float ones[] = {1, 1, 1, 1, 1, 1, 1};
    static const smooth functions[] = {{&nacre_op_tanh, 0, 1, NULL, 0},
                                       {&nacre_op_erf, 0, 1, NULL, 0},
                                       {&nacre_op_gelu, NACRE_GELU_ERF, 1, NULL, 0},
                                       {&nacre_op_gelu, NACRE_GELU_TANH, 1, NULL, 0},
                                       {&nacre_op_gelu_backward, NACRE_GELU_ERF, 2, NULL, 0},
                                       {&nacre_op_gelu_backward, NACRE_GELU_TANH, 2, NULL, 0}};
    for (int i = 0; i < 6; i++) {
        run_smooth(&functions[i], x, ones, y, 7);
        const float above[] = {1, 1, INFINITY, INFINITY, 1, 1}, below[] = {-1, -1, 0, 0, 0, 0};
        const float at_zero = i < 4 ? 0 : 0.5f;
        assert_true(y[0] == above[i] && fabsf(y[1] - below[i]) < 1e-30f && isnan(y[2]));
        assert_true(y[3] == at_zero && y[4] == at_zero && (i > 3 || signbit(y[4])));
        assert_true(y[5] == (i == 2 || i == 3 ? 1e30f : 1.0f));
        assert_true(fabsf(y[6] - below[i]) < 1e-30f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(the_expected_values_are_right),
        KIT_TEST(exp_is_within_one_ulp_of_every_normal_number),
        KIT_TEST(log_is_within_one_ulp_of_every_normal_number),
        KIT_TEST(special_values_are_those_of_the_c_library),
        KIT_TEST(tanh_and_erf_are_within_two_ulp),
        KIT_TEST(gelu_and_its_slope_are_within_their_bound),
        KIT_TEST(smooth_functions_reach_their_limits_and_show_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
