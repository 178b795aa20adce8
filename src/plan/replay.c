/* Running a plan on the values of the evaluation at hand. Allocates nothing. */
#include "plan/replay.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/trace.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- binding ---- */

static void refresh_slots(nacre_plan *plan, const nacre_work *work) {
    for (int i = 0; i < plan->slot_count; i++) {
        const plan_slot *slot = &plan->slots[i];
        *slot->to = ((const nacre_record *)work->records.items[slot->record])->attrs[slot->attr];
    }
}

static void refresh_views(nacre_plan *plan) {
    for (int i = 0; i < plan->view_count; i++) {
        const plan_view *view = &plan->views[i];
        plan_value *value = &plan->values[view->value];
        if (view->op) {
            nacre_plan_apply_view(plan, value, view->op, view->attrs);
        } else {
            value->offset = plan->values[value->view_of].offset;
        }
    }
}

/* Sets value `id`'s memory, and notes whether it has moved since the last replay. */
static bool set_base(nacre_plan *plan, int id, unsigned char *base) {
    plan->moved[id] = plan->bases[id] != base || !plan->bound;
    plan->bases[id] = base;
    return plan->moved[id];
}

/* false: everything lies where it lay. */
static bool find_bases(nacre_plan *plan, const nacre_planner *planner) {
    bool moved = !plan->bound;
    for (int i = 0; !plan->bound && i < plan->value_count; i++) {
        const plan_value *value = &plan->values[i];
        if (value->place == PLACE_ARENA) { /* of the same thread for life */
            set_base(plan, i, planner->arena.base + value->arena_offset);
        } else if (value->place == PLACE_LEAF) {
            plan->leaf_value[value->index] = i;
        }
    }
    for (int i = 0; i < plan->leaf_count; i++) {
        const nacre_value *leaf = planner->work.leaves.items[i];
        moved |= set_base(plan, plan->leaf_value[i], leaf->storage->data);
    }
    for (int i = 0; i < plan->root_count; i++) {
        nacre_storage *storage = planner->storages.items[i];
        moved |= set_base(plan, plan->root_value[i], storage->data);
    }
    return moved;
}

static void point(const nacre_plan *plan, nacre_array *array, int id) {
    if (id < 0) {
        array->data = NULL;
        return;
    }
    const plan_value *value = &plan->values[id];
    array->data =
        plan->bases[value->base] + value->offset * (int64_t)nacre_dtype_size(value->dtype);
}

static bool has_moved(const nacre_plan *plan, const plan_step *step) {
    bool moved = !plan->bound;
    for (int i = 0; i < step->inputs; i++) {
        moved |= step->in[i] >= 0 && plan->moved[step->in[i]];
    }
    for (int i = 0; i < step->outputs; i++) {
        moved |= plan->moved[step->out[i]];
    }
    return moved;
}

static void find_keepers(nacre_plan *plan, const nacre_work *work) {
    for (int i = 0; i < plan->keeper_count; i++) {
        const nacre_value *leaf = work->leaves.items[plan->keepers[i].leaf];
        plan->keepers[i].call->keeper = leaf->storage;
    }
}

void nacre_replay_bind(nacre_plan *plan, nacre_planner *planner) {
    refresh_slots(plan, &planner->work);
    refresh_views(plan);
    find_keepers(plan, &planner->work);
    if (!find_bases(plan, planner) && plan->view_count == 0) {
        return;
    }
    /* A view has moved with its base, or by itself. */
    for (int i = 0; i < plan->value_count; i++) {
        const plan_value *value = &plan->values[i];
        if (value->place == PLACE_ALIAS) {
            plan->moved[i] = value->slot_view || plan->moved[value->base];
        }
    }
    for (int s = 0; s < plan->step_count; s++) {
        plan_step *step = &plan->steps[s];
        if (!has_moved(plan, step)) {
            continue;
        }
        for (int i = 0; i < step->inputs; i++) {
            point(plan, &step->call->in[i], step->in[i]);
        }
        for (int i = 0; i < step->outputs; i++) {
            point(plan, &step->call->out[i], step->out[i]);
        }
    }
    if (!plan->bound) {
        memset(plan->moved, 0, (size_t)plan->value_count * sizeof *plan->moved);
        plan->bound = true;
    }
}

/* ---- checks ---- */

static const nacre_record *record_of(const nacre_planner *planner, const plan_step *step) {
    return step->record < 0 ? NULL : planner->work.records.items[step->record];
}

/* The k-th element of an array, row-major. */
static const void *element_at(const nacre_array *array, int64_t k) {
    int64_t offset = 0;
    for (int i = array->shape.ndim - 1; i >= 0; i--) {
        offset += k % array->shape.dims[i] * array->strides[i];
        k /= array->shape.dims[i];
    }
    return (const unsigned char *)array->data + offset * (int64_t)nacre_dtype_size(array->dtype);
}

static void as_call(const nacre_plan_op *step, nacre_call *call) {
    *call = (nacre_call){.attrs = step->attrs, .inputs = step->inputs, .outputs = step->outputs};
    memcpy(call->in, step->in, (size_t)step->inputs * sizeof call->in[0]);
    memcpy(call->out, step->out, (size_t)step->outputs * sizeof call->out[0]);
}

/* Whole words and no early end, so that compilers vectorise it. */
static bool all_below(const int64_t *index, int64_t count, int64_t bound) {
    uint64_t bad = 0;
    for (int64_t k = 0; k < count; k++) {
        bad |= (uint64_t)index[k] >= (uint64_t)bound;
    }
    return bad == 0;
}

static nacre_status check_indices(const nacre_planner *planner, const plan_step *step) {
    const nacre_op *op = step->op;
    nacre_call call;
    as_call(step->call, &call);
    const nacre_array *indices = &call.in[op->index_input];
    int64_t bound = op->index_bound(&call), count = nacre_shape_numel(&indices->shape);
    if (indices->dtype == NACRE_I64 && bound >= 0 &&
        nacre_strides_contiguous(&indices->shape, indices->strides) &&
        all_below(indices->data, count, bound)) {
        return NACRE_OK;
    }
    const nacre_dtype_info *info = nacre_dtype_get(indices->dtype);
    for (int64_t k = 0; k < count; k++) {
        int64_t index = info->load_int(element_at(indices, k));
        if (index < 0 || index >= bound) {
            const nacre_record *r = record_of(planner, step);
            return nacre_fail_at(NACRE_OUT_OF_RANGE, r->file, r->line,
                                 "%s: index %lld at position %lld is outside [0, %lld)", op->name,
                                 (long long)index, (long long)k, (long long)bound);
        }
    }
    return NACRE_OK;
}

/* All exponent bits set: NaN or Inf. Whole words and no branch, so that compilers vectorise it. */
static bool all_finite_f32(const float *x, int64_t count) {
    uint32_t bad = 0;
    for (int64_t k = 0; k < count; k++) {
        uint32_t bits;
        memcpy(&bits, &x[k], sizeof bits);
        bad |= (bits & 0x7F800000u) == 0x7F800000u;
    }
    return bad == 0;
}

/* Lanes that stand for no sample may hold anything. */
static bool is_finite_laned(const float *x, const nacre_shape *shape) {
    int64_t pixels = 1, samples = shape->dims[0];
    for (int i = 1; i < shape->ndim; i++) {
        pixels *= shape->dims[i];
    }
    int64_t whole = samples / NACRE_LANES * pixels * NACRE_LANES;
    bool finite = all_finite_f32(x, whole);
    x += whole;
    for (int64_t p = 0; samples % NACRE_LANES && p < pixels; p++) {
        finite &= all_finite_f32(x + p * NACRE_LANES, samples % NACRE_LANES);
    }
    return finite;
}

static bool is_finite(const nacre_array *array, const plan_value *value) {
    if (!nacre_dtype_is_float(array->dtype)) {
        return true;
    }
    if (value->laned) {
        return is_finite_laned(array->data, &value->shape);
    }
    const nacre_dtype_info *info = nacre_dtype_get(array->dtype);
    int64_t count = nacre_shape_numel(&array->shape);
    if (array->dtype == NACRE_F32 && nacre_strides_contiguous(&array->shape, array->strides)) {
        return all_finite_f32(array->data, count);
    }
    for (int64_t k = 0; k < count; k++) {
        if (!isfinite(info->load(element_at(array, k)))) {
            return false;
        }
    }
    return true;
}

/* The NaN watch: a step that turns finite inputs into NaN or Inf is the culprit. */
static nacre_status watch(const nacre_plan *plan, const nacre_planner *planner,
                          const plan_step *step) {
    for (int i = 0; i < step->outputs; i++) {
        if (is_finite(&step->call->out[i], &plan->values[step->out[i]])) {
            continue;
        }
        char shapes[NACRE_SHAPE_TEXT * 3];
        size_t used = 0;
        for (int k = 0; k < step->inputs && used < sizeof shapes - NACRE_SHAPE_TEXT; k++) {
            char text[NACRE_SHAPE_TEXT];
            used += (size_t)snprintf(shapes + used, sizeof shapes - used, "%s%s", k ? ", " : "",
                                     nacre_shape_text(&step->call->in[k].shape, text));
        }
        shapes[used] = '\0';
        char out[NACRE_SHAPE_TEXT];
        const nacre_record *r = record_of(planner, step);
        return nacre_fail_at(NACRE_NUMERICAL, r ? r->file : NULL, r ? r->line : 0,
                             "%s: made a NaN or Inf, inputs %s, output %s", step->label, shapes,
                             nacre_shape_text(&step->call->out[i].shape, out));
    }
    return NACRE_OK;
}

/* ---- running ---- */

static nacre_status check_first(const nacre_plan *plan, const nacre_planner *planner) {
    nacre_status status = NACRE_OK;
    for (int s = 0; status == NACRE_OK && s < plan->step_count; s++) {
        if (plan->steps[s].check == CHECK_FIRST) {
            status = check_indices(planner, &plan->steps[s]);
        }
    }
    return status;
}

static nacre_status run_step(const nacre_plan *plan, const nacre_planner *planner, int s) {
    const plan_step *step = &plan->steps[s];
    if (s <= plan->first_effect && nacre_cancelled()) {
        return nacre_fail(NACRE_CANCELLED, "cancelled: nothing was changed");
    }
    if (step->check == CHECK_LATE) {
        nacre_status status = check_indices(planner, step);
        if (status != NACRE_OK) {
            return status;
        }
    }
    step->call->run(step->call, planner->arena.base + step->scratch_offset);
    return plan->watch ? watch(plan, planner, step) : NACRE_OK;
}

nacre_status nacre_replay_run(nacre_plan *plan, nacre_planner *planner) {
    uint64_t session = nacre_trace_session();
    bool traced = session && nacre_replay_trace_names(plan, planner, session);
    uint64_t begin = traced ? nacre_clock_ns() : 0;
    nacre_status status = check_first(plan, planner);
    for (int s = 0; status == NACRE_OK && s < plan->step_count; s++) {
        uint64_t step_begin = traced ? nacre_clock_ns() : 0;
        status = run_step(plan, planner, s);
        if (traced) {
            nacre_replay_trace_step(plan, s, step_begin);
        }
    }
    if (traced) {
        nacre_replay_trace_all(plan, begin);
    }
    return status;
}
