/* Buffers and tied parameters: who owns them, and how they are saved and loaded. */
#include "support.h"

#include <nacre/nacre.h>
#include <string.h>

static nacre_tensor *identity(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module, (void)self;
    return x;
}

static nacre_module *empty_layer(void) {
    const nacre_module_class class_ = {.size = sizeof class_, .name = "Empty", .forward = identity};
    return nacre_module_new(&class_, NULL);
}

static void set(nacre_tensor *t, const float *data, size_t count) {
    assert_int_equal(nacre_copy_from(t, data, count * sizeof *data), NACRE_OK);
}

static void assert_values(nacre_tensor *t, const float *wanted, size_t count) {
    assert_int_equal(nacre_numel(t), count);
    assert_memory_equal(nacre_data(t), wanted, count * sizeof *wanted);
}

/* ---- buffers ---- */

static void buffers_start_at_their_value_and_are_not_trained(void **state) {
    (void)state;
    nacre_module *layer = empty_layer(), *net = nacre_sequential(layer, nacre_linear(2, 2));
    nacre_tensor *b = nacre_module_buffer(layer, "threshold", NACRE_SHAPE(3), 0, 0.5);
    nacre_tensor *n = nacre_module_buffer(layer, "seen", NACRE_SCALAR, NACRE_I64, 7);
    assert_values(b, (float[]){0.5f, 0.5f, 0.5f}, 3);
    assert_true(nacre_item_i64(n) == 7);
    assert_false(nacre_has_requires_grad(b));
    assert_int_equal(nacre_module_buffer_count(net), 2);
    assert_int_equal(nacre_module_parameter_count(net), 2);
    assert_string_equal(nacre_module_buffer_name(net, 0), "0.threshold");
    assert_true(nacre_module_buffer_at(net, 1) == n);
    assert_null(nacre_module_buffer_at(net, 2));
    assert_null(nacre_module_buffer_name(net, 2));
    assert_int_equal(nacre_module_buffer_count(NULL), 0);
    assert_int_equal(nacre_assign(b, nacre_mul_scalar(b, 3)), NACRE_OK);
    assert_values(b, (float[]){1.5f, 1.5f, 1.5f}, 3);
    assert_int_equal(nacre_module_init(net, 1), NACRE_OK);
    assert_values(b, (float[]){0.5f, 0.5f, 0.5f}, 3);
    nacre_module_free(net);
}

static void bad_buffers_are_refused(void **state) {
    (void)state;
    nacre_module *layer = empty_layer();
    nacre_module_buffer(layer, "a", NACRE_SHAPE(2), (nacre_dtype)99, 0);
    assert_string_equal(nacre_module_message(layer), "Empty: buffer \"a\": no such dtype: 99");
    nacre_module_free(layer);
    layer = empty_layer();
    nacre_module_buffer(layer, "a", NACRE_SHAPE(-2), NACRE_F32, 0);
    assert_int_equal(nacre_module_status(layer), NACRE_INVALID_ARGUMENT);
    nacre_module_free(layer);
    layer = empty_layer();
    nacre_module_parameter(layer, "a", NACRE_SHAPE(2), NACRE_INIT_ZEROS);
    nacre_module_buffer(layer, "a", NACRE_SHAPE(2), NACRE_F32, 0);
    assert_string_equal(nacre_module_message(layer), "Empty: there is a parameter \"a\" already");
    nacre_module_free(layer);
    assert_true(nacre_is_error(nacre_module_buffer(NULL, "a", NACRE_SHAPE(2), NACRE_F32, 0)));
}

/* ---- tied parameters ---- */

/* x W^T V^T with V = W: a linear autoencoder whose decoder is tied to another Linear of its shape. */
static nacre_module *tied_network(void) {
    nacre_module *encoder = nacre_linear(2, 2, .no_bias = true);
    nacre_module *decoder =
        nacre_linear(2, 2, .no_bias = true, .weight = nacre_module_parameter_at(encoder, 0));
    return nacre_sequential(encoder, decoder);
}

static void a_tied_parameter_is_one(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_module *net = tied_network();
    assert_int_equal(nacre_module_status(net), NACRE_OK);
    assert_int_equal(nacre_module_init(net, 1), NACRE_OK);
    assert_int_equal(nacre_module_parameter_count(net), 1);
    nacre_tensor *w = nacre_module_parameter_at(net, 0);
    set(w, (float[]){1, 2, 3, 4}, 4);
    nacre_tensor *x = nacre_from_data(((float[]){1, 0}), NACRE_SHAPE(1, 2));
    nacre_tensor *y = nacre_module_forward(net, x);
    assert_values(y, (float[]){7, 15}, 2);

    /* d sum(W W x) / dW = (W^T 1) x^T + 1 (W x)^T, whichever way. */
    nacre_tensor *dy = nacre_ones(NACRE_SHAPE(1, 2));
    assert_int_equal(nacre_backward_from(y, dy), NACRE_OK);
    assert_values(nacre_grad(w), (float[]){4 + 1, 3, 6 + 1, 3}, 4);
    nacre_module_zero_grad(net);
    assert_false(nacre_has_grad(w));
    assert_values(nacre_module_backward(net, x, y, dy), (float[]){22, 32}, 2);
    assert_values(nacre_grad(w), (float[]){5, 3, 7, 3}, 4);

    /* One update, not two. */
    nacre_optimizer *sgd = nacre_sgd(.lr = 1);
    assert_int_equal(nacre_optimizer_bind(sgd, net), NACRE_OK);
    assert_int_equal(nacre_step(sgd), NACRE_OK);
    assert_values(w, (float[]){-4, -1, -4, 1}, 4);
    nacre_optimizer_free(sgd);
    nacre_module_free(net);
    nacre_scope_end(scope);
}

/* A class without a backward of its own must not forget what it is tied to. */
static nacre_tensor *times_tied(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module;
    return nacre_mul(x, *(nacre_tensor **)self);
}

static void autograd_finds_tied_parameters(void **state) {
    (void)state;
    static nacre_tensor *shared;
    const nacre_module_class class_ = {
        .size = sizeof class_, .name = "Times", .forward = times_tied};
    nacre_module *first = nacre_module_new(&class_, &shared);
    nacre_module *second = nacre_module_new(&class_, &shared);
    shared = nacre_module_parameter(first, "gain", NACRE_SHAPE(2), NACRE_INIT_ONES);
    assert_true(nacre_module_tie(second, "gain", shared) == shared);
    nacre_module *net = nacre_sequential(first, second);
    set(shared, (float[]){2, 3}, 2);
    nacre_tensor *x = nacre_ones(NACRE_SHAPE(1, 2)), *y = nacre_module_forward(net, x);
    nacre_tensor *dx = nacre_module_backward(net, x, y, nacre_ones(NACRE_SHAPE(1, 2)));
    assert_values(dx, (float[]){4, 9}, 2);
    assert_values(nacre_grad(shared), (float[]){4, 6}, 2);
    nacre_module_zero_grad(net);
    nacre_module_free(net);
}

static nacre_state_dict *dict_of(const char *a, const float *x, const char *b, const float *y) {
    nacre_state_dict *dict = nacre_state_dict_new();
    nacre_state_dict_add(dict, a, nacre_from_data(x, NACRE_SHAPE(2, 2)));
    if (b) {
        nacre_state_dict_add(dict, b, nacre_from_data(y, NACRE_SHAPE(2, 2)));
    }
    return dict;
}

static void a_tied_parameter_is_saved_once_and_loaded_by_either_name(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_module *net = tied_network();
    nacre_tensor *w = nacre_module_parameter_at(net, 0);
    nacre_state_dict *dict = nacre_module_state(net);
    assert_int_equal(nacre_state_dict_count(dict), 1);
    assert_string_equal(nacre_state_dict_name(dict, 0), "0.weight");
    assert_int_equal(nacre_module_load_state(net, dict), NACRE_OK);
    nacre_state_dict_free(dict);
    const float a[] = {1, 2, 3, 4}, b[] = {5, 6, 7, 8};
    dict = dict_of("1.weight", a, NULL, NULL);
    assert_int_equal(nacre_module_load_state(net, dict), NACRE_OK);
    assert_values(w, a, 4);
    nacre_state_dict_free(dict);
    dict = dict_of("1.weight", b, "0.weight", b);
    assert_int_equal(nacre_module_load_state(net, dict), NACRE_OK);
    assert_values(w, b, 4);
    nacre_state_dict_free(dict);
    dict = dict_of("0.weight", a, "1.weight", b);
    assert_int_equal(nacre_module_load_state(net, dict), NACRE_INVALID_ARGUMENT);
    assert_string_equal(nacre_error_message(),
                        "load_state: \"0.weight\" and \"1.weight\" are one tensor here and two in "
                        "the state: leave one of them out");
    assert_values(w, b, 4);
    nacre_state_dict_free(dict);
    dict = nacre_state_dict_new();
    assert_int_equal(nacre_module_load_state(net, dict), NACRE_NOT_FOUND);
    assert_string_equal(nacre_error_message(), "load_state: \"0.weight\" is missing in the state");
    nacre_state_dict_free(dict);
    nacre_module_free(net);
    nacre_scope_end(scope);
}

static void what_cannot_be_tied_is_refused(void **state) {
    (void)state;
    nacre_module *owner = nacre_linear(2, 2);
    nacre_tensor *w = nacre_module_parameter_at(owner, 0);
    nacre_module *alone = nacre_linear(2, 2, .no_bias = true, .weight = w);
    assert_int_equal(nacre_module_init(alone, 1), NACRE_INVALID_STATE);
    assert_string_equal(nacre_error_message(),
                        "module_init: \"weight\" is tied to a parameter that is not in this "
                        "network: add the module that owns it");
    nacre_module_free(alone);
    nacre_module *wrong = nacre_linear(3, 2, .weight = w);
    assert_string_equal(nacre_module_message(wrong), "linear: the tied weight is [2,2], not [2,3]");
    nacre_module_free(wrong);
    wrong = empty_layer();
    assert_true(nacre_is_error(nacre_module_tie(wrong, "w", nacre_zeros(NACRE_SHAPE(2)))));
    assert_string_equal(nacre_module_message(wrong), "Empty: \"w\" is tied to a tensor that is no "
                                                     "parameter: give a parameter of another "
                                                     "module");
    nacre_module_free(wrong);
    wrong = empty_layer();
    assert_true(nacre_is_error(nacre_module_tie(wrong, "w", NULL)));
    assert_int_equal(nacre_module_status(wrong), NACRE_INVALID_ARGUMENT);
    nacre_module_free(wrong);
    assert_true(nacre_is_error(nacre_module_tie(NULL, "w", w)));
    nacre_module_free(owner);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_start_at_their_value_and_are_not_trained),
        cmocka_unit_test(bad_buffers_are_refused),
        cmocka_unit_test(a_tied_parameter_is_one),
        cmocka_unit_test(autograd_finds_tied_parameters),
        cmocka_unit_test(a_tied_parameter_is_saved_once_and_loaded_by_either_name),
        cmocka_unit_test(what_cannot_be_tied_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
