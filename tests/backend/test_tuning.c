/* Choices of a tuning table: every one of them has the bits of the rules, whatever the product. */
#include "backend/products.h"

#include "backend/cpu/product.h"
#include "backend/cpu/tuning.h"

/* ---- the table ---- */

static nacre_tuning_entry entry_at(int64_t m, int task) {
    return (nacre_tuning_entry){.key = {.level = 1, .threads = 1, .m = m, .n = 4, .k = 5},
                                .choice = {.task = task}};
}

static void a_table_finds_what_was_put_there(void **state) {
    (void)state;
    enum { COUNT = 300 };
    nacre_tuning_table table = {0};
    for (int64_t i = 0; i < COUNT; i++) {
        nacre_tuning_entry entry = entry_at(i * 7 % COUNT - 100, 12 + (int)(i * 7 % COUNT) % 10);
        assert_int_equal(nacre_tuning_put(&table, &entry), NACRE_OK);
    }
    assert_int_equal(table.count, COUNT);
    for (int64_t m = 0; m < COUNT; m++) {
        nacre_tuning_entry wanted = entry_at(m - 100, 0);
        const nacre_tuning_entry *found = nacre_tuning_find(&table, &wanted.key);
        assert_non_null(found);
        assert_int_equal(found->choice.task, 12 + m % 10);
        assert_int_equal(table.entries[m].key.m, m - 100);
    }
    nacre_tuning_entry other = entry_at(3, 0);
    other.key.shared_b = 1;
    assert_null(nacre_tuning_find(&table, &other.key));
    nacre_tuning_free(&table);
}

static void putting_again_replaces_and_the_rules_remove(void **state) {
    (void)state;
    nacre_tuning_table table = {0};
    nacre_tuning_entry one = entry_at(1, 12), two = entry_at(2, 13), rule = entry_at(1, 0);
    assert_int_equal(nacre_tuning_put(&table, &rule), NACRE_OK);
    assert_int_equal(table.count, 0);
    nacre_tuning_put(&table, &two);
    nacre_tuning_put(&table, &one);
    one.choice.way = NACRE_WAY_TURNED;
    nacre_tuning_put(&table, &one);
    assert_int_equal(table.count, 2);
    assert_int_equal(nacre_tuning_find(&table, &one.key)->choice.way, NACRE_WAY_TURNED);
    nacre_tuning_put(&table, &rule);
    assert_int_equal(table.count, 1);
    assert_null(nacre_tuning_find(&table, &one.key));
    assert_int_equal(nacre_tuning_find(&table, &two.key)->choice.task, 13);
    nacre_tuning_free(&table);
}

static void a_full_table_refuses_and_keeps_what_it_has(void **state) {
    (void)state;
    nacre_tuning_table table = {0};
    for (int64_t i = 0; i < NACRE_TUNING_MOST; i++) {
        nacre_tuning_entry entry = entry_at(i, 12);
        assert_int_equal(nacre_tuning_put(&table, &entry), NACRE_OK);
    }
    nacre_tuning_entry more = entry_at(NACRE_TUNING_MOST, 12), known = entry_at(7, 20);
    assert_int_equal(nacre_tuning_put(&table, &more), NACRE_INVALID_STATE);
    assert_non_null(strstr(nacre_error_message(), "full"));
    assert_int_equal(nacre_tuning_put(&table, &known), NACRE_OK);
    assert_int_equal(table.count, NACRE_TUNING_MOST);
    assert_int_equal(nacre_tuning_find(&table, &known.key)->choice.task, 20);
    nacre_tuning_free(&table);
}

/* ---- equal bits ---- */

enum { CHOICES = NACRE_WAYS * NACRE_PACK_AS * NACRE_PACK_BS * 3 * 2 };

static nacre_product_choice choice_at(int i) {
    static const int tasks[] = {0, NACRE_LEAST_TASK, 21}, sweeps[] = {0, NACRE_LEAST_SWEEP};
    nacre_product_choice choice;
    choice.way = (nacre_way)(i % NACRE_WAYS);
    i /= NACRE_WAYS;
    choice.pack_a = (nacre_pack_a)(i % NACRE_PACK_AS);
    i /= NACRE_PACK_AS;
    choice.pack_b = (nacre_pack_b)(i % NACRE_PACK_BS);
    i /= NACRE_PACK_BS;
    choice.task = tasks[i % 3];
    choice.sweep = sweeps[i / 3];
    return choice;
}

static void put_in_force(const nacre_plan_op *step, const nacre_product_choice *choice) {
    nacre_plan_op prepared = *step;
    nacre_tuning_clear();
    assert_true(nacre_backend_cpu.prepare(&prepared));
    nacre_tuning_entry entry = {.key = nacre_tuning_key_of(&prepared), .choice = *choice};
    nacre_tuning_table table = {0};
    assert_int_equal(nacre_tuning_put(&table, &entry), NACRE_OK);
    nacre_tuning_use(&table);
    assert_int_equal(nacre_tuning_count(), !nacre_product_is_rule(choice));
}

/* Runs the step by the rules and by every choice; outputs are compared byte by byte. */
static void compare_choices(nacre_plan_op step) {
    nacre_array wanted[NACRE_PROGRAM_OUTPUTS];
    nacre_tuning_clear();
    for (int k = 0; k < step.outputs; k++)
        wanted[k] = step.out[k] = kit_array(NACRE_F32, step.out[k].shape);
    kit_run(&step);
    for (int k = 0; k < step.outputs; k++) step.out[k] = kit_array(NACRE_F32, step.out[k].shape);
    for (int i = 0; i < CHOICES; i++) {
        nacre_product_choice choice = choice_at(i);
        put_in_force(&step, &choice);
        for (int k = 0; k < step.outputs; k++)
            memset(step.out[k].data, 0xFF,
                   (size_t)nacre_shape_numel(&step.out[k].shape) * sizeof(float));
        kit_run(&step);
        nacre_product_choice taken = nacre_product_choice_of(&step);
        assert_true(taken.way == choice.way && taken.pack_a == choice.pack_a &&
                    taken.pack_b == choice.pack_b && taken.task == choice.task &&
                    taken.sweep == choice.sweep);
        for (int k = 0; k < step.outputs; k++)
            if (!kit_same_bits(step.out[k].data, wanted[k].data,
                               (size_t)nacre_shape_numel(&step.out[k].shape) * sizeof(float)))
                fail_msg("choice %d: output %d differs", i, k);
    }
    nacre_tuning_clear();
    kit_end();
}

/* layout bit 0: a transposed; bit 1: b transposed. */
static void compare_size(int64_t m, int64_t n, int64_t k, int layout) {
    nacre_array a = layout & 1 ? kit_transposed(kit_random_f32(NACRE_SHAPE(k, m)))
                               : kit_random_f32(NACRE_SHAPE(m, k));
    nacre_array b = layout & 2 ? kit_transposed(kit_random_f32(NACRE_SHAPE(n, k)))
                               : kit_random_f32(NACRE_SHAPE(k, n));
    compare_choices(product_step(a, b, NACRE_SHAPE(m, n)));
}

static void every_choice_has_equal_bits_at_the_tiles_edges(void **state) {
    (void)state;
    static const int64_t rows[] = {1, 2, 7, 14, 15, 29}, columns[] = {2, 15, 16, 32, 33, 65};
    static const int64_t depths[] = {1, 17, 130};
    for (int i = 0; i < 36; i++)
        for (int layout = 0; layout < 4; layout++)
            compare_size(rows[i / 6], columns[i % 6], depths[(i + layout) % 3], layout);
}

static void every_choice_has_equal_bits_in_large_products(void **state) {
    (void)state;
    for (int layout = 0; layout < 4; layout++) {
        compare_size(70, 130, 513, layout);
        compare_size(128, 512, 66, layout); /* rows that fall on few cache sets */
        compare_size(9, 300, 784, layout);
    }
    compare_size(31, 2100, 600, 2); /* more panels than one round packs */
    compare_size(0, 20, 30, 2);
    compare_size(20, 40, 0, 0);
}

static void every_choice_has_equal_bits_with_strides_and_batches(void **state) {
    (void)state;
    nacre_array a = kit_random_f32(NACRE_SHAPE(20, 60)), b = kit_random_f32(NACRE_SHAPE(60, 80));
    a.shape = NACRE_SHAPE(20, 20);
    a.strides[1] = 3;
    b.shape = NACRE_SHAPE(20, 40);
    b.strides[0] = 240;
    b.strides[1] = 2;
    compare_choices(product_step(a, b, NACRE_SHAPE(20, 40)));
    for (int layout = 0; layout < 4; layout++) {
        a = layout & 1 ? kit_transposed(kit_random_f32(NACRE_SHAPE(3, 2, 40, 18)))
                       : kit_random_f32(NACRE_SHAPE(3, 2, 18, 40));
        b = layout & 2 ? kit_transposed(kit_random_f32(NACRE_SHAPE(2, 70, 40)))
                       : kit_random_f32(NACRE_SHAPE(2, 40, 70));
        compare_choices(product_step(a, b, NACRE_SHAPE(3, 2, 18, 70)));
    }
    a = kit_transposed(kit_random_f32(NACRE_SHAPE(3, 40, 18)));
    b = kit_random_f32(NACRE_SHAPE(40, 70)); /* shared by the batches */
    compare_choices(product_step(a, b, NACRE_SHAPE(3, 18, 70)));
}

/* relu(x weight^T + bias); relu_backward(a b, y); exp(product * row), the product kept too. */
static void every_choice_has_equal_bits_under_epilogues(void **state) {
    (void)state;
    static const int64_t rows[] = {1, 5, 16, 33};
    for (int i = 0; i < 4; i++) {
        const int64_t m = rows[i], k = 90, n = i % 2 ? 130 : 48;
        const nacre_shape shape = NACRE_SHAPE(m, n);
        nacre_plan_op step = product_linear(m, k, n, true);
        const nacre_program relu = program_relu(), mask = program_mask();
        product_then(&step, &relu, NULL);
        compare_choices(step);

        nacre_array a = kit_random_f32(NACRE_SHAPE(m, k)), other = kit_random_f32(shape);
        step = product_step(a, kit_random_f32(NACRE_SHAPE(k, n)), shape);
        product_then(&step, &mask, &other);
        compare_choices(step);

        a = kit_random_f32(NACRE_SHAPE(m, k)), other = kit_random_f32(NACRE_SHAPE(1, n));
        step = product_step(a, kit_transposed(kit_random_f32(NACRE_SHAPE(n, k))), shape);
        nacre_program both = {.inputs = 2, .codes = 2, .outputs = 2, .result = {0, 3}};
        both.code[0] = (nacre_instruction){.op = &nacre_op_mul, .argument = {0, 1}};
        both.code[1] = (nacre_instruction){.op = &nacre_op_exp, .argument = {2}};
        product_then(&step, &both, &other);
        compare_choices(step);
    }
}

static void a_table_for_other_threads_changes_nothing(void **state) {
    (void)state;
    assert_int_equal(nacre_set_threads(2), NACRE_OK);
    nacre_plan_op step = product_step(kit_random_f32(NACRE_SHAPE(9, 30)),
                                      kit_random_f32(NACRE_SHAPE(30, 40)), NACRE_SHAPE(9, 40));
    product_outputs(&step);
    nacre_product_choice turned = {.way = NACRE_WAY_TURNED};
    put_in_force(&step, &turned);
    kit_run(&step);
    assert_int_equal(nacre_product_choice_of(&step).way, NACRE_WAY_TURNED);
    assert_int_equal(nacre_set_threads(1), NACRE_OK);
    kit_run(&step);
    assert_int_equal(nacre_product_choice_of(&step).way, NACRE_WAY_RULE);
    nacre_tuning_clear();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_finds_what_was_put_there),
        cmocka_unit_test(putting_again_replaces_and_the_rules_remove),
        cmocka_unit_test(a_full_table_refuses_and_keeps_what_it_has),
        KIT_TEST(every_choice_has_equal_bits_at_the_tiles_edges),
        KIT_TEST(every_choice_has_equal_bits_in_large_products),
        KIT_TEST(every_choice_has_equal_bits_with_strides_and_batches),
        KIT_TEST(every_choice_has_equal_bits_under_epilogues),
        KIT_TEST(a_table_for_other_threads_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
