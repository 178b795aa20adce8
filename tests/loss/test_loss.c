/* Losses: values, gradients, the component behind them. */
#include "support.h"

#include <math.h>
#include <nacre/nacre.h>
#include <string.h>

static nacre_tensor *matrix(const float *data, int64_t rows, int64_t columns) {
    return nacre_from_data(data, NACRE_SHAPE(rows, columns), .dtype = NACRE_F32);
}

static nacre_tensor *classes(const int64_t *data, int64_t count) {
    return nacre_from_data(data, NACRE_SHAPE(count), .dtype = NACRE_I64);
}

/* log(1 + e^-1) = 0.31326..., log(1 + e^2) = 2.12692... by hand. */
static void cross_entropy_is_right_for_indices_and_one_hot(void **state) {
    (void)state;
    nacre_loss *loss = nacre_cross_entropy();
    nacre_tensor *z = matrix((float[]){1, 0, 2, 0}, 2, 2);
    double wanted = (0.31326168751822286 + 2.1269280110429727) / 2;
    nacre_tensor *index = classes((int64_t[]){0, 1}, 2);
    assert_true(fabs(nacre_item(nacre_loss_compute(loss, z, index)) - wanted) < 1e-6);
    nacre_tensor *one_hot = matrix((float[]){1, 0, 0, 1}, 2, 2);
    assert_true(fabs(nacre_item(nacre_loss_compute(loss, z, one_hot)) - wanted) < 1e-6);
    nacre_loss_free(loss);
}

static void cross_entropy_survives_huge_logits(void **state) {
    (void)state;
    nacre_loss *loss = nacre_cross_entropy();
    nacre_tensor *z = matrix((float[]){1e4f, -1e4f, 0, -1e4f, 1e4f, 0}, 2, 3);
    nacre_tensor *right = nacre_loss_compute(loss, z, classes((int64_t[]){0, 1}, 2));
    nacre_tensor *wrong = nacre_loss_compute(loss, z, classes((int64_t[]){1, 0}, 2));
    assert_true(nacre_item(right) == 0);
    assert_true(nacre_item(wrong) == 2e4);
    nacre_loss_free(loss);
}

static void mse_is_the_mean_over_all_elements(void **state) {
    (void)state;
    nacre_loss *loss = nacre_mse();
    nacre_tensor *p = matrix((float[]){1, 2, 3, 4}, 2, 2), *t = matrix((float[]){1, 0, 3, 8}, 2, 2);
    assert_true(nacre_item(nacre_loss_compute(loss, p, t)) == 5);
    const float *g = nacre_data(nacre_loss_backward(loss, p, t));
    const float wanted[] = {0, 1, 0, -2};
    assert_memory_equal(g, wanted, sizeof wanted);
    nacre_loss_free(loss);
}

/* Autograd, the hand-written gradient and central differences. */
static void check_gradient(nacre_loss *loss, nacre_tensor *target, nacre_shape shape) {
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *p = nacre_detach(nacre_randn(shape));
    assert_int_equal(nacre_eval(p), NACRE_OK);
    nacre_requires_grad(p, true);
    assert_int_equal(nacre_backward(nacre_loss_compute(loss, p, target)), NACRE_OK);
    const float *automatic = nacre_data(nacre_grad(p));
    nacre_tensor *by_hand = nacre_loss_backward(loss, nacre_detach(p), target);
    const float *hand = nacre_data(by_hand), *values = nacre_data(p);
    assert_non_null(automatic);
    assert_non_null(hand);
    for (int64_t i = 0; i < nacre_numel(p); i++) {
        assert_true(fabsf(automatic[i] - hand[i]) < 1e-6f);
        double side[2];
        for (int k = 0; k < 2; k++) {
            double moved[64];
            for (int64_t j = 0; j < nacre_numel(p); j++) {
                moved[j] = values[j] + (j == i ? (k ? -1e-5 : 1e-5) : 0);
            }
            nacre_tensor *q = nacre_from_data(moved, shape, .dtype = NACRE_F64);
            nacre_tensor *t =
                nacre_dtype_of(target) == NACRE_F32 ? nacre_cast(target, NACRE_F64) : target;
            side[k] = nacre_item(nacre_loss_compute(loss, q, t));
        }
        assert_true(fabs((side[0] - side[1]) / 2e-5 - hand[i]) < 1e-6);
    }
    nacre_scope_end(scope);
    nacre_loss_free(loss);
}

static void gradients_are_numerically_right(void **state) {
    (void)state;
    check_gradient(nacre_cross_entropy(), classes((int64_t[]){3, 0, 1}, 3), NACRE_SHAPE(3, 4));
    nacre_tensor *soft = nacre_f_softmax(nacre_randn(NACRE_SHAPE(3, 4)), -1);
    assert_int_equal(nacre_eval(soft), NACRE_OK);
    check_gradient(nacre_cross_entropy(), soft, NACRE_SHAPE(3, 4));
    check_gradient(nacre_mse(), soft, NACRE_SHAPE(3, 4));
}

static void mismatched_targets_are_reported(void **state) {
    (void)state;
    nacre_loss *ce = nacre_cross_entropy(), *mse = nacre_mse();
    nacre_tensor *z = nacre_zeros(NACRE_SHAPE(2, 3));
    assert_true(nacre_is_error(nacre_loss_compute(ce, z, classes((int64_t[]){0, 1, 2}, 3))));
    assert_true(nacre_is_error(nacre_loss_compute(mse, z, nacre_zeros(NACRE_SHAPE(2, 4)))));
    assert_true(nacre_is_error(nacre_loss_compute(ce, z, NULL)));
    assert_true(nacre_is_error(nacre_loss_compute(NULL, z, z)));
    assert_int_not_equal(nacre_eval(nacre_loss_compute(ce, z, classes((int64_t[]){0, 3}, 2))),
                         NACRE_OK);
    assert_int_equal(nacre_error_code(), NACRE_OUT_OF_RANGE);
    nacre_error_clear();
    nacre_loss_free(ce);
    nacre_loss_free(mse);
}

static void a_loss_is_a_component_without_parameters_and_with_a_mode(void **state) {
    (void)state;
    nacre_loss *losses[] = {nacre_cross_entropy(), nacre_mse()};
    for (int i = 0; i < 2; i++) {
        nacre_module *module = nacre_loss_module(losses[i]);
        assert_int_equal(nacre_module_parameter_count(module), 0);
        nacre_module_set_mode(module, NACRE_EVAL);
        assert_int_equal(nacre_module_mode(module), NACRE_EVAL);
        assert_string_equal(nacre_module_kind(module), nacre_loss_kind(losses[i]));
        assert_true(nacre_is_error(nacre_module_forward(module, nacre_zeros(NACRE_SHAPE(1)))));
        nacre_loss_free(losses[i]);
    }
    assert_int_equal(nacre_loss_status(NULL), NACRE_INVALID_ARGUMENT);
    nacre_loss_free(NULL);
}

/* ---- a loss with a parameter of its own: mean(scale (p - t)^2) ---- */

typedef struct scaled {
    nacre_tensor *scale;
} scaled;

static nacre_tensor *scaled_compute(void *self, nacre_tensor *prediction, nacre_tensor *target) {
    nacre_tensor *d = nacre_sub(prediction, target);
    return nacre_mul(nacre_mean(nacre_mul(d, d)), ((scaled *)self)->scale);
}

static nacre_loss *scaled_loss(scaled *self) {
    const nacre_loss_class class_ = {
        .size = sizeof class_, .name = "Scaled", .compute = scaled_compute};
    nacre_loss *loss = nacre_loss_new(&class_, self);
    self->scale =
        nacre_module_parameter(nacre_loss_module(loss), "scale", NACRE_SCALAR, NACRE_INIT_ONES);
    assert_int_equal(nacre_module_init(nacre_loss_module(loss), 1), NACRE_OK);
    return loss;
}

static void a_stateful_loss_has_parameters_gradients_and_a_state(void **state) {
    (void)state;
    scaled a, b;
    nacre_loss *first = scaled_loss(&a), *second = scaled_loss(&b);
    assert_int_equal(nacre_module_parameter_count(nacre_loss_module(first)), 1);
    assert_int_equal(nacre_copy_from(a.scale, &(float){3}, sizeof(float)), NACRE_OK);
    nacre_state_dict *dict = nacre_module_state(nacre_loss_module(first));
    assert_int_equal(nacre_module_load_state(nacre_loss_module(second), dict), NACRE_OK);
    assert_true(nacre_item(b.scale) == 3);
    nacre_state_dict_free(dict);

    nacre_tensor *p = matrix((float[]){1, 2}, 1, 2), *t = matrix((float[]){0, 0}, 1, 2);
    assert_true(nacre_item(nacre_loss_compute(second, p, t)) == 7.5);
    const float *g = nacre_data(nacre_loss_backward(second, p, t));
    assert_true(g[0] == 3 && g[1] == 6);
    assert_true(nacre_item(nacre_grad(b.scale)) == 2.5);
    nacre_loss_free(first);
    nacre_loss_free(second);
}

static void a_models_optimizer_trains_the_losses_parameters(void **state) {
    (void)state;
    scaled self;
    nacre_loss *loss = scaled_loss(&self);
    nacre_model *model = nacre_model_new(nacre_linear(2, 1), loss, nacre_sgd(.lr = 0.1));
    assert_int_equal(nacre_model_status(model), NACRE_OK);
    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, y[4] = {1, 1, 1, 1};
    nacre_dataset *set =
        nacre_dataset_from_arrays(&(nacre_arrays_options){.size = sizeof(nacre_arrays_options),
                                                          .inputs = x,
                                                          .input_shape = NACRE_SHAPE(2),
                                                          .input_dtype = NACRE_F32,
                                                          .targets = y,
                                                          .target_shape = NACRE_SHAPE(1),
                                                          .target_dtype = NACRE_F32,
                                                          .count = 4});
    nacre_history *history = nacre_fit(model, set, .batch_size = 4);
    assert_non_null(history);
    assert_int_equal(history->outcome, NACRE_FIT_DONE);
    assert_true(nacre_item(self.scale) < 1);
    nacre_history_free(history);
    nacre_dataset_free(set);
    nacre_model_free(model);
}

/* ---- the network before a loss ---- */

static void cross_entropy_takes_a_final_softmax_away(void **state) {
    (void)state;
    nacre_model *model = nacre_model_new(
        nacre_sequential(nacre_flatten(), nacre_sequential(nacre_linear(4, 3), nacre_softmax(-1))),
        nacre_cross_entropy(), nacre_sgd(0));
    assert_int_equal(nacre_model_status(model), NACRE_OK);
    nacre_module *inner = nacre_module_child(nacre_model_network(model), 1);
    assert_int_equal(nacre_module_child_count(inner), 1);
    assert_string_equal(nacre_module_kind(nacre_module_child(inner, 0)), "Linear");
    nacre_model_free(model);
}

static void other_networks_and_losses_are_left_alone(void **state) {
    (void)state;
    nacre_model *model = nacre_model_new(nacre_sequential(nacre_softmax(-1), nacre_linear(4, 3)),
                                         nacre_cross_entropy(), nacre_sgd(0));
    assert_int_equal(nacre_module_child_count(nacre_model_network(model)), 2);
    nacre_model_free(model);
    model = nacre_model_new(nacre_sequential(nacre_linear(4, 3), nacre_softmax(-1)), nacre_mse(),
                            nacre_sgd(0));
    assert_int_equal(nacre_module_child_count(nacre_model_network(model)), 2);
    nacre_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cross_entropy_is_right_for_indices_and_one_hot),
        cmocka_unit_test(cross_entropy_survives_huge_logits),
        cmocka_unit_test(mse_is_the_mean_over_all_elements),
        cmocka_unit_test(gradients_are_numerically_right),
        cmocka_unit_test(mismatched_targets_are_reported),
        cmocka_unit_test(a_loss_is_a_component_without_parameters_and_with_a_mode),
        cmocka_unit_test(a_stateful_loss_has_parameters_gradients_and_a_state),
        cmocka_unit_test(a_models_optimizer_trains_the_losses_parameters),
        cmocka_unit_test(cross_entropy_takes_a_final_softmax_away),
        cmocka_unit_test(other_networks_and_losses_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
