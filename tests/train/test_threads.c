/* A model is made on one thread and used by others, one after the other: nothing of it is left pending between calls. */
#include "toy.h"

#include <pthread.h>

typedef struct turn {
    nacre_model *model;
    nacre_dataset *set;
    bool fitted, predicted, stepped;
} turn;

static nacre_status step_by_hand(nacre_model *model, nacre_tensor *x) {
    nacre_tensor *y = nacre_module_forward(nacre_model_network(model), x);
    nacre_tensor *loss = nacre_mean(nacre_mul(y, y));
    nacre_status status = nacre_backward(loss);
    status = status ? status : nacre_step(nacre_model_optimizer(model));
    return status ? status : nacre_eval(loss);
}

static void *take_turn(void *context) {
    turn *t = context;
    nacre_scope scope = nacre_scope_begin();
    nacre_history *h = nacre_fit(t->model, t->set, .epochs = 2, .batch_size = 8);
    t->fitted = h && h->outcome == NACRE_FIT_DONE;
    nacre_history_free(h);
    nacre_tensor *x = nacre_full(NACRE_SHAPE(2, TOY_IN), 0.5);
    t->predicted = !nacre_is_error(nacre_predict(t->model, x));
    t->stepped = step_by_hand(t->model, x) == NACRE_OK;
    t->stepped &= nacre_scope_end(scope) == NACRE_OK;
    return NULL;
}

static void check(const turn *t) { assert_true(t->fitted && t->predicted && t->stepped); }

static void threads_take_turns_with_a_model(void **state) {
    (void)state;
    nacre_optimizer *optimizers[] = {nacre_adam(.lr = 0.01), nacre_sgd(.lr = 0.1, .momentum = 0.9)};
    for (int i = 0; i < 2; i++) {
        turn t = {.model = toy_model(optimizers[i]), .set = toy_set(24, false)};
        for (int k = 0; k < 2; k++) {
            pthread_t thread;
            assert_int_equal(pthread_create(&thread, NULL, take_turn, &t), 0);
            assert_int_equal(pthread_join(thread, NULL), 0);
            check(&t);
            take_turn(&t);
            check(&t);
        }
        nacre_model_free(t.model);
        nacre_dataset_free(t.set);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_take_turns_with_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
