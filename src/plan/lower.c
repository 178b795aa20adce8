/* From records to steps: views become strides and offsets, everything else a call of its op. */
#include "base/error.h"
#include "plan/plan.h"

#include <string.h>

static plan_value *value_at(nacre_plan *plan, int id) { return &plan->values[id]; }

static void init_value(plan_value *v, nacre_dtype dtype, const nacre_shape *shape, int id) {
    memset(v, 0, sizeof *v);
    v->dtype = dtype;
    v->shape = *shape;
    nacre_shape_strides(shape, v->strides);
    v->bytes = (size_t)nacre_shape_numel(shape) * nacre_dtype_size(dtype);
    v->base = v->view_of = id;
    v->index = v->record = -1;
    v->place = PLACE_ARENA;
}

static void init_values(nacre_plan *plan, const nacre_work *work) {
    for (size_t i = 0; i < work->values.count; i++) {
        const nacre_value *value = work->values.items[i];
        init_value(value_at(plan, (int)i), value->dtype, &value->shape, (int)i);
    }
    for (size_t i = 0; i < work->leaves.count; i++) {
        plan_value *leaf = value_at(plan, nacre_work_id(work, work->leaves.items[i]));
        leaf->place = PLACE_LEAF;
        leaf->index = (int)i;
    }
}

plan_step *nacre_plan_add_step(nacre_plan *plan, const nacre_op *op, const nacre_word *attrs,
                               int record) {
    plan_step *step = &plan->steps[plan->step_count++];
    step->op = op;
    step->attrs = attrs;
    step->record = record;
    memset(step->in, -1, sizeof step->in);
    memset(step->out, -1, sizeof step->out);
    return step;
}

int nacre_plan_add_copy(nacre_plan *plan, int id, int record) {
    int copy = plan->value_count++;
    plan_value *from = value_at(plan, id);
    init_value(value_at(plan, copy), from->dtype, &from->shape, copy);
    plan_step *step = nacre_plan_add_step(plan, &nacre_op_copy, NULL, record);
    step->inputs = step->outputs = 1;
    step->in[0] = id;
    step->out[0] = copy;
    return copy;
}

/* ---- attributes: words of the plan, refreshed where they are slots ---- */

static nacre_word *copy_attrs(nacre_plan *plan, const nacre_record *r, int record, bool *slots) {
    nacre_word *words = nacre_plan_alloc(plan, NACRE_MAX_ATTRS, sizeof *words);
    if (!words) {
        return NULL;
    }
    memcpy(words, r->attrs, sizeof r->attrs);
    *slots = false;
    const nacre_attr *attr = r->op->attrs;
    for (int i = 0; attr && attr[i].kind != NACRE_ATTR_END; i++) {
        if (attr[i].kind >= NACRE_ATTR_SLOT_INT) {
            plan->slots[plan->slot_count++] = (plan_slot){record, i, &words[i]};
            *slots = true;
        }
    }
    return words;
}

/* ---- views ---- */

bool nacre_plan_apply_view(const nacre_plan *plan, plan_value *out, const nacre_op *op,
                           const nacre_word *attrs) {
    const plan_value *in = &plan->values[out->view_of];
    nacre_view_request request = {.attrs = attrs,
                                  .in_shape = &in->shape,
                                  .out_shape = &out->shape,
                                  .in_strides = in->strides,
                                  .out_strides = out->strides};
    if (!op->view(&request)) {
        return false;
    }
    out->offset = in->offset + request.offset;
    return true;
}

static bool lower_view(nacre_plan *plan, const nacre_record *r, int record, int in, int out) {
    bool slots = false;
    nacre_word *words = copy_attrs(plan, r, record, &slots);
    if (!words) {
        return false;
    }
    plan_value *value = value_at(plan, out);
    value->view_of = in;
    if (!nacre_plan_apply_view(plan, value, r->op, words)) {
        value->view_of = nacre_plan_add_copy(plan, in, record);
        value = value_at(plan, out);
        if (!nacre_plan_apply_view(plan, value, r->op, words)) {
            nacre_fail_at(NACRE_INTERNAL, r->file, r->line, "%s: no view of a contiguous value",
                          r->op->name);
            return false;
        }
    }
    const plan_value *seen = value_at(plan, value->view_of);
    value->place = PLACE_ALIAS;
    value->base = seen->base;
    value->record = record;
    value->slot_view = slots || seen->slot_view;
    value->index = -1;
    if (value->slot_view) {
        plan->views[plan->view_count++] = (plan_view){out, r->op, words};
    }
    return true;
}

/* ---- roots ---- */

/* Value `id` is stored as root `root`: it must own its memory, so a view or a leaf is copied first. A
   view of all of a value that nobody stores lends its base instead. */
static void place_root(nacre_plan *plan, const nacre_work *work, int root) {
    nacre_value *value = nacre_work_resolve(work->roots.items[root]);
    int id = nacre_work_id(work, value);
    plan_value *v = value_at(plan, id);
    if (v->place == PLACE_ALIAS && !v->slot_view) {
        plan_value *base = value_at(plan, v->base);
        if (base->place == PLACE_ARENA && base->bytes == v->bytes && v->offset == 0 &&
            nacre_strides_contiguous(&v->shape, v->strides)) {
            id = v->base;
            v = base;
        }
    }
    if (v->place != PLACE_ARENA) {
        id = nacre_plan_add_copy(plan, id, v->record >= 0 ? v->record : -1);
        v = value_at(plan, id);
    }
    v->place = PLACE_ROOT;
    v->index = root;
    plan->root_value[root] = id;
}

/* ---- the pass ---- */

/* `copy` makes no step unless its result is stored: then it is one, where it stands in the program. */
static bool lower_identity(nacre_plan *plan, const nacre_record *r, int record, int in, int out,
                           uint64_t mark) {
    plan_value *value = value_at(plan, out);
    const plan_value *source = value_at(plan, in);
    if (r->out[0].mark == mark) {
        plan_step *step = nacre_plan_add_step(plan, &nacre_op_copy, NULL, record);
        step->inputs = step->outputs = 1;
        step->in[0] = in;
        step->out[0] = out;
        value->record = record;
        return true;
    }
    value->place = PLACE_ALIAS;
    value->base = source->base;
    value->view_of = in;
    value->offset = source->offset;
    value->slot_view = source->slot_view;
    value->record = record;
    memcpy(value->strides, source->strides, sizeof value->strides);
    if (value->slot_view) {
        plan->views[plan->view_count++] = (plan_view){out, NULL, NULL};
    }
    return true;
}

static bool lower_record(nacre_plan *plan, const nacre_work *work, const nacre_record *r,
                         int record) {
    int in[NACRE_MAX_INPUTS];
    for (int i = 0; i < r->inputs; i++) {
        in[i] = r->in[i] ? nacre_work_id(work, nacre_work_resolve(r->in[i])) : -1;
    }
    /* Not nacre_work_id: what is stored of a record that runs again for another result is a leaf besides. */
    int first_out = r->out[0].plan_index;
    if (r->op == &nacre_op_copy) {
        return lower_identity(plan, r, record, in[0], first_out, work->mark);
    }
    if (r->op->view) {
        return lower_view(plan, r, record, in[0], first_out);
    }
    bool slots;
    nacre_word *words = copy_attrs(plan, r, record, &slots);
    if (!words) {
        return false;
    }
    plan_step *step = nacre_plan_add_step(plan, r->op, words, record);
    step->inputs = r->inputs;
    step->outputs = r->outputs;
    memcpy(step->in, in, (size_t)r->inputs * sizeof in[0]);
    for (int i = 0; i < r->outputs; i++) {
        step->out[i] = first_out + i;
        value_at(plan, first_out + i)->record = record;
    }
    return true;
}

bool nacre_plan_lower(nacre_plan *plan, const nacre_work *work) {
    size_t records = work->records.count, values = work->values.count, roots = work->roots.count;
    /* A record makes at most one copy of its own, a root one here and one more when it is deferred, an
       input one when its kernel asks for it. */
    size_t inputs = 0;
    for (size_t i = 0; i < records; i++) {
        inputs += (size_t)((const nacre_record *)work->records.items[i])->inputs;
    }
    plan->value_capacity = (int)(values + records + 2 * roots + inputs);
    plan->step_capacity = (int)(2 * records + 2 * roots + inputs + 1);
    plan->values = nacre_plan_alloc(plan, (size_t)plan->value_capacity, sizeof *plan->values);
    plan->steps = nacre_plan_alloc(plan, (size_t)plan->step_capacity, sizeof *plan->steps);
    plan->root_value = nacre_plan_alloc(plan, roots + 1, sizeof *plan->root_value);
    plan->slots = nacre_plan_alloc(plan, records * NACRE_MAX_ATTRS + 1, sizeof *plan->slots);
    plan->views = nacre_plan_alloc(plan, records + 1, sizeof *plan->views);
    if (!plan->values || !plan->steps || !plan->root_value || !plan->slots || !plan->views) {
        return false;
    }
    plan->value_count = (int)values;
    plan->leaf_count = (int)work->leaves.count;
    plan->root_count = (int)roots;
    plan->record_count = (int)records;
    init_values(plan, work);
    for (size_t i = 0; i < records; i++) {
        if (!lower_record(plan, work, work->records.items[i], (int)i)) {
            return false;
        }
    }
    for (size_t i = 0; i < roots; i++) {
        place_root(plan, work, (int)i);
    }
    return true;
}
