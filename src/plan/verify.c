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

static bool overlap(extent a, extent b) { return a.from < b.to && b.from < a.to; }

/* The state on paper: valid[id] while value id has been written and not been overwritten since; live: the arena's
   values that are valid and read later. */
typedef struct paper {
    const nacre_plan *plan;
    bool *valid;
    int *live;
    int live_count;
} paper;

static void invalidate_arena(paper *p, extent written, int step) {
    int left = 0;
    for (int i = 0; i < p->live_count; i++) {
        int id = p->live[i];
        const plan_value *value = &p->plan->values[id];
        if (overlap(extent_of(value), written)) {
            p->valid[id] = false;
        } else if (value->last_read > step) {
            p->live[left++] = id;
        }
    }
    p->live_count = left;
}

static bool inputs_valid(const paper *p, int s) {
    const nacre_plan *plan = p->plan;
    const plan_step *step = &plan->steps[s];
    for (int i = 0; i < step->inputs; i++) {
        if (step->in[i] >= 0 && !p->valid[plan->values[step->in[i]].base]) {
            return false;
        }
    }
    return true;
}

static void write_output(paper *p, int id, int step) {
    const plan_value *value = &p->plan->values[id];
    if (value->place == PLACE_ARENA) {
        invalidate_arena(p, extent_of(value), step);
        p->live[p->live_count++] = id;
    } else if (value->place == PLACE_ROOT && p->plan->root_leaf[value->index] >= 0) {
        p->valid[p->plan->root_leaf[value->index]] = false;
    }
    p->valid[id] = true;
}

/* A scratch area must not lie over what its step reads. */
static bool use_scratch(paper *p, int s) {
    const plan_step *step = &p->plan->steps[s];
    extent scratch = {step->scratch_offset, step->scratch_offset + step->call->scratch};
    for (int i = 0; i < step->inputs; i++) {
        const plan_value *in =
            step->in[i] < 0 ? NULL : &p->plan->values[p->plan->values[step->in[i]].base];
        if (in && in->place == PLACE_ARENA && overlap(extent_of(in), scratch)) {
            return false;
        }
    }
    invalidate_arena(p, scratch, s);
    return true;
}

static bool replay_on_paper(paper *p) {
    const nacre_plan *plan = p->plan;
    for (int i = 0; i < plan->value_count; i++) {
        p->valid[i] = plan->values[i].place == PLACE_LEAF;
    }
    for (int s = 0; s < plan->step_count; s++) {
        const plan_step *step = &plan->steps[s];
        if (!inputs_valid(p, s) || (step->call->scratch > 0 && !use_scratch(p, s))) {
            return false;
        }
        for (int i = 0; i < step->outputs; i++) {
            write_output(p, step->out[i], s);
        }
    }
    for (int r = 0; r < plan->root_count; r++) {
        int id = plan->root_value[r];
        if (!p->valid[id] || plan->values[id].place != PLACE_ROOT) {
            return false;
        }
    }
    return true;
}

bool nacre_plan_verify(const nacre_plan *plan) {
    size_t values = (size_t)plan->value_count + 1;
    paper p = {.plan = plan,
               .valid = nacre_alloc_zeroed(values, sizeof *p.valid),
               .live = nacre_alloc_zeroed(values, sizeof *p.live)};
    bool room = p.valid && p.live, ok = room && replay_on_paper(&p);
    nacre_free(p.valid);
    nacre_free(p.live);
    if (room && !ok) {
        nacre_fail(NACRE_INTERNAL, "plan: a value, root or scratch area is overwritten too early");
    }
    return ok;
}
