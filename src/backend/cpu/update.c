/* Optimiser updates: one pass over parameter, gradient and state. */
#include "backend/cpu/cpu.h"

#include "base/pool.h"
#include "ops/attrs.h"

#include <math.h>
#include <string.h>

/* Elements of one task of an update, about 1 us; the tasks of an update are alike, and even in number. */
#define TASK_ELEMENTS ((size_t)8 << 10)

typedef struct update_job {
    const nacre_update_kernels *kernels;
    nacre_adam_constants adam;
    float rate, momentum, weight_decay; /* of sgd */
    const float *in[4];
    float *out[3];
    size_t elements, each;
} update_job;

static void run_tasks(update_job *j, nacre_task *task) {
    size_t pairs = (j->elements + 2 * TASK_ELEMENTS - 1) / (2 * TASK_ELEMENTS);
    if (j->elements <= TASK_ELEMENTS || pairs == 0) {
        j->each = j->elements;
        task(j, 0);
        return;
    }
    j->each = (j->elements / (2 * pairs) + 16) / 16 * 16;
    nacre_parallel((j->elements + j->each - 1) / j->each, task, j);
}

static size_t task_begin(update_job *j, size_t index) {
    size_t first = index * j->each, left = j->elements - first;
    for (int i = 0; i < 4; i++)
        if (j->in[i]) j->in[i] += first;
    for (int i = 0; i < 3; i++)
        if (j->out[i]) j->out[i] += first;
    return left < j->each ? left : j->each;
}

static void adam_task(void *context, size_t index) {
    update_job j = *(const update_job *)context;
    size_t n = task_begin(&j, index);
    j.kernels->adam(n, &j.adam, j.in[0], j.in[1], j.in[2], j.in[3], j.out[0], j.out[1], j.out[2]);
}

static void sgd_task(void *context, size_t index) {
    update_job j = *(const update_job *)context;
    size_t n = task_begin(&j, index);
    if (j.in[2])
        j.kernels->sgd_momentum(n, j.rate, j.weight_decay, j.momentum, j.in[0], j.in[1], j.in[2],
                                j.out[0], j.out[1]);
    else
        j.kernels->sgd(n, j.rate, j.weight_decay, j.in[0], j.in[1], j.out[0]);
}

/* An absent ok means yes. */
static bool is_ok(const nacre_plan_op *step, int input) {
    return step->inputs <= input || !step->in[input].data ||
           *(const uint8_t *)step->in[input].data != 0;
}

/* Nothing changes: outputs with memory of their own get the old values. */
static void keep(const nacre_plan_op *step, int output, int input) {
    size_t bytes = (size_t)nacre_shape_numel(&step->out[output].shape) * sizeof(float);
    if (step->out[output].data != step->in[input].data)
        memcpy(step->out[output].data, step->in[input].data, bytes);
}

static update_job job_of(const nacre_plan_op *step) {
    return (update_job){.kernels = nacre_cpu_level_of(step)->update,
                        .elements = (size_t)nacre_shape_numel(&step->in[0].shape)};
}

static nacre_adam_constants fold_adam(const nacre_word *attrs, int64_t t) {
    double beta1 = attrs[NACRE_ADAM_BETA1].f, beta2 = attrs[NACRE_ADAM_BETA2].f;
    double lr = attrs[NACRE_ADAM_LR].f;
    /* rate and root are rounded to f32 where the op's definition rounds them. */
    float spread = (float)sqrt(1 - pow(beta2, (double)t));
    return (nacre_adam_constants){
        .beta1 = (float)beta1,
        .one_minus_beta1 = (float)(1 - beta1),
        .beta2 = (float)beta2,
        .one_minus_beta2 = (float)(1 - beta2),
        .rate = (float)(lr / (1 - pow(beta1, (double)t))),
        .root = (float)(1 / (double)spread),
        .epsilon = (float)attrs[NACRE_ADAM_EPSILON].f,
        .keep = (float)(1 - lr * attrs[NACRE_ADAM_WEIGHT_DECAY].f),
    };
}

static bool same_words(const nacre_word *a, const nacre_word *b, int count) {
    bool same = true;
    for (int i = 0; i < count; i++) same &= a[i].i == b[i].i;
    return same;
}

/* Two powers and a root take longer than the update of a bias, and a step's updates have all the same: the last
   ones are kept. */
static nacre_adam_constants adam_constants(const nacre_word *attrs, int64_t t) {
    static _Thread_local struct {
        nacre_word attrs[NACRE_ADAM_WEIGHT_DECAY + 1];
        int64_t t;
        nacre_adam_constants constants;
    } last; /* of t = 0: none */
    if (last.t != t || t == 0 || !same_words(last.attrs, attrs, NACRE_ADAM_WEIGHT_DECAY + 1)) {
        last.constants = fold_adam(attrs, t);
        memcpy(last.attrs, attrs, sizeof last.attrs);
        last.t = t;
    }
    return last.constants;
}

static void run_adam(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    if (!is_ok(step, 5)) {
        keep(step, 0, 0);
        keep(step, 1, 2);
        keep(step, 2, 3);
        return;
    }
    update_job j = job_of(step);
    j.adam = adam_constants(step->attrs, *(const int64_t *)step->in[4].data);
    for (int i = 0; i < 4; i++) j.in[i] = step->in[i].data;
    for (int i = 0; i < 3; i++) j.out[i] = step->out[i].data;
    run_tasks(&j, adam_task);
}

static void run_sgd(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    bool has_momentum = step->attrs[NACRE_SGD_HAS_MOMENTUM].i != 0;
    if (!is_ok(step, 3)) {
        keep(step, 0, 0);
        if (has_momentum) keep(step, 1, 2);
        return;
    }
    update_job j = job_of(step);
    j.rate = (float)step->attrs[NACRE_SGD_LR].f;
    j.momentum = (float)step->attrs[NACRE_SGD_MOMENTUM].f;
    j.weight_decay = (float)step->attrs[NACRE_SGD_WEIGHT_DECAY].f;
    for (int i = 0; i < 2; i++) j.in[i] = step->in[i].data;
    j.out[0] = step->out[0].data;
    if (has_momentum) {
        j.in[2] = step->in[2].data;
        j.out[1] = step->out[1].data;
    }
    run_tasks(&j, sgd_task);
}

bool nacre_cpu_prepare_update(nacre_plan_op *step) {
    for (int i = 0; i < step->inputs; i++)
        if (step->in[i].dtype == NACRE_F32 && !nacre_cpu_is_plain(&step->in[i])) return false;
    if (step->op == &nacre_op_adam_update) return nacre_cpu_use(step, run_adam, 0, "adam");
    return nacre_cpu_use(step, run_sgd, 0, "sgd");
}
