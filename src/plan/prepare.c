/* The arrays of each step, and the backend's choice of a kernel for it. */
#include "base/error.h"
#include "plan/plan.h"

#include <string.h>

/* Strides of value `id` seen with `shape`: 0 where broadcast. */
static void set_array(const nacre_plan *plan, nacre_array *array, int id,
                      const nacre_shape *shape) {
    memset(array, 0, sizeof *array);
    if (id < 0) {
        return;
    }
    const plan_value *value = &plan->values[id];
    array->dtype = value->dtype;
    array->laned = value->laned;
    array->shape = shape ? *shape : value->shape;
    int lead = array->shape.ndim - value->shape.ndim;
    for (int i = 0; i < value->shape.ndim; i++) {
        bool broadcast = value->shape.dims[i] == 1;
        array->strides[i + lead] = broadcast ? 0 : value->strides[i];
    }
    if (!shape) {
        memcpy(array->strides, value->strides, sizeof array->strides);
    }
}

/* As laned memory is: [blocks, ..., lanes]. */
static nacre_shape laned_shape(const nacre_shape *shape) {
    nacre_shape laned = *shape;
    laned.dims[0] = (shape->dims[0] + NACRE_LANES - 1) / NACRE_LANES;
    laned.dims[laned.ndim++] = NACRE_LANES;
    return laned;
}

/* An operand of a laned group, as an ordinary array of the memory's shape. */
static void set_laned(const nacre_plan *plan, nacre_array *array, int id,
                      const nacre_shape *shape) {
    const plan_value *value = &plan->values[id];
    *array = (nacre_array){.dtype = value->dtype, .shape = *shape};
    if (value->laned) {
        nacre_shape_strides(shape, array->strides);
        return;
    }
    int lead = shape->ndim - 1 - value->shape.ndim; /* the same in all lanes: stride 0 there */
    for (int i = 0; i < value->shape.ndim; i++)
        array->strides[i + lead] = value->shape.dims[i] == 1 ? 0 : value->strides[i];
}

/* Does a root overwrite this leaf? */
static bool is_overwritten(const nacre_plan *plan, int leaf) {
    for (int r = 0; r < plan->root_count; r++) {
        if (plan->root_leaf[r] == leaf) {
            return true;
        }
    }
    return false;
}

static unsigned constant_inputs(const nacre_plan *plan, const plan_step *step) {
    unsigned bits = 0;
    for (int i = 0; i < step->inputs; i++) {
        const plan_value *value = step->in[i] < 0 ? NULL : &plan->values[step->in[i]];
        if (value && !value->slot_view && plan->values[value->base].place == PLACE_LEAF &&
            !is_overwritten(plan, value->base)) {
            bits |= NACRE_READS_IN(i);
        }
    }
    return bits;
}

static bool make_call(nacre_plan *plan, plan_step *step) {
    nacre_plan_op *call = nacre_plan_alloc(plan, 1, sizeof *call);
    if (!call) {
        return false;
    }
    *call = (nacre_plan_op){.op = step->op,
                            .attrs = step->attrs,
                            .inputs = step->inputs,
                            .outputs = step->outputs,
                            .program = step->program,
                            .own = step->own};
    bool elementwise = call->op && call->op->flags & NACRE_OP_ELEMENTWISE;
    const nacre_shape *shape =
        step->program || elementwise ? &plan->values[step->out[0]].shape : NULL;
    nacre_shape laned;
    if (step->laned) {
        laned = laned_shape(shape);
        for (int i = 0; i < call->inputs; i++) set_laned(plan, &call->in[i], step->in[i], &laned);
        for (int i = 0; i < call->outputs; i++)
            set_laned(plan, &call->out[i], step->out[i], &laned);
        step->call = call;
        return true;
    }
    for (int i = 0; i < call->inputs; i++) {
        set_array(plan, &call->in[i], step->in[i], i < call->own ? NULL : shape);
    }
    for (int i = 0; i < call->outputs; i++) {
        set_array(plan, &call->out[i], step->out[i], NULL);
    }
    step->call = call;
    call->constant = constant_inputs(plan, step);
    return true;
}

double nacre_plan_step_flops(const nacre_plan *plan, const plan_step *step) {
    double elements = (double)nacre_shape_numel(&plan->values[step->out[0]].shape), flops = 0;
    if (step->op && step->op->flops) {
        int own = step->program ? step->own : step->inputs;
        nacre_call shapes = {.attrs = step->attrs, .inputs = own, .outputs = step->outputs};
        for (int i = 0; i < own && i < NACRE_MAX_INPUTS; i++) {
            set_array(plan, &shapes.in[i], step->in[i], NULL);
        }
        for (int i = 0; i < step->outputs && i < NACRE_MAX_OUTPUTS; i++) {
            set_array(plan, &shapes.out[i], step->out[i], NULL);
        }
        flops = step->op->flops(&shapes);
    } else if (step->op) {
        flops = step->op->flops_per_element * elements;
    }
    for (int i = 0; step->program && i < step->program->codes; i++) {
        flops += step->program->code[i].op->flops_per_element * elements;
    }
    return flops;
}

/* What came of trying to prepare a step. */
typedef enum outcome {
    READY,
    REFUSED, /* by the backend: the inputs do not lie as its kernel needs them */
    NO_MEMORY,
} outcome;

static outcome try_step(nacre_plan *plan, plan_step *step) {
    if (!make_call(plan, step)) {
        return NO_MEMORY;
    }
    if (!plan->backend->prepare(step->call)) {
        return REFUSED;
    }
    if (step->call->state_bytes > 0) {
        step->call->state = nacre_plan_alloc(plan, 1, step->call->state_bytes);
        if (!step->call->state) {
            return NO_MEMORY;
        }
    }
    step->flops = nacre_plan_step_flops(plan, step);
    return READY;
}

bool nacre_plan_prepare_step(nacre_plan *plan, plan_step *step) {
    outcome came = try_step(plan, step);
    if (came == REFUSED) {
        nacre_fail(NACRE_INTERNAL, "%s: the %s backend has no kernel for it", step->label,
                   plan->backend->name);
    }
    return came == READY;
}

static bool is_contiguous(const plan_value *value) {
    return nacre_strides_contiguous(&value->shape, value->strides);
}

/* Appends `step` with its strided inputs copied first. */
static bool prepare_with_copies(nacre_plan *plan, plan_step step) {
    for (int i = 0; i < step.inputs; i++) {
        if (step.in[i] >= 0 && !is_contiguous(&plan->values[step.in[i]])) {
            step.in[i] = nacre_plan_add_copy(plan, step.in[i], step.record);
            plan_step *copy = &plan->steps[plan->step_count - 1];
            copy->label = "copy";
            if (!nacre_plan_prepare_step(plan, copy)) {
                return false;
            }
        }
    }
    plan_step *added = &plan->steps[plan->step_count++];
    *added = step;
    return nacre_plan_prepare_step(plan, added);
}

/* An index that the plan computes is checked just before its step, one from outside before all. */
static void note_check(const nacre_plan *plan, plan_step *step) {
    const nacre_op *op = step->op;
    if (!op || !(op->flags & NACRE_OP_INDEXED)) {
        return;
    }
    const plan_value *index = &plan->values[step->in[op->index_input]];
    if (nacre_dtype_get(index->dtype)->kind != NACRE_CLASS_INT) {
        return;
    }
    bool from_outside = plan->values[index->base].place == PLACE_LEAF;
    step->check = from_outside ? CHECK_FIRST : CHECK_LATE;
}

static bool note_keepers(nacre_plan *plan) {
    plan->keepers = nacre_plan_alloc(plan, (size_t)plan->step_count, sizeof *plan->keepers);
    if (!plan->keepers) {
        return false;
    }
    for (int s = 0; s < plan->step_count; s++) {
        const plan_step *step = &plan->steps[s];
        for (int i = 0; i < step->inputs; i++) {
            if (step->call->keeps == NACRE_READS_IN(i)) {
                const plan_value *base = &plan->values[plan->values[step->in[i]].base];
                plan->keepers[plan->keeper_count++] = (struct plan_keeper){step->call, base->index};
            }
        }
    }
    return true;
}

bool nacre_plan_prepare(nacre_plan *plan) {
    plan_step *old = plan->steps;
    int count = plan->step_count;
    plan->steps = nacre_plan_alloc(plan, (size_t)plan->step_capacity, sizeof *plan->steps);
    if (!plan->steps) {
        return false;
    }
    plan->step_count = 0;
    for (int i = 0; i < count; i++) {
        plan_step *step = &plan->steps[plan->step_count++];
        *step = old[i];
        outcome came = try_step(plan, step);
        if (came == NO_MEMORY) {
            return false;
        }
        if (came == REFUSED) {
            plan->step_count--;
            if (!prepare_with_copies(plan, old[i])) {
                return false;
            }
        }
        note_check(plan, &plan->steps[plan->step_count - 1]);
    }
    return note_keepers(plan);
}
