/* The plan verifier: replays the plan on paper. Every read must find the value it was planned for, in the arena
   and in variables; a plan that fails is a bug of ours and never runs. */
#include "base/error.h"
#include "plan/plan.h"

#include <string.h>

typedef struct extent {
    size_t from, to;
} extent;

static extent extent_of(const plan_value *value) {
    return (extent){value->arena_offset, value->arena_offset + (value->bytes ? value->bytes : 1)};
}

static bool overlap(extent a, extent b) {
    return a.from < b.to && b.from < a.to;
}

/* valid[id]: value id has been written and not been overwritten since. */
static void invalidate_arena(const nacre_plan *plan, bool *valid, extent written, int writer) {
    for (int i = 0; i < plan->value_count; i++) {
        if (i != writer && valid[i] && plan->values[i].place == PLACE_ARENA &&
            overlap(extent_of(&plan->values[i]), written)) {
            valid[i] = false;
        }
    }
}

static bool inputs_valid(const nacre_plan *plan, const bool *valid, int s) {
    const plan_step *step = &plan->steps[s];
    for (int i = 0; i < step->call.inputs; i++) {
        if (step->in[i] >= 0 && !valid[plan->values[step->in[i]].base]) {
            nacre_fail(NACRE_INTERNAL, "plan: step %d (%s) reads value %d, which is not there", s,
                       step->label, step->in[i]);
            return false;
        }
    }
    return true;
}

static void write_output(const nacre_plan *plan, bool *valid, int id) {
    const plan_value *value = &plan->values[id];
    if (value->place == PLACE_ARENA) {
        invalidate_arena(plan, valid, extent_of(value), id);
    } else if (value->place == PLACE_ROOT && plan->root_leaf[value->index] >= 0) {
        valid[plan->root_leaf[value->index]] = false;
    }
    valid[id] = true;
}

bool nacre_plan_verify(const nacre_plan *plan) {
    bool *valid = nacre_alloc_zeroed((size_t)plan->value_count + 1, sizeof *valid);
    if (!valid) {
        return false;
    }
    bool ok = true;
    for (int i = 0; i < plan->value_count; i++) {
        valid[i] = plan->values[i].place == PLACE_LEAF;
    }
    for (int s = 0; ok && s < plan->step_count; s++) {
        const plan_step *step = &plan->steps[s];
        ok = inputs_valid(plan, valid, s);
        if (ok && step->call.scratch > 0) {
            extent scratch = {step->scratch_offset, step->scratch_offset + step->call.scratch};
            for (int i = 0; i < step->call.inputs; i++) {
                const plan_value *in =
                    step->in[i] < 0 ? NULL : &plan->values[plan->values[step->in[i]].base];
                ok = ok && !(in && in->place == PLACE_ARENA && overlap(extent_of(in), scratch));
            }
            invalidate_arena(plan, valid, scratch, -1);
        }
        for (int i = 0; ok && i < step->call.outputs; i++) {
            write_output(plan, valid, step->out[i]);
        }
    }
    for (int r = 0; ok && r < plan->root_count; r++) {
        ok = valid[plan->root_value[r]] && plan->values[plan->root_value[r]].place == PLACE_ROOT;
    }
    nacre_free(valid);
    if (!ok && nacre_error_code() != NACRE_INTERNAL) {
        nacre_fail(NACRE_INTERNAL, "plan: a root or a scratch area is overwritten");
    }
    return ok;
}
