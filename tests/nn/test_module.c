/* The tree of modules: ownership, names, errors that stay, modes, state. */
#include "support.h"

#include <nacre/nacre.h>
#include <string.h>

static nacre_module *network(void) {
    return nacre_sequential(nacre_flatten(), nacre_linear(4, 3), nacre_relu(), nacre_linear(3, 2));
}

static void parameters_have_their_full_names(void **state) {
    (void)state;
    nacre_module *net =
        nacre_sequential(nacre_sequential(nacre_linear(4, 3), nacre_relu()),
                         nacre_sequential(nacre_sequential(nacre_linear(3, 3, .no_bias = true)),
                                          nacre_linear(3, 2)));
    assert_int_equal(nacre_module_status(net), NACRE_OK);
    const char *const names[] = {"0.0.weight", "0.0.bias", "1.0.0.weight", "1.1.weight",
                                 "1.1.bias"};
    assert_int_equal(nacre_module_parameter_count(net), 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(nacre_module_parameter_name(net, i), names[i]);
        assert_non_null(nacre_module_parameter_at(net, i));
    }
    assert_null(nacre_module_parameter_name(net, 5));
    assert_null(nacre_module_parameter_at(net, 5));
    /* Seen from a child, its own names. */
    nacre_module *second = nacre_module_child(net, 1);
    assert_string_equal(nacre_module_parameter_name(second, 0), "0.0.weight");
    assert_string_equal(nacre_module_parameter_name(second, 2), "1.bias");
    nacre_module_free(net);
}

static void layers_without_parameters_have_none(void **state) {
    (void)state;
    nacre_module *layers[] = {nacre_relu(), nacre_softmax(-1), nacre_flatten(),
                              nacre_sequential_of(NULL, 0)};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(nacre_module_status(layers[i]), NACRE_OK);
        assert_int_equal(nacre_module_parameter_count(layers[i]), 0);
        nacre_module_free(layers[i]);
    }
}

static void a_bad_layer_deep_inside_is_reported_at_the_top(void **state) {
    (void)state;
    nacre_module *net = nacre_sequential(
        nacre_relu(), nacre_sequential(nacre_linear(4, 0), nacre_relu()), nacre_linear(3, 2));
    assert_int_equal(nacre_module_status(net), NACRE_INVALID_ARGUMENT);
    assert_non_null(strstr(nacre_module_message(net), "layer 1.0: linear: in is 4, out is 0"));
    nacre_tensor *x = nacre_zeros(NACRE_SHAPE(1, 4));
    assert_int_equal(nacre_tensor_status(nacre_module_forward(net, x)), NACRE_INVALID_ARGUMENT);
    assert_int_not_equal(nacre_module_init(net, 1), NACRE_OK);
    assert_null(nacre_module_state(net));
    nacre_module_free(net);
}

static void a_missing_layer_is_an_error(void **state) {
    (void)state;
    nacre_module *net = nacre_sequential(nacre_relu(), NULL, nacre_relu());
    assert_int_equal(nacre_module_status(net), NACRE_INVALID_ARGUMENT);
    assert_non_null(strstr(nacre_module_message(net), "layer 1 is NULL"));
    nacre_module_free(net);
    assert_int_equal(nacre_module_status(NULL), NACRE_INVALID_ARGUMENT);
    nacre_module_free(NULL);
}

static void a_layer_used_twice_is_refused_and_freed_once(void **state) {
    (void)state;
    nacre_module *shared = nacre_linear(2, 2);
    nacre_module *net = nacre_sequential(shared, nacre_relu(), shared);
    assert_int_equal(nacre_module_status(net), NACRE_INVALID_ARGUMENT);
    assert_non_null(strstr(nacre_module_message(net), "belongs to a module already"));
    nacre_module *loop = nacre_sequential(nacre_relu());
    assert_int_not_equal(nacre_module_add(loop, "self", loop), NACRE_OK);
    nacre_module_free(net);
    nacre_module_free(loop);
}

static void freeing_a_child_is_refused(void **state) {
    (void)state;
    nacre_module *net = network();
    nacre_module_free(nacre_module_child(net, 1));
    assert_int_equal(nacre_error_code(), NACRE_INVALID_STATE);
    assert_int_equal(nacre_module_child_count(net), 4);
    nacre_module_free(net);
}

static void bad_names_and_twins_are_refused(void **state) {
    (void)state;
    const char *const bad[] = {
        "",   "a.b",  "a b",
        "\n", "/etc", "0123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        nacre_module *net = nacre_sequential_of(NULL, 0);
        assert_int_equal(nacre_module_add(net, bad[i], nacre_relu()), NACRE_INVALID_ARGUMENT);
        assert_int_equal(nacre_module_status(net), NACRE_INVALID_ARGUMENT);
        nacre_module_free(net);
    }
    nacre_module *net = nacre_sequential_of(NULL, 0);
    assert_int_equal(nacre_module_add(net, "head", nacre_relu()), NACRE_OK);
    assert_int_equal(nacre_module_add(net, "head", nacre_relu()), NACRE_INVALID_ARGUMENT);
    assert_non_null(strstr(nacre_module_message(net), "\"head\" already"));
    nacre_module_free(net);
    nacre_module *layer = nacre_linear(2, 2);
    assert_true(
        nacre_is_error(nacre_module_parameter(layer, "weight", NACRE_SHAPE(2), NACRE_INIT_ONES)));
    nacre_module_free(layer);
}

static void endless_nesting_is_an_error_not_a_crash(void **state) {
    (void)state;
    nacre_module *net = nacre_relu();
    for (int i = 0; i < 200; i++) {
        net = nacre_sequential(net);
    }
    assert_int_equal(nacre_module_status(net), NACRE_INVALID_ARGUMENT);
    assert_non_null(strstr(nacre_module_message(net), "deep"));
    nacre_module_free(net);
}

static void mode_reaches_every_child(void **state) {
    (void)state;
    nacre_module *net =
        nacre_sequential(nacre_sequential(nacre_sequential(nacre_relu())), nacre_relu());
    nacre_module *leaf = nacre_module_child(nacre_module_child(nacre_module_child(net, 0), 0), 0);
    assert_int_equal(nacre_module_mode(leaf), NACRE_TRAIN);
    nacre_module_set_mode(net, NACRE_EVAL);
    assert_int_equal(nacre_module_mode(net), NACRE_EVAL);
    assert_int_equal(nacre_module_mode(leaf), NACRE_EVAL);
    nacre_module_set_mode(nacre_module_child(net, 0), NACRE_TRAIN);
    assert_int_equal(nacre_module_mode(leaf), NACRE_TRAIN);
    assert_int_equal(nacre_module_mode(net), NACRE_EVAL);
    nacre_module_free(net);
}

static void parameters_outlive_the_scope_they_were_made_in(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_module *net = network();
    assert_int_equal(nacre_module_init(net, 7), NACRE_OK);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    const float *weight = nacre_data(nacre_module_parameter_at(net, 0));
    assert_non_null(weight);
    assert_true(weight[0] != 0);
    nacre_module_free(net);
}

static void building_and_freeing_leaks_nothing(void **state) {
    (void)state;
    nacre_module_free(network());
    uint64_t blocks = nacre_memory().live_blocks;
    for (int i = 0; i < 20; i++) {
        nacre_module *net = network();
        nacre_module_init(net, 1);
        nacre_module_free(net);
    }
    assert_int_equal(nacre_memory().live_blocks, blocks);
}

static void every_failing_allocation_is_reported_and_leaks_nothing(void **state) {
    (void)state;
    nacre_module_free(network());
    uint64_t blocks = nacre_memory().live_blocks;
    bool succeeded = false;
    for (uint64_t n = 1; !succeeded && n < 500; n++) {
        nacre_scope scope = nacre_scope_begin(); /* owns error tensors */
        nacre_memory_fail_at(n);
        nacre_module *net = network();
        nacre_status status = nacre_module_status(net);
        if (status == NACRE_OK) {
            status = nacre_module_init(net, 1);
        }
        succeeded = status == NACRE_OK;
        assert_true(succeeded || status == NACRE_OUT_OF_MEMORY);
        nacre_memory_fail_at(0);
        nacre_module_free(net);
        nacre_scope_end(scope);
        /* Pools may keep a block or two for the next time, but nothing may pile up. */
        assert_true(nacre_memory().live_blocks <= blocks + 4);
    }
    assert_true(succeeded);
}

static void state_goes_from_one_network_to_another(void **state) {
    (void)state;
    nacre_module *a = network(), *b = network();
    nacre_module_init(a, 1);
    nacre_module_init(b, 2);
    nacre_state_dict *dict = nacre_module_state(a);
    assert_non_null(dict);
    assert_int_equal(nacre_state_dict_count(dict), 4);
    assert_string_equal(nacre_state_dict_name(dict, 0), "1.weight");
    assert_int_equal(nacre_module_load_state(b, dict), NACRE_OK);
    for (size_t i = 0; i < 4; i++) {
        nacre_tensor *x = nacre_module_parameter_at(a, i), *y = nacre_module_parameter_at(b, i);
        assert_ptr_not_equal(x, y);
        assert_memory_equal(nacre_data(x), nacre_data(y), (size_t)nacre_numel(x) * sizeof(float));
    }
    assert_true(nacre_has_requires_grad(nacre_module_parameter_at(b, 0)));
    nacre_state_dict_free(dict);
    nacre_module_free(a);
    nacre_module_free(b);
}

/* A state that does not fit names the entry and changes nothing. */
static void check_refused(nacre_state_dict *dict, nacre_status wanted, const char *name) {
    nacre_module *net = network();
    nacre_module_init(net, 3);
    float before[12];
    nacre_copy_to(nacre_module_parameter_at(net, 0), before, sizeof before);
    assert_int_equal(nacre_module_load_state(net, dict), wanted);
    assert_non_null(strstr(nacre_error_message(), name));
    assert_memory_equal(nacre_data(nacre_module_parameter_at(net, 0)), before, sizeof before);
    nacre_module_free(net);
    nacre_state_dict_free(dict);
}

static void another_networks_state_is_refused_whole(void **state) {
    (void)state;
    nacre_state_dict *dict = nacre_state_dict_new();
    nacre_state_dict_add(dict, "1.weight", nacre_zeros(NACRE_SHAPE(3, 4)));
    check_refused(dict, NACRE_NOT_FOUND, "1.bias");

    dict = nacre_state_dict_new();
    nacre_state_dict_add(dict, "1.weight", nacre_zeros(NACRE_SHAPE(4, 3)));
    check_refused(dict, NACRE_SHAPE_MISMATCH, "1.weight");

    dict = nacre_state_dict_new();
    nacre_state_dict_add(dict, "1.weight", nacre_zeros(NACRE_SHAPE(3, 4), .dtype = NACRE_F64));
    check_refused(dict, NACRE_DTYPE_MISMATCH, "1.weight");

    nacre_module *net = network();
    dict = nacre_module_state(net);
    nacre_state_dict_add(dict, "9.weight", nacre_zeros(NACRE_SHAPE(1)));
    check_refused(dict, NACRE_INVALID_ARGUMENT, "9.weight");
    nacre_module_free(net);
}

/* A layer of a user's own. */
static int destroyed;

static nacre_tensor *twice(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module, (void)self;
    return nacre_mul_scalar(x, 2);
}

static nacre_tensor *nothing(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module, (void)self, (void)x;
    return NULL;
}

static void count_destroyed(void *self) {
    (void)self;
    destroyed++;
}

static void a_users_layer_works_and_is_destroyed_once(void **state) {
    (void)state;
    const nacre_module_class class_ = {
        .size = sizeof class_, .name = "Twice", .forward = twice, .destroy = count_destroyed};
    destroyed = 0;
    nacre_module *net = nacre_sequential(nacre_module_new(&class_, &destroyed), nacre_relu());
    nacre_tensor *x = nacre_full(NACRE_SCALAR, 3);
    nacre_tensor *y = nacre_module_forward(net, x);
    assert_true(nacre_item(y) == 6);
    assert_true(nacre_item(nacre_module_backward(net, x, y, nacre_full(NACRE_SCALAR, 1))) == 2);
    assert_string_equal(nacre_module_kind(nacre_module_child(net, 0)), "Twice");
    nacre_module_free(net);
    assert_int_equal(destroyed, 1);

    /* Given away to a parent that refuses it: still destroyed. */
    net = nacre_sequential(nacre_linear(0, 0), nacre_module_new(&class_, &destroyed));
    nacre_module_free(net);
    assert_int_equal(destroyed, 2);
}

static void a_users_layer_that_fails_is_reported(void **state) {
    (void)state;
    const nacre_module_class class_ = {
        .size = sizeof class_, .name = "Nothing", .forward = nothing};
    nacre_module *layer = nacre_module_new(&class_, NULL);
    nacre_tensor *y = nacre_module_forward(layer, nacre_full(NACRE_SCALAR, 3));
    assert_int_equal(nacre_tensor_status(y), NACRE_INVALID_STATE);
    nacre_module_free(layer);
    layer = nacre_module_new(NULL, NULL);
    assert_int_equal(nacre_module_status(layer), NACRE_INVALID_ARGUMENT);
    nacre_module_free(layer);
}

static void errors_of_inputs_pass_through(void **state) {
    (void)state;
    nacre_module *net = network();
    assert_true(nacre_is_error(nacre_module_forward(net, NULL)));
    assert_true(nacre_is_error(nacre_module_forward(NULL, nacre_zeros(NACRE_SHAPE(1, 4)))));
    nacre_tensor *bad = nacre_add(nacre_zeros(NACRE_SHAPE(2)), nacre_zeros(NACRE_SHAPE(3)));
    nacre_tensor *y = nacre_module_forward(net, bad);
    assert_int_equal(nacre_tensor_status(y), NACRE_SHAPE_MISMATCH);
    assert_string_equal(nacre_tensor_message(y), nacre_tensor_message(bad));
    y = nacre_module_forward(net, nacre_zeros(NACRE_SHAPE(2, 5)));
    assert_int_equal(nacre_tensor_status(y), NACRE_SHAPE_MISMATCH);
    nacre_module_free(net);
}

/* What a network is made of says where it lies, can be moved there by name, with gradients, and nowhere else. */
static void parts_lie_on_a_device_and_go_to_those_there_are(void **state) {
    (void)state;
    nacre_module *net = nacre_sequential(nacre_conv2d(1, 2, {2, 2}), nacre_batch_norm2d(2),
                                         nacre_flatten(), nacre_linear(8, 3), nacre_layer_norm(3));
    assert_int_equal(nacre_module_init(net, 3), NACRE_OK);
    for (size_t i = 0; i < nacre_module_buffer_count(net); i++)
        assert_int_equal(nacre_device_of(nacre_module_buffer_at(net, i)), NACRE_CPU);
    nacre_tensor *x = nacre_randn(NACRE_SHAPE(2, 1, 3, 3), .stream = 4, .device = NACRE_CPU);
    nacre_tensor *y = nacre_module_forward(net, nacre_to_device(x, NACRE_CPU));
    assert_int_equal(nacre_device_of(y), NACRE_CPU);
    assert_int_equal(nacre_backward(nacre_sum(nacre_mul(y, y))), NACRE_OK);
    for (size_t i = 0; i < nacre_module_parameter_count(net); i++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_tensor *p = nacre_module_parameter_at(net, i);
        const size_t bytes = (size_t)nacre_numel(p) * sizeof(float);
        assert_int_equal(nacre_device_of(p), NACRE_CPU);
        assert_int_equal(nacre_device_of(nacre_grad(p)), NACRE_CPU);
        nacre_tensor *moved = nacre_to_device(p, NACRE_CPU), *slope[1];
        assert_memory_equal(nacre_data(moved), nacre_data(p), bytes);
        assert_int_equal(nacre_gradients(nacre_sum(moved), &p, 1, slope), NACRE_OK);
        assert_true(nacre_item(nacre_sum(slope[0])) == (double)nacre_numel(p));
        nacre_tensor *nowhere = nacre_to_device(p, (nacre_device)9);
        assert_int_equal(nacre_tensor_status(nowhere), NACRE_UNSUPPORTED);
        assert_non_null(strstr(nacre_tensor_message(nowhere), "device 9 is not in this build"));
        assert_int_equal(nacre_assign(p, nowhere), NACRE_UNSUPPORTED); /* and p is what it was */
        assert_memory_equal(nacre_data(moved), nacre_data(p), bytes);
        nacre_error_clear();
        nacre_scope_end(scope);
    }
    nacre_module_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_have_their_full_names),
        cmocka_unit_test(layers_without_parameters_have_none),
        cmocka_unit_test(a_bad_layer_deep_inside_is_reported_at_the_top),
        cmocka_unit_test(a_missing_layer_is_an_error),
        cmocka_unit_test(a_layer_used_twice_is_refused_and_freed_once),
        cmocka_unit_test(freeing_a_child_is_refused),
        cmocka_unit_test(bad_names_and_twins_are_refused),
        cmocka_unit_test(endless_nesting_is_an_error_not_a_crash),
        cmocka_unit_test(mode_reaches_every_child),
        cmocka_unit_test(parameters_outlive_the_scope_they_were_made_in),
        cmocka_unit_test(building_and_freeing_leaks_nothing),
        cmocka_unit_test(every_failing_allocation_is_reported_and_leaks_nothing),
        cmocka_unit_test(state_goes_from_one_network_to_another),
        cmocka_unit_test(another_networks_state_is_refused_whole),
        cmocka_unit_test(a_users_layer_works_and_is_destroyed_once),
        cmocka_unit_test(a_users_layer_that_fails_is_reported),
        cmocka_unit_test(errors_of_inputs_pass_through),
        cmocka_unit_test(parts_lie_on_a_device_and_go_to_those_there_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
