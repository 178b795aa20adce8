/* Products for steps built by hand, with what follows them in the same step. */
#ifndef NACRE_TESTS_BACKEND_PRODUCTS_H
#define NACRE_TESTS_BACKEND_PRODUCTS_H

#include "backend/kit.h"

/* a b; of the output the shape alone. */
static inline nacre_plan_op product_step(nacre_array a, nacre_array b, nacre_shape out) {
    nacre_plan_op step = kit_step(&nacre_op_matmul, NULL);
    step.inputs = step.own = 2;
    step.outputs = 1;
    step.in[0] = a;
    step.in[1] = b;
    step.out[0].shape = out;
    return step;
}

/* x [rows, in] times weight [out, in] transposed, plus bias; random numbers. Of the output the shape alone. */
static inline nacre_plan_op product_linear(int64_t rows, int64_t in, int64_t out, bool bias) {
    nacre_array x = kit_random_f32(NACRE_SHAPE(rows, in));
    nacre_plan_op step =
        product_step(x, kit_random_f32(NACRE_SHAPE(out, in)), NACRE_SHAPE(rows, out));
    step.op = &nacre_op_linear;
    if (bias) step.in[step.inputs++] = kit_random_f32(NACRE_SHAPE(out));
    step.own = step.inputs;
    return step;
}

/* The program runs on the product, its register 0, and on `others`, broadcast to the product's shape. */
static inline void product_then(nacre_plan_op *step, const nacre_program *program,
                                const nacre_array *others) {
    const nacre_shape shape = step->out[0].shape;
    step->program = program;
    step->inputs = step->own + program->inputs - 1;
    for (int i = 1; i < program->inputs; i++)
        step->in[step->own + i - 1] = kit_broadcast(others[i - 1], shape);
    step->outputs = program->outputs;
    for (int i = 0; i < step->outputs; i++) step->out[i].shape = shape;
}

/* Memory for the outputs. */
static inline void product_outputs(nacre_plan_op *step) {
    for (int i = 0; i < step->outputs; i++) step->out[i] = kit_array(NACRE_F32, step->out[i].shape);
}

/* max(product, 0) */
static inline nacre_program program_relu(void) {
    nacre_program relu = {.inputs = 1, .codes = 1, .outputs = 1, .result = {1}};
    relu.code[0] = (nacre_instruction){.op = &nacre_op_relu, .argument = {0}};
    return relu;
}

/* The product where the other operand is above 0. */
static inline nacre_program program_mask(void) {
    nacre_program mask = {.inputs = 2, .codes = 1, .outputs = 1, .result = {2}};
    mask.code[0] = (nacre_instruction){.op = &nacre_op_relu_backward, .argument = {1, 0}};
    return mask;
}

#endif
