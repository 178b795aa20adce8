/* The table of layers. */
#include "support.h"

#include <nacre/nacre.h>
#include <string.h>

static nacre_module *mnist_network(void) {
    return nacre_sequential(nacre_flatten(), nacre_mlp((int64_t[]){784, 128, 128, 128, 10}, 5));
}

static void the_table_has_a_line_per_layer_and_totals(void **state) {
    (void)state;
    nacre_module *net = mnist_network();
    char *text = nacre_module_summary(net, NACRE_SHAPE(28, 28));
    assert_non_null(text);
    const char *const wanted[] = {"for one input of shape [28,28]",
                                  "Layer",
                                  "0 Flatten",
                                  "[784]",
                                  "1.0 Linear",
                                  "100,480",
                                  "200,832",
                                  "in=784, out=128",
                                  "1.6 Linear",
                                  "1,290",
                                  "Total",
                                  "134,794"};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (!strstr(text, wanted[i])) {
            fail_msg("\"%s\" is missing in\n%s", wanted[i], text);
        }
    }
    nacre_text_release(text);
    nacre_module_free(net);
}

static void the_json_holds_the_same_numbers(void **state) {
    (void)state;
    nacre_module *net = mnist_network();
    char *text = nacre_module_summary_json(net, NACRE_SHAPE(28, 28));
    assert_non_null(text);
    assert_non_null(strstr(text, "{\"kind\":\"Sequential\",\"input\":[28,28],\"layers\":[{\"name\":"
                                 "\"0\",\"kind\":\"Flatten\",\"detail\":\"\",\"output\":[784],"
                                 "\"parameters\":0,\"flops\":0},"));
    assert_non_null(strstr(text, "\"detail\":\"in=784, out=128\",\"output\":[128],"
                                 "\"parameters\":100480,\"flops\":200832}"));
    /* 2 (784 128 + 2 128 128 + 128 10) + biases 394 + ReLUs 384 */
    assert_non_null(strstr(text, "],\"parameters\":134794,\"flops\":269578}"));
    nacre_text_release(text);
    nacre_module_free(net);
}

static void a_summary_computes_nothing_and_changes_nothing(void **state) {
    (void)state;
    nacre_module *net = mnist_network();
    nacre_module_set_mode(net, NACRE_TRAIN);
    nacre_plan_stats before = nacre_plan_statistics();
    nacre_text_release(nacre_module_summary(net, NACRE_SHAPE(28, 28)));
    nacre_plan_stats after = nacre_plan_statistics();
    assert_int_equal(before.made + before.replays, after.made + after.replays);
    assert_int_equal(after.pending, before.pending);
    assert_int_equal(nacre_module_mode(nacre_module_child(net, 1)), NACRE_TRAIN);
    nacre_module_free(net);
}

static void an_input_that_does_not_fit_is_reported(void **state) {
    (void)state;
    nacre_module *net = mnist_network();
    assert_null(nacre_module_summary(net, NACRE_SHAPE(28, 27)));
    assert_int_equal(nacre_error_code(), NACRE_SHAPE_MISMATCH);
    assert_null(nacre_module_summary_json(net, NACRE_SHAPE(-1)));
    assert_int_equal(nacre_error_code(), NACRE_INVALID_ARGUMENT);
    assert_null(nacre_module_summary(NULL, NACRE_SHAPE(1)));
    nacre_module_free(net);
}

static nacre_tensor *same(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module, (void)self;
    return x;
}

static void odd(const void *self, char *text, size_t size) {
    (void)self;
    strncpy(text, "\"a\\b\"\n", size);
}

static void odd_descriptions_are_escaped(void **state) {
    (void)state;
    const nacre_module_class class_ = {
        .size = sizeof class_, .name = "Odd", .forward = same, .describe = odd};
    nacre_module *net = nacre_module_new(&class_, NULL);
    char *text = nacre_module_summary_json(net, NACRE_SHAPE(2));
    assert_non_null(text);
    assert_non_null(strstr(text, "\"detail\":\"\\\"a\\\\b\\\"\\u000a\""));
    nacre_text_release(text);
    nacre_module_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_has_a_line_per_layer_and_totals),
        cmocka_unit_test(the_json_holds_the_same_numbers),
        cmocka_unit_test(a_summary_computes_nothing_and_changes_nothing),
        cmocka_unit_test(an_input_that_does_not_fit_is_reported),
        cmocka_unit_test(odd_descriptions_are_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
