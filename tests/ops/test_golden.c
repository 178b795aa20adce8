/* The ops give NumPy's numbers, in f32 and f64, on both backends. */
#include "ops/check.h"

typedef struct golden_array {
    nacre_shape shape;
    const double *values;
} golden_array;

typedef struct golden_entry {
    const char *op, *label;
    golden_array in[CASE_INPUTS];
    golden_array out;
} golden_entry;

#include "ops/golden.h"

enum { GOLDEN_COUNT = sizeof golden / sizeof golden[0] };

static const nacre_op_case *find_case(const golden_entry *entry) {
    for (int i = 0; i < CASE_COUNT; i++)
        if (strcmp(cases[i].op, entry->op) == 0 && strcmp(cases[i].label, entry->label) == 0)
            return &cases[i];
    fail_msg("%s \"%s\" in golden.h is no case of cases.h", entry->op, entry->label);
    return NULL;
}

static void check_entry(const golden_entry *entry, nacre_dtype dtype, nacre_backend backend) {
    static double got[CHECK_ELEMENTS];
    const nacre_op_case *c = find_case(entry);
    snprintf(check_subject, sizeof check_subject, "%s %s, %s, backend %d", c->op, c->label,
             nacre_dtype_name(dtype), (int)backend);
    nacre_set_backend(backend);
    nacre_scope mark = nacre_scope_begin();
    nacre_tensor *in[CASE_INPUTS] = {NULL};
    for (int i = 0; i < c->inputs; i++) {
        assert_non_null(entry->in[i].values);
        in[i] = tensor_of(entry->in[i].values, &entry->in[i].shape, input_dtype(c, i, dtype));
    }
    nacre_tensor *y = c->apply(in);
    if (nacre_is_error(y)) fail_msg("%s: %s", check_subject, nacre_tensor_message(y));
    nacre_shape shape = nacre_shape_of(y);
    if (!nacre_shape_equal(&shape, &entry->out.shape)) fail_msg("%s: shape", check_subject);
    int64_t count = values_of(y, got);
    double tolerance = nacre_dtype_of(y) == NACRE_F32 ? 1e-5 : 1e-13;
    for (int64_t k = 0; k < count; k++) {
        double expected = entry->out.values[k];
        if (!close_to(got[k], expected, tolerance, fabs(expected)))
            fail_msg("%s: element %lld is %.17g, NumPy says %.17g", check_subject, (long long)k,
                     got[k], expected);
    }
    close_scope(mark);
    nacre_set_backend(NACRE_BACKEND_DEFAULT);
}

static void results_are_those_of_numpy(void **state) {
    (void)state;
    for (int i = 0; i < GOLDEN_COUNT; i++) {
        for (nacre_dtype dtype = NACRE_F32; dtype <= NACRE_F64; dtype++) {
            check_entry(&golden[i], dtype, NACRE_BACKEND_REFERENCE);
            check_entry(&golden[i], dtype, NACRE_BACKEND_CPU);
        }
    }
}

static void every_op_has_a_golden_value(void **state) {
    (void)state;
    for (int i = 0; i < CASE_COUNT; i++) {
        bool found = false;
        for (int k = 0; k < GOLDEN_COUNT; k++) found |= strcmp(golden[k].op, cases[i].op) == 0;
        if (!found) fail_msg("%s has no golden value in make_golden.py", cases[i].op);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_has_a_golden_value),
        cmocka_unit_test(results_are_those_of_numpy),
    };
    return cmocka_run_group_tests_name("ops: golden values", tests, NULL, NULL);
}
