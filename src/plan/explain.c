/* How pending work would run: the plan, as text and numbers, without running it. */
#include "base/error.h"
#include "plan/replay.h"

#include <stdio.h>
#include <string.h>

static size_t append_shape(char *text, size_t used, size_t size, const char *before,
                           const nacre_shape *shape) {
    char one[NACRE_SHAPE_TEXT];
    int more = snprintf(text + used, size - used, "%s%s", before, nacre_shape_text(shape, one));
    return used + (size_t)more < size ? used + (size_t)more : size - 1;
}

static char *step_shapes(const plan_step *step) {
    char text[512] = "";
    size_t used = 0;
    bool first = true;
    for (int i = 0; i < step->inputs; i++) {
        if (step->in[i] >= 0) {
            used =
                append_shape(text, used, sizeof text, first ? "" : " x ", &step->call->in[i].shape);
            first = false;
        }
    }
    used = append_shape(text, used, sizeof text, first ? "-> " : " -> ", &step->call->out[0].shape);
    (void)used;
    return nacre_strdup(text);
}

void nacre_plan_place(const nacre_work *work, const plan_step *step, char *text, size_t size) {
    const nacre_record *r = step->record < 0 ? NULL : work->records.items[step->record];
    const char *file = r && r->file ? r->file : "";
    const char *slash = strrchr(file, '/');
    *text = 0;
    if (*file) {
        int length = snprintf(text, size, "%s", slash ? slash + 1 : file);
        if (r->line && length < (int)size) {
            snprintf(text + length, size - (size_t)length, ":%d", r->line);
        }
    }
}

static char *step_place(const nacre_work *work, const plan_step *step) {
    char text[256];
    nacre_plan_place(work, step, text, sizeof text);
    return nacre_strdup(text);
}

static char *step_way(const nacre_plan *plan, const nacre_plan_op *call) {
    char text[NACRE_WAY_BYTES] = "";
    if (plan->backend->describe) {
        plan->backend->describe(call, text, sizeof text);
    }
    return nacre_strdup(*text ? text : call->kernel);
}

/* Each array once: what a broadcast or a view does not touch is not counted. */
static double array_bytes(const nacre_array *array) {
    double count = 1;
    for (int i = 0; i < array->shape.ndim; i++) {
        count *= array->strides[i] || array->shape.dims[i] == 0 ? (double)array->shape.dims[i] : 1;
    }
    return count * (double)nacre_dtype_size(array->dtype);
}

bool nacre_explain_step(const nacre_plan *plan, const nacre_work *work, const plan_step *step,
                        nacre_plan_step *out) {
    *out = (nacre_plan_step){0};
    out->kernel = nacre_strdup(step->label);
    out->shapes = step_shapes(step);
    out->where = step_place(work, step);
    out->way = step_way(plan, step->call);
    out->flops = step->flops;
    out->offset = -1;
    for (int i = 0; i < step->inputs; i++) {
        out->bytes += step->in[i] < 0 ? 0 : array_bytes(&step->call->in[i]);
    }
    for (int i = 0; i < step->outputs; i++) {
        const plan_value *value = &plan->values[step->out[i]];
        out->bytes += (double)value->bytes;
        out->output_bytes += value->bytes;
        if (i == 0 && value->place == PLACE_ARENA) {
            out->offset = (int64_t)value->arena_offset;
        }
    }
    return out->kernel && out->shapes && out->where && out->way;
}

nacre_explanation *nacre_explain_plan(const nacre_plan *plan, const nacre_planner *planner,
                                      const nacre_thread *thread) {
    const nacre_work *work = &planner->work;
    size_t reached = (work->frame ? &work->expanded : &work->records)->count;
    nacre_explanation *e = nacre_alloc_zeroed(1, sizeof *e);
    if (!e) {
        return NULL;
    }
    size_t count = (size_t)plan->step_count;
    e->steps = nacre_alloc_zeroed(count + 1, sizeof *e->steps);
    bool ok = e->steps != NULL;
    e->count = ok ? count : 0;
    for (size_t i = 0; ok && i < count; i++) {
        ok = nacre_explain_step(plan, &planner->work, &plan->steps[i], &e->steps[i]);
        e->flops += e->steps[i].flops;
        e->bytes += e->steps[i].bytes;
    }
    if (!ok) {
        nacre_explanation_free(e);
        return NULL;
    }
    e->peak_bytes = plan->arena_bytes;
    e->live_lower_bound = plan->live_bound;
    e->variable_bytes = plan->variable_bytes;
    e->records = (size_t)plan->record_count;
    e->dropped = thread->pending > reached ? (size_t)thread->pending - reached : 0;
    e->fused = (size_t)plan->fused;
    e->recomputed = (size_t)plan->recomputed;
    return e;
}

nacre_explanation *nacre_explain(nacre_tensor *t) {
    if (!t || t->error || !t->value) {
        nacre_fail(t && t->error ? t->error->status : NACRE_INVALID_ARGUMENT, "%s",
                   t && t->error ? t->error->text : "explain: no tensor");
        return NULL;
    }
    nacre_thread *thread = nacre_this_thread();
    nacre_planner *planner = thread ? nacre_planner_get(thread) : NULL;
    if (!planner) {
        return NULL;
    }
    if (thread->evaluating) {
        nacre_fail(NACRE_INVALID_STATE, "explain: called from within an evaluation");
        return NULL;
    }
    if (nacre_value_check_thread(t->value) != NACRE_OK) {
        return NULL;
    }
    thread->evaluating = true;
    nacre_work *work = &planner->work;
    nacre_explanation *explanation = NULL;
    if (nacre_work_gather(work, thread, nacre_thread_backend(thread), &t, 1) == NACRE_OK) {
        nacre_plan *plan = nacre_plan_for(planner, thread);
        explanation = plan ? nacre_explain_plan(plan, planner, thread) : NULL;
    }
    nacre_work_finish(work);
    thread->evaluating = false;
    return explanation;
}

nacre_status nacre_explain_next(nacre_explanation **out) {
    nacre_thread *thread = nacre_this_thread();
    nacre_planner *planner = thread ? nacre_planner_get(thread) : NULL;
    if (!planner) {
        return NACRE_OUT_OF_MEMORY;
    }
    *out = NULL;
    planner->explain_to = out;
    return NACRE_OK;
}

void nacre_explanation_free(nacre_explanation *explanation) {
    if (!explanation) {
        return;
    }
    for (size_t i = 0; i < explanation->count; i++) {
        nacre_free((char *)(uintptr_t)explanation->steps[i].kernel);
        nacre_free((char *)(uintptr_t)explanation->steps[i].shapes);
        nacre_free((char *)(uintptr_t)explanation->steps[i].where);
        nacre_free((char *)(uintptr_t)explanation->steps[i].way);
    }
    nacre_free(explanation->steps);
    nacre_free(explanation);
}
