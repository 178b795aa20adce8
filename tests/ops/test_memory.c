/* Out of memory at any allocation of an op, its gradient or its plan: an error that says so, never a crash
   or a wrong number, and the same call works afterwards. */
#include "ops/check.h"

#include <nacre/grad.h>

/* Applies the case and its gradient; false with the last error set. */
static bool attempt(const nacre_op_case *c, nacre_dtype dtype, double *out) {
    static double values[CHECK_ELEMENTS];
    nacre_scope mark = nacre_scope_begin();
    nacre_tensor *in[CASE_INPUTS] = {NULL}, *leaf = NULL, *y = NULL;
    bool ok = mark >= 0;
    for (int i = 0; ok && i < c->inputs; i++) {
        nacre_dtype own = input_dtype(c, i, dtype);
        int64_t count = nacre_shape_numel(&c->shape[i]);
        for (int64_t k = 0; k < count; k++) values[k] = input_value(c, i, own, k);
        static unsigned char bytes[8 * CHECK_ELEMENTS];
        for (int64_t k = 0; k < count; k++)
            nacre_dtype_get(own)->store(bytes + (size_t)k * nacre_dtype_size(own), values[k]);
        in[i] = nacre_from_data(bytes, c->shape[i], .dtype = own);
        ok = !nacre_is_error(in[i]);
        if (ok && !leaf && c->derivatives && c->kind[i] == KIND_VALUE) {
            leaf = in[i];
            ok = !nacre_is_error(nacre_requires_grad(leaf, true));
        }
    }
    if (ok) y = c->apply(in);
    ok = ok && !nacre_is_error(y);
    if (ok && leaf) {
        nacre_status status = nacre_gradients(nacre_sum(y), &leaf, 1, &y);
        ok = status == NACRE_OK && !nacre_is_error(y);
    }
    const void *data = ok ? nacre_data(y) : NULL;
    ok = data != NULL;
    for (int64_t k = 0; ok && k < nacre_numel(y); k++)
        out[k] = nacre_dtype_get(nacre_dtype_of(y))
                     ->load((const unsigned char *)data +
                            (size_t)k * nacre_dtype_size(nacre_dtype_of(y)));
    nacre_scope_end(mark);
    return ok;
}

static void check_case(const nacre_op_case *c, nacre_dtype dtype) {
    static double expected[CHECK_ELEMENTS], got[CHECK_ELEMENTS];
    snprintf(check_subject, sizeof check_subject, "%s %s, %s", c->op, c->label,
             nacre_dtype_name(dtype));
    memset(expected, 0, sizeof expected);
    if (!attempt(c, dtype, expected)) fail_msg("%s: %s", check_subject, nacre_error_message());
    /* Memory that is there to be done without may be missing now and then: what succeeds ENOUGH times on end has no
       allocation left to fail. Their number is not nacre_memory's, which leaves out blocks that are taken again. */
    enum { ENOUGH = 8 };
    int succeeded = 0;
    for (uint64_t n = 1; succeeded < ENOUGH; n++) {
        nacre_plan_cache_clear();
        nacre_error_clear();
        memset(got, 0, sizeof got);
        nacre_memory_fail_at(n);
        bool ok = attempt(c, dtype, got);
        nacre_memory_fail_at(0);
        if (!ok && nacre_error_code() != NACRE_OUT_OF_MEMORY)
            fail_msg("%s: allocation %d failed, the error is \"%s\"", check_subject, (int)n,
                     nacre_error_message());
        if (ok && memcmp(got, expected, sizeof got) != 0)
            fail_msg("%s: allocation %d failed, the result is wrong", check_subject, (int)n);
        succeeded = ok ? succeeded + 1 : 0;
    }
    nacre_error_clear();
    memset(got, 0, sizeof got);
    assert_true(attempt(c, dtype, got));
    assert_memory_equal(got, expected, sizeof got);
}

static void running_out_of_memory_is_an_error_and_passes(void **state) {
    (void)state;
    for (int i = 0; i < CASE_COUNT; i++) {
        int64_t elements = 0;
        for (int k = 0; k < cases[i].inputs; k++) elements += nacre_shape_numel(&cases[i].shape[k]);
        if (elements > 128 || strcmp(cases[i].label, "deep") == 0) continue;
        check_case(&cases[i], cases[i].derivatives ? NACRE_F64 : NACRE_F32);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(running_out_of_memory_is_an_error_and_passes),
    };
    return cmocka_run_group_tests_name("ops: memory", tests, NULL, NULL);
}
