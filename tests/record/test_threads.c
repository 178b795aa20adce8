/* A value that is not computed belongs to the thread that recorded it: every other one refuses it, by name, and nothing
   changes; once computed it is anybody's. */
#include "support.h"

#include "base/memory.h"

#include <nacre/grad.h>
#include <nacre/nacre.h>
#include <pthread.h>
#include <string.h>

/* ---- what another thread is handed ---- */

enum { MOST = 2 };

typedef struct visit {
    nacre_tensor *given[MOST];
    bool (*look)(struct visit *visit); /* on the other thread; true: as it should be */
    bool good;
    char message[256]; /* of the last error there */
} visit;

static void *other_thread(void *context) {
    visit *v = context;
    nacre_scope scope = nacre_scope_begin();
    v->good = v->look(v);
    snprintf(v->message, sizeof v->message, "%s", nacre_error_message());
    v->good &= nacre_scope_end(scope) == NACRE_OK;
    return NULL;
}

static void look_elsewhere(visit *v) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, other_thread, v), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    if (!v->good) {
        fail_msg("the other thread: %s", v->message);
    }
}

/* One clear line: the op, where it was recorded, and what to do. */
static void assert_refused(const visit *v, const char *op) {
    assert_ptr_equal(strstr(v->message, op), v->message);
    assert_non_null(strstr(v->message, "recorded on another thread and not computed yet"));
    assert_non_null(strstr(v->message, "nacre_eval"));
    assert_non_null(strstr(v->message, "(test_threads.c:"));
}

static bool refused(nacre_status status) { return status == NACRE_INVALID_STATE; }

/* ---- reading ---- */

static bool is_not_read(visit *v) {
    nacre_tensor *t = v->given[0];
    float out[3] = {7, 7, 7};
    bool good = refused(nacre_eval(t)) && !nacre_data(t) && refused(nacre_error_code());
    good &= refused(nacre_copy_to(t, out, sizeof out)) && out[0] == 7 && out[2] == 7;
    nacre_error_clear();
    nacre_item(t);
    good &= refused(nacre_error_code());
    nacre_error_clear();
    good &= !nacre_explain(t) && refused(nacre_error_code());
    return good;
}

static void is_neither_evaluated_nor_explained_elsewhere(void **state) {
    (void)state;
    nacre_tensor *one = nacre_ones(NACRE_SHAPE(3));
    visit v = {.given = {nacre_add(one, nacre_ones(NACRE_SHAPE(3)))}, .look = is_not_read};
    nacre_plan_stats before = nacre_plan_statistics();
    look_elsewhere(&v);
    assert_refused(&v, "add: ");
    nacre_plan_stats after = nacre_plan_statistics();
    assert_int_equal(after.pending, before.pending);
    assert_float_equal(((const float *)nacre_data(v.given[0]))[2], 2, 0);
}

/* What is asked for together with a foreign value stays as it was too, and so does what was assigned. */
static bool leaves_its_own_work_alone(visit *v) {
    const float values[2] = {3, 4};
    nacre_tensor *p = nacre_from_data(values, NACRE_SHAPE(2));
    nacre_tensor *own = nacre_mul_scalar(p, 10);
    bool good = nacre_assign(p, nacre_add_scalar(p, 1)) == NACRE_OK;
    good &= refused(nacre_eval_all((nacre_tensor *[]){own, v->given[0]}, 2));
    const float *read = nacre_data(own), *assigned = nacre_data(p);
    return good && read && read[1] == 40 && assigned && assigned[0] == 4;
}

static void a_refusal_changes_nothing_of_the_asker(void **state) {
    (void)state;
    visit v = {.given = {nacre_add_scalar(nacre_ones(NACRE_SHAPE(2)), 1)},
               .look = leaves_its_own_work_alone};
    look_elsewhere(&v);
    assert_refused(&v, "add");
}

/* ---- as an input ---- */

static bool is_no_input(visit *v) {
    nacre_tensor *own = nacre_ones(NACRE_SHAPE(2)), *t = v->given[0];
    nacre_tensor *sum = nacre_add(own, t);
    bool good = nacre_is_error(sum) && refused(nacre_tensor_status(sum));
    good &= nacre_is_error(nacre_detach(t));
    good &= refused(nacre_assign(own, t)) && refused(nacre_assign(t, own));
    const float zeros[2] = {0, 0};
    good &= refused(nacre_copy_from(t, zeros, sizeof zeros));
    nacre_keep(t);
    return good && nacre_item(nacre_sum(own)) == 2;
}

static void is_no_input_elsewhere(void **state) {
    (void)state;
    visit v = {.given = {nacre_add_scalar(nacre_ones(NACRE_SHAPE(2)), 1)}, .look = is_no_input};
    look_elsewhere(&v);
    assert_refused(&v, "add");
    assert_float_equal(((const float *)nacre_data(v.given[0]))[0], 2, 0);
}

/* An assignment that is not computed yet: the variable is its thread's too. */
static bool is_not_assigned_to(visit *v) {
    nacre_tensor *own = nacre_ones(NACRE_SHAPE(2));
    return refused(nacre_assign(v->given[0], own)) && refused(nacre_eval(v->given[0]));
}

static void a_pending_assignment_belongs_to_its_thread(void **state) {
    (void)state;
    const float values[2] = {1, 2};
    nacre_tensor *p = nacre_from_data(values, NACRE_SHAPE(2));
    assert_int_equal(nacre_assign(p, nacre_mul_scalar(p, 5)), NACRE_OK);
    visit v = {.given = {p}, .look = is_not_assigned_to};
    look_elsewhere(&v);
    assert_refused(&v, "mul");
    assert_float_equal(((const float *)nacre_data(p))[1], 10, 0);
}

/* ---- gradients ---- */

static bool has_no_gradient_there(visit *v) {
    nacre_tensor *loss = v->given[0], *w = v->given[1], *gradient;
    bool good = refused(nacre_backward(loss)) && !nacre_has_grad(w);
    return good & refused(nacre_gradients(loss, &w, 1, &gradient));
}

static void is_not_differentiated_elsewhere(void **state) {
    (void)state;
    nacre_tensor *w = nacre_requires_grad(nacre_full(NACRE_SHAPE(3), 2.0), true);
    assert_int_equal(nacre_eval(w), NACRE_OK);
    visit v = {.given = {nacre_sum(nacre_mul(w, w)), w}, .look = has_no_gradient_there};
    look_elsewhere(&v);
    assert_refused(&v, "sum: ");
    assert_int_equal(nacre_backward(v.given[0]), NACRE_OK);
    assert_float_equal(((const float *)nacre_data(nacre_grad(w)))[1], 4, 0);
}

/* ---- once computed ---- */

static bool is_read(visit *v) {
    return nacre_item(nacre_sum(nacre_mul_scalar(v->given[0], 2))) == 12;
}

static void is_anybodys_once_computed(void **state) {
    (void)state;
    visit v = {.given = {nacre_add_scalar(nacre_ones(NACRE_SHAPE(3)), 1)}, .look = is_read};
    assert_int_equal(nacre_eval(v.given[0]), NACRE_OK);
    look_elsewhere(&v);
}

/* ---- a thread that has ended ---- */

static bool leaves_something_behind(visit *v) {
    v->given[0] = nacre_retain(nacre_add_scalar(nacre_ones(NACRE_SHAPE(3)), 1));
    return !nacre_is_error(v->given[0]);
}

static void what_an_ended_thread_left_is_refused(void **state) {
    (void)state;
    visit v = {.look = leaves_something_behind};
    look_elsewhere(&v);
    nacre_tensor *own = nacre_ones(NACRE_SHAPE(3));
    assert_int_equal(nacre_eval(v.given[0]), NACRE_INVALID_STATE);
    assert_true(nacre_is_error(nacre_add(own, v.given[0])));
    nacre_release(v.given[0]);
    assert_float_equal(nacre_item(nacre_sum(own)), 3, 0);
}

static nacre_tensor *shared;

static void *assign_and_end(void *unused) {
    (void)unused;
    nacre_assign(shared, nacre_mul_scalar(shared, 2));
    return NULL;
}

/* In no scope, whose end would have evaluated it. */
static void what_an_ended_thread_assigned_is_undone(void **state) {
    (void)state;
    shared = nacre_ones(NACRE_SHAPE(3));
    assert_int_equal(nacre_eval(shared), NACRE_OK);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, assign_and_end, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_float_equal(nacre_item(nacre_sum(shared)), 3, 0);
    assert_int_equal(nacre_assign(shared, nacre_add_scalar(shared, 4)), NACRE_OK);
    assert_float_equal(nacre_item(nacre_sum(shared)), 15, 0);
}

static void *leave_tensors(void *unused) {
    (void)unused;
    const float zeros[16] = {0};
    nacre_scope scope = nacre_scope_begin(); /* whose end gives blocks back, as the thread's will */
    nacre_from_data(zeros, NACRE_SHAPE(16));
    nacre_scope_end(scope);
    for (int i = 0; i < 32; i++) {
        nacre_from_data(zeros, NACRE_SHAPE(16));
    }
    return NULL;
}

static void ended_threads_keep_no_memory(void **state) {
    (void)state;
    enum { WARM = 4, THREADS = 40, SLACK = 200 };
    uint64_t blocks = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, leave_tensors, NULL), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        blocks = i == WARM ? nacre_memory().live_blocks : blocks;
    }
    /* Each would have left the blocks of 32 tensors. */
    assert_true(nacre_memory().live_blocks <= blocks + SLACK);
}

int main(void) {
    /* The order in which threads clean up follows that of first uses: the pool's lists first, as where data is the
       first that a program makes. */
    nacre_pool_give(nacre_pool_take(64), 64);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_neither_evaluated_nor_explained_elsewhere),
        cmocka_unit_test(a_refusal_changes_nothing_of_the_asker),
        cmocka_unit_test(is_no_input_elsewhere),
        cmocka_unit_test(a_pending_assignment_belongs_to_its_thread),
        cmocka_unit_test(is_not_differentiated_elsewhere),
        cmocka_unit_test(is_anybodys_once_computed),
        cmocka_unit_test(what_an_ended_thread_left_is_refused),
        cmocka_unit_test(what_an_ended_thread_assigned_is_undone),
        cmocka_unit_test(ended_threads_keep_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
