/* Plans: what is cached, fused, dropped and laid out, and that a replay allocates nothing. */
#include "support.h"

#include <nacre/nacre.h>
#include <string.h>

static nacre_tensor *matrix(int64_t rows, int64_t columns, uint64_t stream) {
    nacre_tensor *t = nacre_rand(NACRE_SHAPE(rows, columns), .stream = stream);
    assert_int_equal(nacre_eval(t), NACRE_OK);
    return t;
}

static bool has_kernel(const nacre_explanation *plan, const char *name) {
    for (size_t i = 0; i < plan->count; i++) {
        if (strcmp(plan->steps[i].kernel, name) == 0) {
            return true;
        }
    }
    return false;
}

static void equal_structures_share_a_plan_and_scalars_are_slots(void **state) {
    (void)state;
    nacre_tensor *a = matrix(4, 5, 1);
    nacre_plan_stats before = nacre_plan_statistics();
    for (int i = 0; i < 10; i++) {
        nacre_tensor *y = nacre_sum(nacre_mul_scalar(a, 0.5 + i));
        double sum = nacre_item(nacre_sum(a));
        assert_float_equal(nacre_item(y), (float)((0.5 + i) * sum), 1e-4F);
    }
    nacre_plan_stats after = nacre_plan_statistics();
    assert_true(after.made - before.made <= 2);
    assert_true(after.replays - before.replays >= 8);
}

static void slice_offsets_are_slots_too(void **state) {
    (void)state;
    nacre_tensor *a = nacre_arange(100);
    assert_int_equal(nacre_eval(a), NACRE_OK);
    uint64_t made = 0;
    for (int i = 0; i < 20; i++) {
        nacre_tensor *part = nacre_slice(a, 0, i, i + 3, 1);
        nacre_tensor *again = nacre_slice(nacre_reshape(part, NACRE_SHAPE(3)), 0, 1, 3, 1);
        assert_float_equal(nacre_item(nacre_sum(again)), (float)(2 * i + 3), 0);
        if (i == 0) {
            made = nacre_plan_statistics().made;
        }
    }
    assert_int_equal(nacre_plan_statistics().made, made);
}

/* A product with its bias and a view of the same input, both of memory that changes from one replay to the next. */
static nacre_tensor *read_twice(nacre_tensor *x, nacre_tensor *w, nacre_tensor *bias) {
    nacre_tensor *y = nacre_f_relu(nacre_f_linear(x, w, bias));
    nacre_tensor *rest = nacre_exp(nacre_slice(x, 0, 2, 6, 1));
    return nacre_add(nacre_sum(y, .axes = NACRE_AXES(0)), nacre_sum(rest));
}

static void a_replay_finds_what_has_moved_and_what_has_not(void **state) {
    (void)state;
    enum { RUNS = 12 };
    nacre_tensor *w = matrix(5, 7, 1), *x[3], *bias[2], *kept[RUNS];
    for (int i = 0; i < 3; i++) x[i] = matrix(6, 7, 2 + (uint64_t)i);
    for (int i = 0; i < 2; i++)
        bias[i] = nacre_reshape(matrix(1, 5, 5 + (uint64_t)i), NACRE_SHAPE(5));
    uint64_t made = 0;
    for (int i = 0; i < RUNS; i++) { /* the results stay: each has other memory */
        kept[i] = read_twice(x[i / 2 % 3], w, bias[i / 5 % 2]);
        assert_int_equal(nacre_eval(kept[i]), NACRE_OK);
        made = i < 2 ? nacre_plan_statistics().made : made;
    }
    assert_int_equal(nacre_plan_statistics().made, made);
    for (int i = 0; i < RUNS; i++) {
        nacre_plan_cache_clear();
        nacre_tensor *want = read_twice(x[i / 2 % 3], w, bias[i / 5 % 2]);
        assert_memory_equal(nacre_data(kept[i]), nacre_data(want), 5 * sizeof(float));
    }
}

static void another_shape_or_attribute_is_another_plan(void **state) {
    (void)state;
    nacre_tensor *a = matrix(4, 5, 1), *b = matrix(5, 4, 2);
    uint64_t made = nacre_plan_statistics().made;
    nacre_eval(nacre_sum(nacre_exp(a), .axes = NACRE_AXES(0)));
    nacre_eval(nacre_sum(nacre_exp(a), .axes = NACRE_AXES(1)));
    nacre_eval(nacre_sum(nacre_exp(b), .axes = NACRE_AXES(0)));
    assert_int_equal(nacre_plan_statistics().made, made + 3);
}

static void a_hundred_replays_allocate_nothing(void **state) {
    (void)state;
    nacre_tensor *w = nacre_requires_grad(matrix(32, 16, 1), true), *x = matrix(8, 16, 2);
    uint64_t allocations = 0;
    for (int i = 0; i < 110; i++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_tensor *loss = nacre_mean(nacre_f_relu(nacre_f_linear(x, w, NULL)));
        assert_int_equal(nacre_backward(loss), NACRE_OK);
        bool before = nacre_set_grad_enabled(false);
        assert_int_equal(nacre_assign(w, nacre_sub(w, nacre_mul_scalar(nacre_grad(w), 0.01 * i))),
                         NACRE_OK);
        nacre_set_grad_enabled(before);
        nacre_zero_grad(w);
        assert_int_equal(nacre_eval(loss), NACRE_OK);
        assert_int_equal(nacre_scope_end(scope), NACRE_OK);
        if (i == 9) {
            allocations = nacre_memory().allocations;
        }
    }
    assert_int_equal(nacre_memory().allocations, allocations);
}

static void unused_work_is_dropped(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *a = matrix(4, 4, 1);
    nacre_scope inner = nacre_scope_begin();
    nacre_tensor *wanted = nacre_keep(nacre_sum(a));
    nacre_exp(nacre_matmul(a, a)); /* dead once the scope ends */
    assert_int_equal(nacre_scope_end(inner), NACRE_OK);
    nacre_explanation *plan = nacre_explain(nacre_mul_scalar(wanted, 2));
    assert_non_null(plan);
    assert_false(has_kernel(plan, "matmul"));
    nacre_explanation_free(plan);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

static void chains_fuse_and_products_take_bias_and_activation(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *a = matrix(8, 4, 1), *b = matrix(4, 6, 2), *bias = matrix(1, 6, 3);
    nacre_explanation *plan = nacre_explain(nacre_f_relu(nacre_add(nacre_matmul(a, b), bias)));
    assert_non_null(plan);
    assert_int_equal(plan->count, 1);
    assert_string_equal(plan->steps[0].kernel, "matmul+add+relu");
    assert_string_equal(plan->steps[0].shapes, "[8,4] x [4,6] x [8,6] -> [8,6]");
    assert_float_equal(plan->steps[0].flops, 2.0 * 8 * 4 * 6 + 2 * 8 * 6, 0);
    assert_non_null(strstr(plan->steps[0].where, "test_plan.c:"));
    nacre_explanation_free(plan);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    scope = nacre_scope_begin();
    a = matrix(8, 4, 1);
    plan = nacre_explain(nacre_exp(nacre_mul(nacre_add(a, a), a)));
    assert_non_null(plan);
    assert_int_equal(plan->count, 1);
    assert_string_equal(plan->steps[0].kernel, "add+mul+exp");
    nacre_explanation_free(plan);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

/* A product's epilogue is recorded elsewhere, often in another file: the step is found where the product is. */
static void a_fused_step_is_placed_where_its_product_was_recorded(void **state) {
    (void)state;
    nacre_tensor *a = matrix(8, 4, 1), *b = matrix(4, 6, 2);
    nacre_tensor *y = nacre_f_relu_at(nacre_matmul_at(a, b, "src/product.c", 7), "src/relu.c", 8);
    nacre_tensor *chain = nacre_exp_at(nacre_neg_at(a, "src/neg.c", 1), "src/exp.c", 2);
    nacre_explanation *plan = nacre_explain(y);
    assert_non_null(plan);
    assert_int_equal(plan->count, 2);
    bool first = strcmp(plan->steps[0].kernel, "matmul+relu") == 0;
    assert_string_equal(plan->steps[!first].where, "product.c:7");
    assert_string_equal(plan->steps[first].kernel, "neg+exp");
    assert_string_equal(plan->steps[first].where, "exp.c:2");
    nacre_explanation_free(plan);
    assert_int_equal(nacre_eval(chain), NACRE_OK);
}

static void without_fusion_each_op_is_a_step(void **state) {
    (void)state;
    enum { ROUNDS = 3 };
    nacre_tensor *a = matrix(8, 4, 1), *b = matrix(4, 6, 2), *bias = matrix(1, 6, 3);
    float fused[48], other[48];
    nacre_plan_cache_clear();
    uint64_t made = nacre_plan_statistics().made;
    for (int i = 0; i < 2 * ROUNDS; i++) {
        bool fuse = i % 2 == 0;
        nacre_scope scope = nacre_scope_begin();
        nacre_set_fusion(fuse);
        assert_int_equal(nacre_fusion_enabled(), fuse);
        nacre_tensor *y = nacre_exp(nacre_neg(nacre_add(nacre_matmul(a, b), bias)));
        nacre_explanation *plan = nacre_explain(y);
        assert_non_null(plan);
        assert_int_equal(plan->count, fuse ? 1 : 4);
        assert_int_equal(plan->fused, fuse ? 3 : 0);
        assert_string_equal(plan->steps[0].kernel, fuse ? "matmul+add+neg+exp" : "matmul");
        nacre_explanation_free(plan);
        assert_int_equal(nacre_copy_to(y, fuse ? fused : other, sizeof fused), NACRE_OK);
        if (!fuse) assert_memory_equal(fused, other, sizeof fused);
        nacre_set_fusion(true);
        assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    }
    assert_int_equal(nacre_plan_statistics().made, made + 2); /* one of each kind */
}

static void a_product_read_through_a_view_is_not_folded(void **state) {
    (void)state;
    nacre_tensor *a = matrix(5, 5, 1), *b = matrix(5, 5, 2);
    float together[25], alone[25];
    for (int relu = 0; relu < 2; relu++) {
        nacre_tensor *h = nacre_matmul(a, b), *first = relu ? nacre_f_relu(h) : h;
        nacre_tensor *sum = nacre_add(first, nacre_transpose(h, 0, 1));
        assert_int_equal(nacre_copy_to(sum, together, sizeof together), NACRE_OK);
        h = nacre_matmul(a, b);
        assert_int_equal(nacre_eval(h), NACRE_OK);
        first = relu ? nacre_f_relu(h) : h;
        sum = nacre_add(first, nacre_transpose(h, 0, 1));
        assert_int_equal(nacre_copy_to(sum, alone, sizeof alone), NACRE_OK);
        assert_memory_equal(together, alone, sizeof alone);
    }
}

static void the_explained_peak_is_the_arena_s_high_water_mark(void **state) {
    (void)state;
    nacre_tensor *a = matrix(300, 300, 1);
    nacre_tensor *h = nacre_matmul(a, a);
    for (int i = 0; i < 4; i++) {
        h = nacre_matmul(nacre_f_softmax(h, 1), a);
    }
    nacre_tensor *y = nacre_sum(h);
    nacre_explanation *plan = nacre_explain(y);
    assert_non_null(plan);
    size_t peak = plan->peak_bytes;
    assert_true(peak >= plan->live_lower_bound);
    assert_true(peak <= plan->live_lower_bound + plan->live_lower_bound / 10);
    nacre_explanation_free(plan);
    assert_int_equal(nacre_eval(y), NACRE_OK);
    assert_int_equal(nacre_plan_statistics().last_peak_bytes, peak);
    assert_true(nacre_memory().arena_bytes >= peak);
}

static void explaining_runs_nothing(void **state) {
    (void)state;
    nacre_tensor *p = matrix(2, 2, 1);
    float before = *(const float *)nacre_data(p);
    nacre_scope scope = nacre_scope_begin();
    assert_int_equal(nacre_assign(p, nacre_exp(p)), NACRE_OK);
    nacre_explanation_free(nacre_explain(p));
    assert_true(nacre_plan_statistics().pending > 0);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    assert_true(*(const float *)nacre_data(p) != before);
    assert_null(nacre_explain(nacre_add(p, matrix(3, 3, 1))));
    nacre_explanation_free(NULL);
    nacre_error_clear();
}

static void a_bad_index_changes_no_variable(void **state) {
    (void)state;
    nacre_tensor *p = matrix(4, 4, 1), *table = matrix(4, 2, 2);
    float before = *(const float *)nacre_data(p);
    int64_t bad[] = {0, 4};
    for (int computed = 0; computed < 2; computed++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_tensor *at = nacre_from_data(bad, NACRE_SHAPE(2), .dtype = NACRE_I64);
        if (computed) {
            at = nacre_add_scalar(at, 0); /* known only while the plan runs */
        }
        assert_int_equal(nacre_assign(p, nacre_mul(p, p)), NACRE_OK);
        nacre_tensor *rows = nacre_gather(table, at);
        assert_int_equal(nacre_eval(rows), NACRE_OUT_OF_RANGE);
        assert_non_null(strstr(nacre_error_message(), "index 4 at position 1 is outside [0, 4)"));
        assert_float_equal(*(const float *)nacre_data(p), before, 0);
        assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    }
    assert_float_equal(*(const float *)nacre_data(p), before, 0);
    nacre_error_clear();
}

static void a_cancelled_evaluation_takes_its_assignments_back(void **state) {
    (void)state;
    nacre_tensor *p = matrix(4, 4, 1);
    float before = *(const float *)nacre_data(p);
    nacre_tensor *q = nacre_exp(p);
    assert_int_equal(nacre_assign(p, nacre_add_scalar(p, 1)), NACRE_OK);
    nacre_cancel(true);
    assert_int_equal(nacre_eval(p), NACRE_CANCELLED);
    nacre_cancel(false);
    assert_float_equal(*(const float *)nacre_data(p), before, 0);
    assert_int_equal(nacre_eval(q), NACRE_OK); /* asked for again, it is computed */
    nacre_error_clear();
}

static void endless_recording_is_evaluated_in_time(void **state) {
    (void)state;
    nacre_tensor *x = nacre_zeros(NACRE_SHAPE(1));
    for (int i = 0; i < 70000; i++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_tensor *next = nacre_add_scalar(x, 1);
        nacre_retain(next);
        nacre_scope_end(scope);
        if (i > 0) {
            nacre_release(x);
        }
        x = next;
    }
    assert_true(nacre_plan_statistics().pending < 66000);
    assert_float_equal(nacre_item(x), 70000, 0);
    nacre_release(x);
}

static char logged[512];
static void keep_line(void *user, const char *line) {
    (void)user;
    strncpy(logged, line, sizeof logged - 1);
}

static void a_changing_extent_is_named(void **state) {
    (void)state;
    nacre_plan_cache_clear();
    nacre_set_log(keep_line, NULL);
    for (int64_t n = 1; n < 90; n++) {
        nacre_scope scope = nacre_scope_begin();
        assert_int_equal(nacre_eval(nacre_exp(nacre_rand(NACRE_SHAPE(3, n)))), NACRE_OK);
        nacre_scope_end(scope);
    }
    nacre_set_log(NULL, NULL);
    assert_non_null(strstr(logged, "axis 1"));
}

static void a_watched_evaluation_names_the_first_nan_and_changes_nothing(void **state) {
    (void)state;
    nacre_tensor *p = matrix(2, 2, 1);
    float before = *(const float *)nacre_data(p);
    nacre_set_nan_watch(true);
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *bad = nacre_log(nacre_sub_scalar(nacre_neg(p), 1));
    assert_int_equal(nacre_assign(p, nacre_mul(bad, p)), NACRE_OK);
    assert_int_equal(nacre_eval(p), NACRE_NUMERICAL);
    assert_non_null(strstr(nacre_error_message(), "log"));
    assert_non_null(strstr(nacre_error_message(), "[2,2]"));
    assert_non_null(strstr(nacre_error_message(), "test_plan.c:"));
    nacre_set_nan_watch(false);
    assert_float_equal(*(const float *)nacre_data(p), before, 0);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    nacre_error_clear();
}

/* A batch norm's result is stored, its mean, which only `twice` reads, is not, and is computed once more when it is asked for:
   alone, and beside a reader of what was stored. */
static void a_record_runs_again_for_what_was_not_stored(void **state) {
    (void)state;
    for (int beside = 0; beside < 2; beside++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_tensor *x = nacre_rand(NACRE_SHAPE(5, 2, 3, 3), .stream = 7), *mean = NULL,
                     *var = NULL, *weight = nacre_ones(NACRE_SHAPE(2)),
                     *bias = nacre_full(NACRE_SHAPE(2), 0.25);
        nacre_tensor *y =
            nacre_f_batch_norm(x, weight, bias, .batch_mean = &mean, .batch_var = &var);
        nacre_tensor *twice = nacre_mul_scalar(mean, 2), *both[] = {y, twice};
        assert_int_equal(nacre_eval_all(both, 2), NACRE_OK);
        nacre_tensor *again = beside ? nacre_add(mean, nacre_mul_scalar(nacre_sum(y), 0)) : mean;
        const float *made = nacre_data(again), *wanted = nacre_data(twice);
        assert_non_null(made);
        for (int i = 0; i < 2; i++) assert_float_equal(2 * made[i], wanted[i], 0);
        const float *kept = nacre_data(y);
        double sum = 0;
        for (int i = 0; i < 90; i++) sum += (double)kept[i];
        assert_float_equal(sum, 90 * 0.25, 1e-4); /* normalised but for the bias */
        assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    }
}

/* Layer norms of transposed arrays, each behind a copy that its kernel asks for, so that planning allocates in between. */
static nacre_status evaluate_copies(nacre_tensor *x, nacre_tensor *const weight[2]) {
    enum { LAYERS = 20 };
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *y = x;
    for (int i = 0; i < LAYERS; i++)
        y = nacre_f_layer_norm(nacre_transpose(y, 0, 1), weight[i % 2], weight[i % 2], 1e-5);
    nacre_status status = nacre_eval(y);
    nacre_scope_end(scope);
    return status;
}

static void memory_that_runs_out_while_steps_are_prepared_is_said(void **state) {
    (void)state;
    nacre_tensor *x = matrix(6, 4, 1),
                 *weight[2] = {nacre_rand(NACRE_SHAPE(6)), nacre_rand(NACRE_SHAPE(4))};
    assert_int_equal(nacre_eval_all(weight, 2), NACRE_OK);
    int failed = 0, succeeded = 0;
    for (uint64_t n = 1; succeeded < 8; n++) { /* some of them can be done without */
        nacre_plan_cache_clear();
        nacre_memory_fail_at(n);
        nacre_status status = evaluate_copies(x, weight);
        nacre_memory_fail_at(0);
        if (status != NACRE_OK) assert_int_equal(status, NACRE_OUT_OF_MEMORY);
        failed += status != NACRE_OK;
        succeeded = status == NACRE_OK ? succeeded + 1 : 0;
    }
    assert_true(failed > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_structures_share_a_plan_and_scalars_are_slots),
        cmocka_unit_test(slice_offsets_are_slots_too),
        cmocka_unit_test(a_replay_finds_what_has_moved_and_what_has_not),
        cmocka_unit_test(another_shape_or_attribute_is_another_plan),
        cmocka_unit_test(a_hundred_replays_allocate_nothing),
        cmocka_unit_test(unused_work_is_dropped),
        cmocka_unit_test(chains_fuse_and_products_take_bias_and_activation),
        cmocka_unit_test(a_fused_step_is_placed_where_its_product_was_recorded),
        cmocka_unit_test(without_fusion_each_op_is_a_step),
        cmocka_unit_test(a_product_read_through_a_view_is_not_folded),
        cmocka_unit_test(the_explained_peak_is_the_arena_s_high_water_mark),
        cmocka_unit_test(explaining_runs_nothing),
        cmocka_unit_test(a_bad_index_changes_no_variable),
        cmocka_unit_test(a_cancelled_evaluation_takes_its_assignments_back),
        cmocka_unit_test(endless_recording_is_evaluated_in_time),
        cmocka_unit_test(a_changing_extent_is_named),
        cmocka_unit_test(a_record_runs_again_for_what_was_not_stored),
        cmocka_unit_test(memory_that_runs_out_while_steps_are_prepared_is_said),
        cmocka_unit_test(a_watched_evaluation_names_the_first_nan_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
