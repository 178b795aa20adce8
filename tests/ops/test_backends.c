/* Every op gives the reference's results on the CPU backend: for each dtype, layout and awkward extent,
   and with NaN and infinities among the values. */
#include "ops/check.h"

static const double specials[] = {NAN, INFINITY, -INFINITY, 0.0, -0.0, 1.0, -1.0};

typedef struct variant {
    nacre_dtype dtype;
    check_layout layout;
    bool special;
} variant;

static void fill(const nacre_op_case *c, const variant *v, int i, double *values) {
    nacre_dtype dtype = input_dtype(c, i, v->dtype);
    int64_t count = nacre_shape_numel(&c->shape[i]);
    for (int64_t k = 0; k < count; k++) {
        values[k] = input_value(c, i, dtype, k);
        bool replace = v->special && nacre_dtype_is_float(dtype) && (k * 5 + i) % 3 == 0;
        if (replace) values[k] = specials[(k / 3 + i) % 7];
    }
}

static int64_t run(const nacre_op_case *c, const variant *v, nacre_backend backend, double *out,
                   nacre_shape *shape, nacre_dtype *dtype) {
    static double values[CHECK_ELEMENTS];
    nacre_set_backend(backend);
    nacre_scope mark = nacre_scope_begin();
    nacre_tensor *in[CASE_INPUTS] = {NULL};
    for (int i = 0; i < c->inputs; i++) {
        fill(c, v, i, values);
        in[i] = laid_out(values, &c->shape[i], input_dtype(c, i, v->dtype), v->layout);
    }
    nacre_tensor *y = c->apply(in);
    if (nacre_is_error(y)) fail_msg("%s %s: %s", c->op, c->label, nacre_tensor_message(y));
    *shape = nacre_shape_of(y);
    *dtype = nacre_dtype_of(y);
    int64_t count = values_of(y, out);
    close_scope(mark);
    nacre_set_backend(NACRE_BACKEND_DEFAULT);
    return count;
}

static void compare(const nacre_op_case *c, const variant *v) {
    snprintf(check_subject, sizeof check_subject, "%s %s, %s, %s%s", c->op, c->label,
             nacre_dtype_name(v->dtype), layout_name(v->layout),
             v->special ? ", special values" : "");
    static double cpu[CHECK_ELEMENTS], reference[CHECK_ELEMENTS];
    nacre_shape shape[2];
    nacre_dtype dtype[2];
    int64_t count = run(c, v, NACRE_BACKEND_CPU, cpu, &shape[0], &dtype[0]);
    run(c, v, NACRE_BACKEND_REFERENCE, reference, &shape[1], &dtype[1]);
    assert_true(nacre_shape_equal(&shape[0], &shape[1]) && dtype[0] == dtype[1]);
    double tolerance = dtype[0] == NACRE_F32 ? 3e-6 : dtype[0] == NACRE_F64 ? 1e-13 : 0;
    /* Errors of a sum are relative to its terms, not to what is left of them. */
    double scale = 0;
    for (int64_t k = 0; k < count; k++)
        if (isfinite(reference[k]) && fabs(reference[k]) > scale) scale = fabs(reference[k]);
    for (int64_t k = 0; k < count; k++)
        if (!close_to(cpu[k], reference[k], tolerance, scale))
            fail_msg("%s: element %lld is %.17g on cpu, %.17g in the reference", check_subject,
                     (long long)k, cpu[k], reference[k]);
}

static void every_op_agrees_with_the_reference(void **state) {
    (void)state;
    for (int i = 0; i < CASE_COUNT; i++)
        for (nacre_dtype dtype = 1; dtype < NACRE_DTYPE_COUNT; dtype++)
            for (int layout = 0; (cases[i].dtypes >> dtype & 1) && layout < LAYOUT_COUNT; layout++)
                compare(&cases[i], &(variant){dtype, (check_layout)layout, false});
}

/* Masked numbers have no influence: whether a NaN among them shows, which 0 times NaN does, is not promised. */
static bool is_masked(const nacre_op_case *c) { return strstr(c->label, "causal") != NULL; }

static void nan_and_infinity_pass_as_in_the_reference(void **state) {
    (void)state;
    for (int i = 0; i < CASE_COUNT; i++)
        for (nacre_dtype dtype = 1; dtype < NACRE_DTYPE_COUNT; dtype++)
            if (cases[i].dtypes >> dtype & 1 && nacre_dtype_is_float(dtype) &&
                !is_masked(&cases[i]))
                compare(&cases[i], &(variant){dtype, LAYOUT_CONTIGUOUS, true});
}

static bool listed(const char *name) {
    for (size_t i = 0; i < sizeof ops_without_cases / sizeof ops_without_cases[0]; i++)
        if (strcmp(name, ops_without_cases[i]) == 0) return true;
    return false;
}

static void no_op_is_without_cases_or_meaning(void **state) {
    (void)state;
    assert_true(nacre_op_count > 50);
    for (size_t i = 0; i < nacre_op_count; i++) {
        const nacre_op *op = nacre_op_table[i];
        bool has_cases = listed(op->name);
        bool derivatives = false;
        for (int k = 0; k < CASE_COUNT; k++) {
            if (strcmp(cases[k].op, op->name) != 0) continue;
            has_cases = true;
            derivatives |= cases[k].derivatives > 0;
        }
        if (!has_cases) fail_msg("%s has no cases in tests/ops/cases.h", op->name);
        bool meaning = op->reference || op->decompose || op->element || op == &nacre_op_leaf;
        if (!meaning || !op->shape) fail_msg("%s has no reference and no decomposition", op->name);
        bool differentiable = op->gradient || op->decompose;
        if (!(op->flags & NACRE_OP_NO_GRADIENT) && (!differentiable || !derivatives))
            fail_msg("%s has no tested gradient and is not NACRE_OP_NO_GRADIENT", op->name);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_op_is_without_cases_or_meaning),
        cmocka_unit_test(every_op_agrees_with_the_reference),
        cmocka_unit_test(nan_and_infinity_pass_as_in_the_reference),
    };
    return cmocka_run_group_tests_name("ops: backends", tests, NULL, NULL);
}
