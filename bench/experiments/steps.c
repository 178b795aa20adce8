/* Where the updates of a training step run: in the plan of the step itself, in one plan after the gradients, each
   in a plan of its own, or each operation at once. All start from the same weights and must stay equal to the bit.
   The updates of parameters alone are timed the same way, and as one flat array, which a true multi-tensor kernel
   would see. */
#include "experiments.h"

#include "base/clock.h"

#include <nacre/nacre.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The program's own workloads: one source, not in the library. */
#include "cli/workloads.c"

enum { CHECK_STEPS = 20, STEPS_EACH = 5, MOST_WAYS = 4 };

typedef enum update_way { IN_THE_STEP, ONE_PLAN, ONE_BY_ONE, EACH_OP } update_way;
static const char *const way_names[] = {"in the step's plan", "one plan after the gradients",
                                        "one by one", "every op at once"};

/* Parameters with Adam's state, outside of any scope. */
typedef struct state {
    size_t count;
    nacre_tensor **parameter, **m, **v;
    nacre_tensor *step;
} state;

static nacre_tensor *zeros_like(nacre_shape shape, nacre_dtype dtype) {
    return nacre_retain(nacre_zeros(shape, .dtype = dtype));
}

static bool state_new(state *s, size_t count) {
    *s = (state){.count = count};
    s->parameter = calloc(3 * count, sizeof *s->parameter);
    if (!s->parameter) {
        return false;
    }
    s->m = s->parameter + count;
    s->v = s->m + count;
    s->step = zeros_like(NACRE_SCALAR, NACRE_I64);
    return nacre_eval(s->step) == NACRE_OK;
}

static bool state_add(state *s, size_t i, nacre_tensor *parameter) {
    s->parameter[i] = nacre_retain(parameter);
    s->m[i] = zeros_like(nacre_shape_of(parameter), NACRE_F32);
    s->v[i] = zeros_like(nacre_shape_of(parameter), NACRE_F32);
    return nacre_eval(s->m[i]) == NACRE_OK && nacre_eval(s->v[i]) == NACRE_OK;
}

static void state_free(state *s) {
    for (size_t i = 0; i < 3 * s->count; i++) {
        nacre_release(s->parameter[i]);
    }
    nacre_release(s->step);
    free(s->parameter);
}

static nacre_status update_one(state *s, size_t i, nacre_tensor *gradient, nacre_tensor *step) {
    const nacre_adam_update_options o = {
        .size = sizeof o, .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
    return nacre_adam_update(s->parameter[i], gradient, s->m[i], s->v[i], step, &o);
}

static void forget_gradients(const state *s) {
    for (size_t i = 0; i < s->count; i++) {
        nacre_zero_grad(s->parameter[i]);
    }
}

/* All updates are recorded; what was recorded before runs with them. Gradients that nobody can ask for then need no
   memory of their own. */
static nacre_status update_together(state *s, nacre_tensor *const *gradients) {
    nacre_tensor *next = nacre_add_scalar(s->step, 1);
    nacre_status status = NACRE_OK;
    for (size_t i = 0; status == NACRE_OK && i < s->count; i++) {
        status = update_one(s, i, gradients[i], next);
    }
    status = status ? status : nacre_assign(s->step, next);
    forget_gradients(s);
    return status ? status : nacre_eval(s->step);
}

static nacre_status update_one_by_one(state *s, nacre_tensor *const *gradients) {
    nacre_status status = nacre_assign(s->step, nacre_add_scalar(s->step, 1));
    status = status ? status : nacre_eval(s->step);
    for (size_t i = 0; status == NACRE_OK && i < s->count; i++) {
        status = update_one(s, i, gradients[i], s->step);
        status = status ? status : nacre_eval(s->parameter[i]);
    }
    forget_gradients(s);
    return status;
}

/* ---- a whole step ---- */

typedef struct runner {
    update_way way;
    nacre_cli_job job;
    state state;
    experiment_times times;
} runner;

static bool runner_new(runner *r, update_way way, const nacre_cli_workload *workload,
                       int64_t batch) {
    r->way = way;
    if (nacre_cli_job_make(workload, batch, 1, &r->job) != NACRE_OK) {
        return false;
    }
    nacre_module *network = nacre_model_network(r->job.model);
    bool good = state_new(&r->state, nacre_module_parameter_count(network));
    for (size_t i = 0; good && i < r->state.count; i++) {
        good = state_add(&r->state, i, nacre_module_parameter_at(network, i));
    }
    return good;
}

static void runner_free(runner *r) {
    if (r->state.parameter) {
        state_free(&r->state);
    }
    nacre_cli_job_free(&r->job);
    experiment_times_free(&r->times);
}

static nacre_status run_step(runner *r) {
    state *s = &r->state;
    nacre_module *network = nacre_model_network(r->job.model);
    nacre_tensor *loss = loss_of(&r->job, nacre_module_forward(network, r->job.batch.inputs));
    nacre_tensor **gradients = calloc(s->count + 1, sizeof *gradients);
    nacre_status status = gradients ? nacre_backward(loss) : NACRE_OUT_OF_MEMORY;
    for (size_t i = 0; status == NACRE_OK && i < s->count; i++) {
        gradients[i] = nacre_grad(s->parameter[i]);
    }
    if (status == NACRE_OK && (r->way == ONE_PLAN || r->way == ONE_BY_ONE)) {
        gradients[s->count] = loss;
        status = nacre_eval_all(gradients, s->count + 1);
    }
    bool before = nacre_set_grad_enabled(false);
    if (status == NACRE_OK) {
        status =
            r->way == ONE_BY_ONE ? update_one_by_one(s, gradients) : update_together(s, gradients);
    }
    nacre_set_grad_enabled(before);
    free(gradients);
    return status;
}

static nacre_status run_steps(runner *r, int count) {
    nacre_status status = NACRE_OK;
    nacre_set_eager(r->way == EACH_OP);
    for (int i = 0; status == NACRE_OK && i < count; i++) {
        uint64_t begin = nacre_clock_ns();
        nacre_scope scope = nacre_scope_begin();
        status = run_step(r);
        nacre_scope_end(scope);
        experiment_note(&r->times, begin);
    }
    nacre_set_eager(false);
    return status;
}

static bool same_bits(nacre_tensor *a, nacre_tensor *b) {
    const void *x = nacre_data(a), *y = nacre_data(b);
    return x && y && memcmp(x, y, (size_t)nacre_numel(a) * sizeof(float)) == 0;
}

static int compare(const state *a, const state *b, const char *name) {
    for (size_t i = 0; i < a->count; i++) {
        if (!same_bits(a->parameter[i], b->parameter[i])) {
            fprintf(stderr, "experiments: %s: parameter %zu differs\n", name, i);
            return 1;
        }
    }
    return 0;
}

static int run_all(const experiment *e, runner *all) {
    uint64_t end = nacre_clock_ns() + (uint64_t)(e->seconds * 1e9);
    do {
        for (int w = 0; w < MOST_WAYS; w++) {
            if (run_steps(&all[w], e->check ? CHECK_STEPS : STEPS_EACH) != NACRE_OK) {
                return experiment_fail(way_names[w]);
            }
        }
    } while (!e->check && nacre_clock_ns() < end);
    int failed = 0;
    for (int w = 1; w < MOST_WAYS; w++) {
        failed |= compare(&all[0].state, &all[w].state, way_names[w]);
    }
    return failed;
}

static void print_ways(experiment_times *const *times, const char *const *names, int count) {
    printf("\"ways\":[");
    for (int w = 0; w < count; w++) {
        printf("%s{\"name\":\"%s\",\"us_min\":%.3f,\"us_median\":%.3f,\"count\":%d}", w ? "," : "",
               names[w], experiment_least(times[w]), experiment_middle(times[w]), times[w]->count);
    }
    printf("],\"equal_bits\":true}\n");
}

static const nacre_cli_workload *workload_of(const experiment *e) {
    const nacre_cli_workload *workload = nacre_cli_find_workload(e->workload);
    if (!workload) {
        fprintf(stderr, "experiments: no workload is called '%s'\n", e->workload);
    }
    return workload;
}

int experiment_steps(const experiment *e) {
    const nacre_cli_workload *workload = workload_of(e);
    if (!workload) {
        return 2;
    }
    int64_t batch = e->batch ? e->batch : workload->batch_size;
    runner all[MOST_WAYS] = {0};
    int failed = 0;
    for (int w = 0; w < MOST_WAYS && !failed; w++) {
        failed =
            runner_new(&all[w], (update_way)w, workload, batch) ? 0 : experiment_fail(e->workload);
    }
    failed = failed ? failed : run_all(e, all);
    if (!failed && !e->check) {
        experiment_times *times[MOST_WAYS];
        for (int w = 0; w < MOST_WAYS; w++) {
            times[w] = &all[w].times;
        }
        printf("{\"workload\":\"%s\",\"batch\":%lld,\"parameters\":%zu,\"threads\":%d,",
               e->workload, (long long)batch, all[0].state.count, nacre_threads());
        print_ways(times, way_names, MOST_WAYS);
    }
    for (int w = 0; w < MOST_WAYS; w++) {
        runner_free(&all[w]);
    }
    return failed;
}

/* ---- the updates alone ---- */

typedef enum lone_way { ALONE_FLAT, ALONE_TOGETHER, ALONE_ONE_BY_ONE, ALONE_WAYS } lone_way;
static const char *const alone_names[] = {"one flat array", "one plan", "one by one"};

typedef struct lone {
    state state;
    nacre_tensor **gradients;
    experiment_times times;
} lone;

/* Element k of the network has the same value and gradient, whether flat or in its parameter. */
static nacre_tensor *made_up(nacre_shape shape, size_t first, float scale) {
    size_t count = (size_t)nacre_shape_numel(&shape);
    float *values = malloc(count * sizeof *values);
    if (!values) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        values[i] = scale * ((float)((first + i) * 37 % 101) - 50);
    }
    nacre_tensor *t = nacre_from_data(values, .shape = shape);
    free(values);
    return t;
}

static bool lone_new(lone *l, const nacre_shape *shapes, size_t count) {
    l->gradients = calloc(count, sizeof *l->gradients);
    bool good = l->gradients && state_new(&l->state, count);
    size_t first = 0;
    for (size_t i = 0; good && i < count; i++) {
        nacre_tensor *p = made_up(shapes[i], first, 1e-3f);
        nacre_tensor *g = made_up(shapes[i], first + 1, 1e-2f);
        good = p && g && state_add(&l->state, i, p);
        l->gradients[i] = g;
        first += (size_t)nacre_shape_numel(&shapes[i]);
    }
    return good;
}

static void lone_free(lone *l) {
    if (l->state.parameter) {
        state_free(&l->state);
    }
    free(l->gradients);
    experiment_times_free(&l->times);
}

static nacre_status run_alone(lone *all, int repeats) {
    nacre_status status = NACRE_OK;
    for (int a = 0; a < ALONE_WAYS; a++) {
        for (int i = 0; status == NACRE_OK && i < repeats; i++) {
            uint64_t begin = nacre_clock_ns();
            nacre_scope scope = nacre_scope_begin();
            status = a == ALONE_ONE_BY_ONE ? update_one_by_one(&all[a].state, all[a].gradients)
                                           : update_together(&all[a].state, all[a].gradients);
            nacre_scope_end(scope);
            experiment_note(&all[a].times, begin);
        }
    }
    return status;
}

static int compare_flat(const lone *all) {
    const float *flat = nacre_data(all[ALONE_FLAT].state.parameter[0]);
    const state *s = &all[ALONE_TOGETHER].state;
    for (size_t i = 0; i < s->count; i++) {
        const float *own = nacre_data(s->parameter[i]);
        size_t count = (size_t)nacre_numel(s->parameter[i]);
        if (!flat || !own || memcmp(flat, own, count * sizeof *flat) != 0) {
            fprintf(stderr, "experiments: updates: parameter %zu differs from the flat one\n", i);
            return 1;
        }
        flat += count;
    }
    return compare(s, &all[ALONE_ONE_BY_ONE].state, alone_names[ALONE_ONE_BY_ONE]);
}

static int time_alone(const experiment *e, const nacre_shape *shapes, size_t count, int64_t total) {
    lone all[ALONE_WAYS] = {0};
    const nacre_shape flat = NACRE_SHAPE(total);
    int failed = lone_new(&all[ALONE_FLAT], &flat, 1) &&
                         lone_new(&all[ALONE_TOGETHER], shapes, count) &&
                         lone_new(&all[ALONE_ONE_BY_ONE], shapes, count)
                     ? 0
                     : experiment_fail("updates");
    uint64_t end = nacre_clock_ns() + (uint64_t)(e->seconds * 1e9);
    do {
        if (!failed && run_alone(all, e->check ? CHECK_STEPS : STEPS_EACH) != NACRE_OK) {
            failed = experiment_fail("updates");
        }
    } while (!failed && !e->check && nacre_clock_ns() < end);
    failed = failed ? failed : compare_flat(all);
    if (!failed && !e->check) {
        printf("{\"workload\":\"%s\",\"parameters\":%zu,\"elements\":%lld,\"threads\":%d,",
               e->workload, count, (long long)total, nacre_threads());
        print_ways((experiment_times *const[]){&all[0].times, &all[1].times, &all[2].times},
                   alone_names, ALONE_WAYS);
    }
    for (int a = 0; a < ALONE_WAYS; a++) {
        lone_free(&all[a]);
    }
    return failed;
}

int experiment_updates(const experiment *e) {
    const nacre_cli_workload *workload = workload_of(e);
    if (!workload) {
        return 2;
    }
    nacre_module *network = workload->network(&workload->sizes);
    size_t count = nacre_module_parameter_count(network);
    nacre_shape *shapes = calloc(count, sizeof *shapes);
    int64_t total = 0;
    for (size_t i = 0; shapes && i < count; i++) {
        shapes[i] = nacre_shape_of(nacre_module_parameter_at(network, i));
        total += nacre_shape_numel(&shapes[i]);
    }
    int failed = shapes ? time_alone(e, shapes, count, total) : experiment_fail(e->workload);
    free(shapes);
    nacre_module_free(network);
    return failed;
}
