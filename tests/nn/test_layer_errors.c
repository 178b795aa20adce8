/* What goes wrong inside a network names the layer, by path and class, and the caller's line: never the library's. */
#include "support.h"

#include <nacre/nacre.h>
#include <stdio.h>
#include <string.h>

static const char here[] = "(test_layer_errors.c:";

static void assert_begins(const char *text, const char *beginning) {
    if (strncmp(text, beginning, strlen(beginning)) != 0)
        fail_msg("\"%s\" does not begin with \"%s\"", text, beginning);
}

/* One place at most, and it is in this file. */
static void assert_placed(const char *text, bool placed) {
    const char *c = strstr(text, ".c:");
    assert_int_equal(c != NULL, placed);
    if (placed) {
        assert_non_null(strstr(text, here));
        assert_null(strstr(c + 1, ".c:"));
    }
}

/* relu, relu, x + (conv) */
static nacre_module *deep_network(void) {
    return nacre_sequential(
        nacre_relu(), nacre_relu(),
        nacre_residual(nacre_sequential(nacre_conv2d(3, 3, {3, 3}, .padding = {1, 1})), NULL));
}

static void the_innermost_layer_is_named_by_its_path(void **state) {
    (void)state;
    nacre_module *net = deep_network();
    nacre_tensor *y = nacre_module_forward(net, nacre_zeros(NACRE_SHAPE(5, 28, 28)));
    assert_int_equal(nacre_tensor_status(y), NACRE_SHAPE_MISMATCH);
    assert_begins(nacre_tensor_message(y), "layer 2.body.0 (Conv2d): conv2d: ");
    assert_string_equal(nacre_error_message(), nacre_tensor_message(y));
    assert_placed(nacre_tensor_message(y), true);
    /* Later ops pass it on as it is. */
    nacre_tensor *loss = nacre_mean(nacre_mul(y, y));
    assert_string_equal(nacre_tensor_message(loss), nacre_tensor_message(y));
    /* And so does a network that is given it. */
    nacre_module *next = nacre_linear(2, 3);
    assert_string_equal(nacre_tensor_message(nacre_module_forward(next, loss)),
                        nacre_tensor_message(y));
    nacre_module_free(next);
    nacre_module_free(net);
}

static void a_call_without_a_line_names_none(void **state) {
    (void)state;
    nacre_module *net = deep_network();
    nacre_tensor *y = (nacre_module_forward)(net, nacre_zeros(NACRE_SHAPE(5, 28, 28)));
    assert_begins(nacre_tensor_message(y), "layer 2.body.0 (Conv2d): conv2d: ");
    assert_placed(nacre_tensor_message(y), false);
    assert_null(nacre_module_summary(net, NACRE_SHAPE(28, 28)));
    assert_begins(nacre_error_message(), "layer 2.body.0 (Conv2d): conv2d: ");
    assert_placed(nacre_error_message(), false);
    nacre_module_free(net);
}

static void a_layer_by_itself_and_a_network_have_no_path(void **state) {
    (void)state;
    nacre_module *linear = nacre_linear(4, 2), *wrong = nacre_residual(nacre_linear(2, 3), NULL);
    nacre_tensor *y = nacre_module_forward(linear, nacre_zeros(NACRE_SHAPE(2, 5)));
    assert_begins(nacre_tensor_message(y), "layer (Linear): linear: x is [2,5]");
    y = nacre_module_forward(wrong, nacre_zeros(NACRE_SHAPE(1, 2)));
    assert_begins(nacre_tensor_message(y),
                  "the network (Residual): residual: the body gives [1,3]");
    nacre_module_free(wrong);
    nacre_module_free(linear);
}

/* ---- layers of one's own ---- */

static int own_line;

static nacre_tensor *own_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module, (void)self;
    own_line = __LINE__ + 1;
    return nacre_add(x, nacre_ones(NACRE_SHAPE(7)));
}

static nacre_tensor *raising_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)self;
    return nacre_neg(nacre_module_forward(nacre_module_child(module, 0), x));
}

static void a_layer_of_ones_own_keeps_its_line(void **state) {
    (void)state;
    static const nacre_module_class own = {
        .size = sizeof own, .name = "Own", .forward = own_forward};
    static const nacre_module_class outer = {
        .size = sizeof outer, .name = "Outer", .forward = raising_forward};
    nacre_module *around = nacre_module_new(&outer, NULL);
    nacre_module_add(around, "inner", nacre_module_new(&own, NULL));
    nacre_module *net = nacre_sequential(nacre_relu(), around);
    nacre_tensor *y = nacre_module_forward(net, nacre_zeros(NACRE_SHAPE(2, 5)));
    char place[64];
    snprintf(place, sizeof place, "%s%d)", here, own_line);
    assert_begins(nacre_tensor_message(y), "layer 1.inner (Own): add: ");
    assert_non_null(strstr(nacre_tensor_message(y), place));
    assert_placed(nacre_tensor_message(y), true);
    nacre_module_free(net);
}

/* ---- found when it is evaluated ---- */

static void an_index_out_of_range_names_the_kind(void **state) {
    (void)state;
    nacre_module *net = nacre_sequential(nacre_embedding(5, 4), nacre_relu());
    assert_int_equal(nacre_module_init(net, 1), NACRE_OK);
    const int64_t index[3] = {0, 7, 1};
    nacre_tensor *x = nacre_from_data(index, NACRE_SHAPE(3), .dtype = NACRE_I64);
    assert_int_equal(nacre_eval(nacre_module_forward(net, x)), NACRE_OUT_OF_RANGE);
    assert_non_null(strstr(nacre_error_message(), "index 7 at position 1 is outside [0, 5)"));
    assert_non_null(strstr(nacre_error_message(), "(Embedding)"));
    assert_placed(nacre_error_message(), false);
    nacre_set_eager(true);
    nacre_tensor *y = nacre_module_forward(net, x);
    nacre_set_eager(false);
    assert_begins(nacre_tensor_message(y), "layer 0 (Embedding): ");
    nacre_module_free(net);

    nacre_loss *loss = nacre_cross_entropy();
    nacre_tensor *z = nacre_loss_compute(loss, nacre_zeros(NACRE_SHAPE(3, 5)), x);
    assert_int_equal(nacre_eval(z), NACRE_OUT_OF_RANGE);
    assert_non_null(strstr(nacre_error_message(), "(CrossEntropy)"));
    assert_placed(nacre_error_message(), false);
    nacre_loss_free(loss);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_innermost_layer_is_named_by_its_path),
        cmocka_unit_test(a_call_without_a_line_names_none),
        cmocka_unit_test(a_layer_by_itself_and_a_network_have_no_path),
        cmocka_unit_test(a_layer_of_ones_own_keeps_its_line),
        cmocka_unit_test(an_index_out_of_range_names_the_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
