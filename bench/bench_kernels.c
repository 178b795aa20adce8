/* bench_kernels [THREADS [NAME]]: the CPU backend's kernels at the shapes of an MLP, against the machine's own
   peak, which is measured between them in every pass (it moves). Best of all passes. */
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

/* The program's own measurement of the peak: one source, not in the library. */
#include "cli/peak.c"

enum { PASSES = 25, PASS_NS = 1000000 };

typedef enum kind {
    LINEAR,      /* x [m,k] . weight [n,k]^T + bias, relu */
    DX,          /* dy [m,k] . weight [k,n], masked by relu's output */
    DW,          /* dy [k,m]^T . x [k,n] */
    PLAIN,       /* a [m,k] . b [k,n] */
    ADAM,        /* m elements */
    SUM_COLUMNS, /* [m,n] -> [n] */
    SUM_ALL,
    EXP,
    ADD,
    LOSS, /* [m,n] */
    LOSS_BACKWARD,
} kind;

typedef struct work {
    kind kind;
    int64_t m, n, k;
} work;

static const char *const kind_names[] = {"linear", "dx",          "dw",           "plain",
                                         "adam",   "sum columns", "sum",          "exp",
                                         "add",    "loss",        "loss backward"};

static const work works[] = {
    {LINEAR, 1, 128, 784},      {LINEAR, 32, 128, 784},    {LINEAR, 64, 128, 784},
    {LINEAR, 128, 128, 784},    {LINEAR, 256, 128, 784},   {LINEAR, 1, 128, 128},
    {LINEAR, 32, 128, 128},     {LINEAR, 64, 128, 128},    {LINEAR, 128, 128, 128},
    {LINEAR, 256, 128, 128},    {LINEAR, 1, 10, 128},      {LINEAR, 64, 10, 128},
    {LINEAR, 256, 10, 128},     {DX, 32, 128, 128},        {DX, 64, 128, 128},
    {DX, 128, 128, 128},        {DX, 256, 128, 128},       {DX, 64, 128, 10},
    {DX, 256, 128, 10},         {DW, 128, 784, 32},        {DW, 128, 784, 64},
    {DW, 128, 784, 128},        {DW, 128, 784, 256},       {DW, 128, 128, 32},
    {DW, 128, 128, 64},         {DW, 128, 128, 128},       {DW, 128, 128, 256},
    {DW, 10, 128, 64},          {DW, 10, 128, 256},        {PLAIN, 256, 256, 256},
    {PLAIN, 512, 512, 512},     {PLAIN, 1024, 1024, 1024}, {LINEAR, 768, 256, 64},
    {LINEAR, 768, 512, 128},    {DW, 128, 512, 768},       {ADAM, 100480, 0, 0},
    {ADAM, 16512, 0, 0},        {SUM_COLUMNS, 64, 128, 0}, {SUM_ALL, 100480, 0, 0},
    {EXP, 8192, 0, 0},          {ADD, 8192, 0, 0},         {LOSS, 64, 10, 0},
    {LOSS_BACKWARD, 64, 10, 0},
};
enum { WORKS = sizeof works / sizeof works[0] };

static nacre_array array(nacre_dtype dtype, nacre_shape shape) {
    nacre_array a = {.dtype = dtype, .shape = shape};
    nacre_shape_strides(&shape, a.strides);
    size_t count = (size_t)nacre_shape_numel(&shape), bytes = count * nacre_dtype_size(dtype);
    a.data = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (!a.data) exit(1);
    memset(a.data, 0, bytes);
    for (size_t i = 0; dtype == NACRE_F32 && i < count; i++)
        ((float *)a.data)[i] = (float)(i * 37 % 101) * 0.01f + 0.001f;
    return a;
}

static nacre_array transposed(nacre_array a) {
    nacre_array t = a;
    t.shape = NACRE_SHAPE(a.shape.dims[1], a.shape.dims[0]);
    t.strides[0] = a.strides[1];
    t.strides[1] = a.strides[0];
    return t;
}

typedef struct prepared {
    nacre_plan_op step;
    nacre_program program;
    nacre_word attrs[NACRE_MAX_ATTRS];
    void *scratch;
    double flops, best_ns;
} prepared;

static void take(prepared *p, const nacre_op *op, int inputs, const nacre_array *in,
                 nacre_array out) {
    p->step.op = op;
    p->step.inputs = inputs;
    for (int i = 0; i < inputs; i++) p->step.in[i] = in[i];
    p->step.outputs = 1;
    p->step.out[0] = out;
}

static void epilogue(prepared *p, const nacre_op *op, int own, int inputs) {
    p->step.own = own;
    p->step.program = &p->program;
    p->program = (nacre_program){.inputs = inputs, .codes = 1, .outputs = 1, .result = {inputs}};
    p->program.code[0] = (nacre_instruction){.op = op, .argument = {inputs - 1, 0}};
}

static void make_product(prepared *p, const work *w) {
    nacre_array out = array(NACRE_F32, NACRE_SHAPE(w->m, w->n));
    nacre_array a = array(NACRE_F32, NACRE_SHAPE(w->m, w->k));
    nacre_array b = array(NACRE_F32, NACRE_SHAPE(w->k, w->n));
    p->flops = 2.0 * (double)(w->m * w->n * w->k);
    if (w->kind == LINEAR) {
        b = array(NACRE_F32, NACRE_SHAPE(w->n, w->k));
        nacre_array bias = array(NACRE_F32, NACRE_SHAPE(w->n));
        take(p, &nacre_op_linear, 3, (nacre_array[]){a, b, bias}, out);
        epilogue(p, &nacre_op_relu, 3, 1);
    } else if (w->kind == DX) {
        nacre_array y = array(NACRE_F32, NACRE_SHAPE(w->m, w->n));
        take(p, &nacre_op_matmul, 3, (nacre_array[]){a, b, y}, out);
        epilogue(p, &nacre_op_relu_backward, 2, 2);
    } else {
        if (w->kind == DW) a = transposed(array(NACRE_F32, NACRE_SHAPE(w->k, w->m)));
        take(p, &nacre_op_matmul, 2, (nacre_array[]){a, b}, out);
    }
}

static void make_adam(prepared *p, const work *w) {
    nacre_array in[5];
    for (int i = 0; i < 4; i++) in[i] = array(NACRE_F32, NACRE_SHAPE(w->m));
    in[4] = array(NACRE_I64, NACRE_SCALAR);
    *(int64_t *)in[4].data = 3;
    take(p, &nacre_op_adam_update, 5, in, in[0]);
    p->step.outputs = 3;
    p->step.out[1] = in[2];
    p->step.out[2] = in[3];
    p->attrs[NACRE_ADAM_LR].f = 1e-5;
    p->attrs[NACRE_ADAM_BETA1].f = 0.9;
    p->attrs[NACRE_ADAM_BETA2].f = 0.999;
    p->attrs[NACRE_ADAM_EPSILON].f = 1e-8;
}

static void make_other(prepared *p, const work *w) {
    nacre_array line = array(NACRE_F32, NACRE_SHAPE(w->m)), same = line;
    nacre_array table = array(NACRE_F32, NACRE_SHAPE(w->m, w->n > 0 ? w->n : 1));
    nacre_array classes = array(NACRE_I64, NACRE_SHAPE(w->m));
    nacre_array scalar = array(NACRE_F32, NACRE_SCALAR);
    p->attrs[NACRE_REDUCE_AXES].i = 1;
    same.data = array(NACRE_F32, NACRE_SHAPE(w->m)).data;
    switch (w->kind) {
    case SUM_COLUMNS:
        take(p, &nacre_op_sum, 1, &table, array(NACRE_F32, NACRE_SHAPE(w->n)));
        break;
    case SUM_ALL:
        take(p, &nacre_op_sum, 1, &line, scalar);
        break;
    case EXP:
        take(p, &nacre_op_exp, 1, &line, same);
        break;
    case ADD:
        take(p, &nacre_op_add, 2, (nacre_array[]){line, line}, same);
        break;
    case LOSS:
        take(p, &nacre_op_cross_entropy, 2, (nacre_array[]){table, classes}, scalar);
        break;
    default:
        take(p, &nacre_op_cross_entropy_backward, 3, (nacre_array[]){table, classes, scalar},
             array(NACRE_F32, NACRE_SHAPE(w->m, w->n)));
    }
}

static void make(prepared *p, const work *w) {
    *p = (prepared){.best_ns = INFINITY};
    if (w->kind <= PLAIN)
        make_product(p, w);
    else if (w->kind == ADAM)
        make_adam(p, w);
    else
        make_other(p, w);
    p->step.attrs = p->attrs;
    if (!nacre_backend_cpu.prepare(&p->step)) exit(1);
    p->scratch = aligned_alloc(64, (p->step.scratch + 127) / 64 * 64);
}

static void measure(prepared *p) {
    uint64_t begin = nacre_clock_ns(), end;
    do {
        uint64_t start = nacre_clock_ns();
        p->step.run(&p->step, p->scratch);
        end = nacre_clock_ns();
        p->best_ns = fmin(p->best_ns, (double)(end - start));
    } while (end - begin < PASS_NS);
}

int main(int argc, char **argv) {
    static prepared all[WORKS];
    const char *only = argc > 2 ? argv[2] : NULL;
    nacre_fp_enter();
    if (nacre_set_threads(argc > 1 ? atoi(argv[1]) : 1) != NACRE_OK) return 2;
    for (int i = 0; i < WORKS; i++) make(&all[i], &works[i]);
    double peak = 0;
    for (int pass = 0; pass < PASSES; pass++) {
        peak = fmax(peak, nacre_cli_peak_gflops());
        for (int i = 0; i < WORKS; i++)
            if (!only || strcmp(only, kind_names[works[i].kind]) == 0) measure(&all[i]);
    }
    printf("%s, %d threads, peak %.1f GFLOP/s\n", nacre_isa(), nacre_threads(), peak);
    for (int i = 0; i < WORKS; i++) {
        const work *w = &works[i];
        if (!isfinite(all[i].best_ns)) continue;
        printf("%-14s %5lld x %4lld x %4lld  %9.2f us", kind_names[w->kind], (long long)w->m,
               (long long)w->n, (long long)w->k, all[i].best_ns * 1e-3);
        double rate = all[i].flops / all[i].best_ns;
        if (rate > 0) printf("  %7.1f GFLOP/s  %5.1f %%", rate, 100 * rate / peak);
        printf("\n");
    }
    return 0;
}
