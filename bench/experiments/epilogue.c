/* Weight gradient dW = dy^T x and Adam on it, by the library's own kernels in three orders: the whole product, then the
   whole update; the product in blocks of rows, then the whole update; and the update of each block as soon as its
   product is there, while the block of gradients lies in a near cache. That is what a product's epilogue could gain. */
#include "experiments.h"

#include "base/clock.h"
#include "base/pool.h"
#include "ops/attrs.h"
#include "ops/ops.h"
#include "plan/backend.h"

#include <math.h>
#include <nacre/system.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHECK_STEPS = 5, STEPS_EACH = 20, MOST_BLOCKS = 64, ARRAYS = 4 };

typedef enum update_order { WHOLE, BLOCKS_THEN_UPDATE, BLOCK_BY_BLOCK, ORDERS } update_order;
static const char *const order_names[] = {"product, then update", "product in blocks, then update",
                                          "update after each block"};

typedef struct shape {
    int64_t out, in, batch;
} shape;
static const shape shapes[] = {{128, 784, 32}, {128, 784, 64},  {128, 784, 128}, {128, 784, 256},
                               {128, 128, 64}, {384, 128, 768}, {512, 128, 768}, {128, 512, 768}};
static const int64_t block_rows[] = {8, 16, 32, 64};
enum {
    SHAPES = sizeof shapes / sizeof shapes[0],
    BLOCKS = sizeof block_rows / sizeof block_rows[0]
};

/* A kernel on arrays, as a plan would run it. */
typedef struct kernel {
    nacre_plan_op step;
    nacre_word attrs[NACRE_MAX_ATTRS];
    void *scratch;
} kernel;

typedef struct contest {
    shape shape;
    int64_t rows; /* of a block */
    update_order order;
    float *dy, *x, *g, *p, *m, *v;
    int64_t t;
    int products, updates;
    kernel product[MOST_BLOCKS], update[MOST_BLOCKS];
    experiment_times times;
} contest;

static float *fill(size_t count, float scale) {
    float *values = aligned_alloc(64, (count * sizeof *values + 127) / 64 * 64);
    for (size_t i = 0; values && i < count; i++) {
        values[i] = scale * ((float)(i * 37 % 101) - 50);
    }
    return values;
}

static nacre_array matrix(float *data, int64_t rows, int64_t columns, int64_t row, int64_t column) {
    return (nacre_array){.dtype = NACRE_F32,
                         .data = data,
                         .shape = NACRE_SHAPE(rows, columns),
                         .strides = {row, column}};
}

static bool ready(kernel *k, const nacre_op *op, int inputs) {
    k->step.op = op;
    k->step.inputs = inputs;
    k->step.attrs = k->attrs;
    if (!nacre_backend_cpu.prepare(&k->step)) {
        return false;
    }
    k->scratch = aligned_alloc(64, (k->step.scratch + 127) / 64 * 64);
    return k->scratch != NULL;
}

/* Rows first .. first + rows of dW. */
static bool make_product(contest *c, kernel *k, int64_t first, int64_t rows) {
    const shape *s = &c->shape;
    k->step.in[0] = matrix(c->dy + first, rows, s->batch, 1, s->out);
    k->step.in[1] = matrix(c->x, s->batch, s->in, s->in, 1);
    k->step.out[0] = matrix(c->g + first * s->in, rows, s->in, s->in, 1);
    k->step.outputs = 1;
    return ready(k, &nacre_op_matmul, 2);
}

static bool make_update(contest *c, kernel *k, int64_t first, int64_t rows) {
    float *const arrays[ARRAYS] = {c->p, c->g, c->m, c->v};
    const int64_t in = c->shape.in;
    for (int i = 0; i < ARRAYS; i++) {
        k->step.in[i] = matrix(arrays[i] + first * in, rows, in, in, 1);
    }
    k->step.in[4] = (nacre_array){.dtype = NACRE_I64, .data = &c->t, .shape = NACRE_SCALAR};
    k->step.outputs = 3;
    k->step.out[0] = k->step.in[0];
    k->step.out[1] = k->step.in[2];
    k->step.out[2] = k->step.in[3];
    k->attrs[NACRE_ADAM_LR].f = 1e-3;
    k->attrs[NACRE_ADAM_BETA1].f = 0.9;
    k->attrs[NACRE_ADAM_BETA2].f = 0.999;
    k->attrs[NACRE_ADAM_EPSILON].f = 1e-8;
    return ready(k, &nacre_op_adam_update, ARRAYS + 1);
}

static bool make(contest *c, const shape *s, int64_t rows, update_order order) {
    *c = (contest){.shape = *s, .rows = rows, .order = order};
    size_t size = (size_t)(s->out * s->in);
    c->dy = fill((size_t)(s->batch * s->out), 1e-3f);
    c->x = fill((size_t)(s->batch * s->in), 1e-2f);
    c->g = fill(size, 0);
    c->p = fill(size, 1e-3f);
    c->m = fill(size, 0);
    c->v = fill(size, 0);
    if (!c->dy || !c->x || !c->g || !c->p || !c->m || !c->v) {
        return false;
    }
    bool good = true;
    int64_t each = order == WHOLE ? s->out : rows;
    for (int64_t first = 0; good && first < s->out; first += each) {
        good = make_product(c, &c->product[c->products++], first, each);
    }
    each = order == BLOCK_BY_BLOCK ? rows : s->out;
    for (int64_t first = 0; good && first < s->out; first += each) {
        good = make_update(c, &c->update[c->updates++], first, each);
    }
    return good;
}

static void destroy(contest *c) {
    for (int i = 0; i < MOST_BLOCKS; i++) {
        free(c->product[i].scratch);
        free(c->update[i].scratch);
    }
    float *const arrays[] = {c->dy, c->x, c->g, c->p, c->m, c->v};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        free(arrays[i]);
    }
    experiment_times_free(&c->times);
}

static void run_kernel(kernel *k) { k->step.run(&k->step, k->scratch); }

static void run_once(contest *c) {
    uint64_t begin = nacre_clock_ns();
    c->t++;
    for (int i = 0; i < c->products; i++) {
        run_kernel(&c->product[i]);
        if (c->order == BLOCK_BY_BLOCK) {
            run_kernel(&c->update[i]);
        }
    }
    for (int i = 0; c->order != BLOCK_BY_BLOCK && i < c->updates; i++) {
        run_kernel(&c->update[i]);
    }
    experiment_note(&c->times, begin);
}

static int run_orders(const experiment *e, contest *all, double seconds) {
    uint64_t end = nacre_clock_ns() + (uint64_t)(seconds * 1e9);
    do {
        for (int o = 0; o < ORDERS; o++) {
            for (int i = 0; i < (e->check ? CHECK_STEPS : STEPS_EACH); i++) {
                run_once(&all[o]);
            }
        }
    } while (!e->check && nacre_clock_ns() < end);
    size_t bytes = (size_t)(all->shape.out * all->shape.in) * sizeof(float);
    for (int o = 1; o < ORDERS; o++) {
        if (memcmp(all[0].p, all[o].p, bytes) != 0) {
            fprintf(stderr, "experiments: epilogue: '%s' gives other bits\n", order_names[o]);
            return 1;
        }
    }
    return 0;
}

static int time_blocks(const experiment *e, const shape *s, int64_t rows, bool first) {
    static contest all[ORDERS];
    int failed = 0;
    for (int o = 0; o < ORDERS; o++) {
        failed |= make(&all[o], s, rows, (update_order)o) ? 0 : experiment_fail("epilogue");
    }
    failed = failed ? failed : run_orders(e, all, e->seconds / (SHAPES * BLOCKS));
    if (!failed && !e->check) {
        printf("%s{\"out\":%lld,\"in\":%lld,\"batch\":%lld,\"rows\":%lld", first ? "" : ",",
               (long long)s->out, (long long)s->in, (long long)s->batch, (long long)rows);
        for (int o = 0; o < ORDERS; o++) {
            printf(",\"%s\":%.3f", order_names[o], experiment_least(&all[o].times));
        }
        printf("}");
    }
    for (int o = 0; o < ORDERS; o++) {
        destroy(&all[o]);
    }
    return failed;
}

int experiment_epilogue(const experiment *e) {
    int failed = 0;
    nacre_fp_enter();
    if (!e->check) {
        printf("{\"shapes\":[");
    }
    for (int i = 0; !failed && i < SHAPES; i++) {
        for (int b = 0; !failed && b < BLOCKS; b++) {
            failed = time_blocks(e, &shapes[i], block_rows[b], i == 0 && b == 0);
        }
    }
    if (!e->check) {
        printf("],\"equal_bits\":%s}\n", failed ? "false" : "true");
    }
    return failed;
}
