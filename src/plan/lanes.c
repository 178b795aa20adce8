/* Samples side by side: steps whose kernels want it get their operands laned (see nacre_array), element-wise
   groups between them follow, and copies turn values from one order to the other where the two meet. */
#include "plan/plan.h"

#include <string.h>

typedef struct lanes {
    nacre_plan *plan;
    int *twin;   /* value -> its laned form; -1: none yet */
    bool *plain; /* value (base) -> lies in its plain form */
    bool *root;  /* value (base) -> is asked for, in its plain form */
} lanes;

static void describe(const nacre_plan *plan, const int *ids, int count, nacre_array *arrays) {
    for (int i = 0; i < count; i++) {
        if (ids[i] < 0) continue;
        arrays[i].dtype = plan->values[ids[i]].dtype;
        arrays[i].shape = plan->values[ids[i]].shape;
    }
}

static unsigned wish(const nacre_plan *plan, const plan_step *step) {
    if (!step->op || !plan->backend->laned) return 0;
    nacre_plan_op shapes = {
        .op = step->op, .attrs = step->attrs, .inputs = step->inputs, .outputs = step->outputs};
    describe(plan, step->in, step->inputs, shapes.in);
    if (step->program) {
        shapes.inputs = shapes.own = step->own;
        shapes.program = step->program;
    }
    describe(plan, step->out, step->outputs, shapes.out);
    return plan->backend->laned(&shapes);
}

static bool covers_base(const nacre_plan *plan, const plan_value *v) {
    const plan_value *base = &plan->values[v->base];
    return !v->slot_view && v->offset == 0 && nacre_shape_equal(&v->shape, &base->shape) &&
           nacre_strides_contiguous(&v->shape, v->strides);
}

/* The value itself, or what it is another name of. */
static int named(const nacre_plan *plan, int id) {
    const plan_value *v = &plan->values[id];
    return v->place == PLACE_ALIAS && covers_base(plan, v) ? v->base : id;
}

static int add_twin(lanes *l, int id) {
    nacre_plan *plan = l->plan;
    int twin = plan->value_count++;
    plan_value *v = &plan->values[twin];
    *v = plan->values[id];
    nacre_shape_strides(&v->shape, v->strides);
    v->offset = 0;
    v->base = v->view_of = twin;
    v->place = PLACE_ARENA;
    v->index = -1;
    v->slot_view = false;
    v->laned = true;
    int64_t samples = v->shape.dims[0], blocks = (samples + NACRE_LANES - 1) / NACRE_LANES;
    if (samples > 0) v->bytes = v->bytes / (size_t)samples * (size_t)(blocks * NACRE_LANES);
    l->twin[id] = twin;
    return twin;
}

static void add_copy(lanes *l, int from, int to, int record, const char *label) {
    plan_step *step = nacre_plan_add_step(l->plan, &nacre_op_copy, NULL, record);
    step->inputs = step->outputs = 1;
    step->in[0] = from;
    step->out[0] = to;
    step->label = label;
}

static void need_plain(lanes *l, int id, int record) {
    int base = l->plan->values[id].base;
    if (l->plain[base]) return;
    add_copy(l, l->twin[base], base, record, "copy from lanes");
    l->plain[base] = true;
}

static int need_laned(lanes *l, int id, int record) {
    id = named(l->plan, id);
    if (l->twin[id] >= 0) return l->twin[id];
    need_plain(l, id, record);
    int twin = add_twin(l, id);
    add_copy(l, id, twin, record, "copy to lanes");
    return twin;
}

/* ---- groups ---- */

/* Has the operand's value the group's shape, or is it the same for every sample? */
typedef enum operand {
    OPERAND_WHOLE,
    OPERAND_SHARED,
    OPERAND_OTHER,
} operand;

static operand operand_of(const nacre_plan *plan, int id, const nacre_shape *shape) {
    const nacre_shape *own = &plan->values[id].shape;
    if (nacre_shape_equal(own, shape)) return OPERAND_WHOLE;
    return own->ndim < shape->ndim || own->dims[0] == 1 ? OPERAND_SHARED : OPERAND_OTHER;
}

/* A group runs in lanes when more of its operands lie in lanes only than would have to be turned. */
static bool follows(const lanes *l, const plan_step *step) {
    const nacre_plan *plan = l->plan;
    if (step->op || !step->program) return false;
    const nacre_shape *shape = &plan->values[step->out[0]].shape;
    if (shape->ndim < 2 || shape->ndim >= NACRE_MAX_DIMS || shape->dims[0] < 2) return false;
    int laned = 0, plain = 0;
    for (int i = 0; i < step->inputs; i++) {
        int id = named(plan, step->in[i]);
        operand kind = operand_of(plan, id, shape);
        if (kind == OPERAND_OTHER) return false;
        if (kind == OPERAND_SHARED) continue;
        int base = plan->values[id].base;
        if (l->twin[id] >= 0 && (!l->plain[base] || l->root[base])) laned++;
        if (l->twin[id] < 0) plain++;
    }
    return laned > plain;
}

/* ---- the pass ---- */

static void turn_inputs(lanes *l, plan_step *step, unsigned wanted) {
    for (int i = 0; i < step->inputs; i++) {
        if (step->in[i] < 0) continue;
        bool laned = wanted & NACRE_READS_IN(i);
        if (step->laned) {
            const nacre_shape *shape = &l->plan->values[step->out[0]].shape;
            laned = operand_of(l->plan, step->in[i], shape) == OPERAND_WHOLE;
        }
        if (laned)
            step->in[i] = need_laned(l, step->in[i], step->record);
        else
            need_plain(l, step->in[i], step->record);
    }
}

static void turn_outputs(lanes *l, plan_step *step, unsigned wanted) {
    for (int i = 0; i < step->outputs; i++) {
        int id = step->out[i];
        /* An epilogue's results are all like the op's first; the op's others follow them. */
        int results = step->program ? step->program->outputs : 1;
        int own = i < results ? 0 : i - results + 1;
        bool laned = step->laned || wanted & NACRE_READS_OUT(own);
        l->plain[id] = !laned;
        if (laned) step->out[i] = add_twin(l, id);
    }
}

/* Results that are asked for, at once: the lanes need not stay until the end. */
static void turn_roots(lanes *l, const plan_step *step) {
    for (int i = 0; i < step->outputs; i++)
        if (l->root[step->out[i]]) need_plain(l, step->out[i], step->record);
}

static bool begin(lanes *l, nacre_plan *plan) {
    /* A value gets a twin at most, and a copy each way. */
    size_t values = (size_t)plan->value_count, old = (size_t)plan->value_capacity;
    plan->value_capacity += (int)values;
    plan->step_capacity += 2 * (int)values;
    plan_value *grown = nacre_plan_alloc(plan, old + values, sizeof *grown);
    l->plan = plan;
    l->twin = nacre_plan_alloc(plan, old + values, sizeof *l->twin);
    l->plain = nacre_plan_alloc(plan, old + values, sizeof *l->plain);
    l->root = nacre_plan_alloc(plan, old + values, sizeof *l->root);
    if (!grown || !l->twin || !l->plain || !l->root) return false;
    memcpy(grown, plan->values, values * sizeof *grown);
    memset(l->twin, -1, (old + values) * sizeof *l->twin);
    plan->values = grown;
    for (size_t i = 0; i < values; i++) l->plain[i] = plan->values[i].place == PLACE_LEAF;
    for (int r = 0; r < plan->root_count; r++)
        l->root[plan->values[plan->root_value[r]].base] = true;
    return true;
}

bool nacre_plan_lanes(nacre_plan *plan) {
    bool any = false;
    for (int s = 0; s < plan->step_count && !any; s++) any = wish(plan, &plan->steps[s]) != 0;
    if (!any) return true;
    lanes l;
    if (!begin(&l, plan)) return false;
    plan_step *old = plan->steps;
    int count = plan->step_count;
    plan->steps = nacre_plan_alloc(plan, (size_t)plan->step_capacity, sizeof *plan->steps);
    if (!plan->steps) return false;
    plan->step_count = 0;
    for (int s = 0; s < count; s++) {
        plan_step step = old[s];
        unsigned wanted = wish(plan, &step);
        step.laned = follows(&l, &step);
        turn_inputs(&l, &step, wanted);
        turn_outputs(&l, &step, wanted);
        plan->steps[plan->step_count++] = step;
        turn_roots(&l, &old[s]);
    }
    return true;
}
