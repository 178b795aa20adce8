/* The reference backend: every op by its own definition, one thread, nothing fused. The oracle of the others. */
#include "ops/reference.h"
#include "plan/backend.h"

static void run(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    nacre_call call = {.attrs = step->attrs, .inputs = step->inputs, .outputs = step->outputs};
    for (int i = 0; i < step->inputs && i < NACRE_MAX_INPUTS; i++) call.in[i] = step->in[i];
    for (int i = 0; i < step->outputs && i < NACRE_MAX_OUTPUTS; i++) call.out[i] = step->out[i];
    nacre_reference_run(step->op, &call);
}

static bool claims(const nacre_op *op, nacre_dtype dtype) {
    (void)op, (void)dtype;
    return false;
}

static bool none(const nacre_op *op) {
    (void)op;
    return false;
}

static bool any_number(const nacre_op *op, int results) {
    (void)op, (void)results;
    return true;
}

static bool no_epilogue(const nacre_op *op, const nacre_epilogue_member *member) {
    (void)op, (void)member;
    return false;
}

static bool prepare(nacre_plan_op *step) {
    step->run = run;
    step->scratch = 0;
    step->kernel = "reference";
    return true;
}

const nacre_backend_table nacre_backend_reference = {
    .name = "reference",
    .claims = claims,
    .fuses = none,
    .takes_epilogue = no_epilogue,
    .stores = any_number,
    .prepare = prepare,
};
