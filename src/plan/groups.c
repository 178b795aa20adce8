/* Which element-wise f32 steps run together, and behind which product. Steps are looked at once, in order; each
   joins the latest group that makes one of its inputs, or begins a group. */
#include "plan/groups.h"

#include <string.h>

static bool same_shape(const nacre_plan *plan, int a, int b) {
    return nacre_shape_equal(&plan->values[a].shape, &plan->values[b].shape);
}

static bool can_fuse(const nacre_plan *plan, const plan_step *step) {
    const nacre_op *op = step->op;
    if (!(op->flags & NACRE_OP_ELEMENTWISE) || step->outputs != 1 || step->inputs > 3 ||
        !plan->backend->fuses(op) || plan->values[step->out[0]].dtype != NACRE_F32) {
        return false;
    }
    for (int i = 0; i < step->inputs; i++) {
        if (step->in[i] < 0 || plan->values[step->in[i]].dtype != NACRE_F32) {
            return false;
        }
    }
    return true;
}

/* The group that `step` may join through input `id`: the one that makes it, not read from outside yet. */
static int group_through(const plan_groups *f, const plan_step *step, int id) {
    int maker = f->maker[f->plan->values[id].base];
    int at = maker < 0 ? -1 : f->group_of[maker];
    if (at < 0 || !same_shape(f->plan, id, step->out[0])) {
        return -1;
    }
    const plan_group *g = &f->groups[at];
    if (g->product >= 0 && f->read_outside[nacre_group_product(f, g)]) {
        return -1;
    }
    for (int i = 0; i < g->count; i++) {
        if (f->read_outside[f->plan->steps[g->members[i]].out[0]]) {
            return -1;
        }
    }
    return at;
}

static bool is_made_in(const plan_groups *f, const plan_group *g, int id) {
    int maker = f->maker[id];
    return maker >= 0 && f->group_of[maker] == (int)(g - f->groups);
}

static bool reads_through_view(const plan_groups *f, const plan_step *step, int base) {
    for (int i = 0; i < step->inputs; i++) {
        if (f->plan->values[step->in[i]].base == base && step->in[i] != base) {
            return true;
        }
    }
    return false;
}

/* Every input that lies in the group must be read as it is, not through a view. */
static bool reads_plainly(const plan_groups *f, const plan_group *g, const plan_step *step) {
    for (int i = 0; i < step->inputs; i++) {
        int base = f->plan->values[step->in[i]].base;
        bool inside = base == nacre_group_product(f, g) || is_made_in(f, g, base);
        if (inside && reads_through_view(f, step, base)) {
            return false;
        }
    }
    return true;
}

static bool has_input(const plan_group *g, int id) {
    for (int i = 0; i < g->input_count; i++) {
        if (g->inputs[i] == id) {
            return true;
        }
    }
    return false;
}

/* Adds the step's outside inputs; false: too many, and the group is as before. */
static bool take_inputs(const plan_groups *f, plan_group *g, const plan_step *step) {
    int before = g->input_count;
    for (int i = 0; i < step->inputs; i++) {
        int id = step->in[i];
        if (is_made_in(f, g, id) || has_input(g, id) || id == nacre_group_product(f, g)) {
            continue;
        }
        /* A product's own operands (three at most) and register 0 take places too. */
        if (g->input_count == NACRE_PROGRAM_INPUTS - 4) {
            g->input_count = before;
            return false;
        }
        g->inputs[g->input_count++] = id;
    }
    return true;
}

/* ---- behind a product ---- */

/* One number for each channel of `shape`, or one for all? */
static bool is_channels(const nacre_shape *numbers, const nacre_shape *shape) {
    int lead = shape->ndim - numbers->ndim;
    if (shape->ndim < 2 || lead < 0) return false;
    for (int i = 0; i < numbers->ndim; i++)
        if (numbers->dims[i] != 1 && i + lead != 1) return false;
    return true;
}

/* `last`: the step before it in the epilogue; the maker itself, if there is none. */
static nacre_epilogue_member member_of(const nacre_plan *plan, const plan_step *maker,
                                       const plan_step *last, const plan_step *step, int position) {
    nacre_epilogue_member member = {
        .op = step->op, .position = position, .last = position > 0 ? last->op : NULL};
    for (int i = 0; i < 2 && i < maker->inputs; i++)
        if (maker->in[i] >= 0) member.inputs[i] = &plan->values[maker->in[i]].shape;
    for (int i = 0; i < step->inputs; i++) {
        if (same_shape(plan, step->in[i], maker->out[0])) member.whole |= NACRE_READS_IN(i);
        if (is_channels(&plan->values[step->in[i]].shape, &plan->values[maker->out[0]].shape))
            member.channel |= NACRE_READS_IN(i);
        if (step->in[i] == last->out[0]) member.result |= NACRE_READS_IN(i);
        if (step->in[i] == maker->out[0]) member.product |= NACRE_READS_IN(i);
        if (position == 0 && step->in[i] == maker->in[0]) member.first |= NACRE_READS_IN(i);
    }
    for (int i = 0; position > 0 && i < last->inputs; i++)
        if (same_shape(plan, last->in[i], maker->out[0])) member.last_whole |= NACRE_READS_IN(i);
    return member;
}

/* The step as number `position` of the group's members, behind `maker`. */
static bool takes(const nacre_plan *plan, const plan_group *g, const plan_step *maker,
                  const plan_step *step, int position) {
    const plan_step *last = position > 0 ? &plan->steps[g->members[position - 1]] : maker;
    const nacre_epilogue_member member = member_of(plan, maker, last, step, position);
    return plan->backend->takes_epilogue(maker->op, &member);
}

/* Where the step runs that makes the value; -1: a leaf, there from the start. */
static int made_at(const plan_groups *f, int id) {
    int maker = f->maker[f->plan->values[id].base];
    if (maker < 0) return -1;
    int at = f->folded[maker] >= 0 ? f->folded[maker] : f->group_of[maker];
    return at < 0 ? maker : f->groups[at].position;
}

/* Are the values, but for `except`, there before step `position`? */
static bool made_before(const plan_groups *f, const int *ids, int count, int except, int position) {
    for (int i = 0; i < count; i++)
        if (ids[i] != except && made_at(f, ids[i]) >= position) return false;
    return true;
}

/* A product whose result only this step reads, and reads as it is, runs with the group. */
static void fold_product(plan_groups *f, plan_group *g, const plan_step *step) {
    nacre_plan *plan = f->plan;
    for (int i = 0; g->product < 0 && i < step->inputs; i++) {
        int id = step->in[i], maker = f->maker[id];
        if (maker < 0 || f->group_of[maker] >= 0 || f->folded[maker] >= 0 || f->read_outside[id] ||
            !takes(plan, g, &plan->steps[maker], step, g->count - 1) ||
            !same_shape(plan, id, step->out[0]) || reads_through_view(f, step, id)) {
            continue;
        }
        bool early = plan->steps[maker].outputs > 1;
        if (early && !made_before(f, g->inputs, g->input_count, id, maker)) continue;
        g->product = maker;
        g->early = early;
        if (early) g->position = maker;
        f->folded[maker] = (int)(g - f->groups);
        for (int k = 0; k < g->input_count; k++) {
            if (g->inputs[k] == id) {
                g->inputs[k] = g->inputs[--g->input_count];
                break;
            }
        }
    }
}

static bool fits_epilogue(const plan_groups *f, const plan_group *g, const plan_step *step) {
    const nacre_plan *plan = f->plan;
    if (g->product < 0) return true;
    for (int i = 0; g->early && i < step->inputs; i++) {
        bool inside = step->in[i] == nacre_group_product(f, g) || is_made_in(f, g, step->in[i]);
        if (!inside && made_at(f, step->in[i]) >= g->position) return false;
    }
    return takes(plan, g, &plan->steps[g->product], step, g->count);
}

/* ---- step by step ---- */

static void join(plan_groups *f, int at, int index) {
    plan_group *g = &f->groups[at];
    f->group_of[index] = at;
    g->members[g->count++] = index;
    if (!g->early) g->position = index;
}

static void note_readers(plan_groups *f, int index) {
    const plan_step *step = &f->plan->steps[index];
    for (int i = 0; i < step->inputs; i++) {
        if (step->in[i] < 0) {
            continue;
        }
        int base = f->plan->values[step->in[i]].base, maker = f->maker[base];
        bool inside = maker >= 0 && f->group_of[index] >= 0 &&
                      (f->group_of[maker] == f->group_of[index] ||
                       f->groups[f->group_of[index]].product == maker);
        f->read_outside[base] |= !inside;
    }
}

/* The latest group that makes an input of the step, which joins it; -1: there is none that takes it. */
static int joined_group(plan_groups *f, const plan_step *step) {
    int best = -1;
    for (int i = 0; i < step->inputs; i++) {
        int at = group_through(f, step, step->in[i]);
        if (at >= 0 && (best < 0 || f->groups[at].position > f->groups[best].position)) {
            best = at;
        }
    }
    plan_group *g = best < 0 ? NULL : &f->groups[best];
    bool takes_it = g && g->count < NACRE_PROGRAM_CODES && fits_epilogue(f, g, step) &&
                    reads_plainly(f, g, step) && take_inputs(f, g, step);
    return takes_it ? best : -1;
}

static void place_step(plan_groups *f, int index) {
    const plan_step *step = &f->plan->steps[index];
    bool unfused = f->plan->unfused;
    f->maker[step->out[0]] = index;
    if (!can_fuse(f->plan, step)) {
        return;
    }
    int best = unfused ? -1 : joined_group(f, step);
    if (best < 0) {
        best = f->group_count++;
        f->groups[best] = (plan_group){.product = -1};
        take_inputs(f, &f->groups[best], step);
    }
    join(f, best, index);
    if (!unfused) fold_product(f, &f->groups[best], step);
}

bool nacre_plan_find_groups(plan_groups *f, nacre_plan *plan) {
    size_t steps = (size_t)plan->step_count + 1, values = (size_t)plan->value_count + 1;
    *f = (plan_groups){.plan = plan,
                       .groups = nacre_plan_alloc(plan, steps, sizeof *f->groups),
                       .group_of = nacre_plan_alloc(plan, steps, sizeof *f->group_of),
                       .maker = nacre_plan_alloc(plan, values, sizeof *f->maker),
                       .read_outside = nacre_plan_alloc(plan, values, sizeof *f->read_outside),
                       .folded = nacre_plan_alloc(plan, steps, sizeof *f->folded)};
    if (!f->groups || !f->group_of || !f->maker || !f->read_outside || !f->folded) {
        return false;
    }
    memset(f->group_of, -1, steps * sizeof *f->group_of);
    memset(f->folded, -1, steps * sizeof *f->folded);
    memset(f->maker, -1, values * sizeof *f->maker);
    for (int i = 0; i < plan->step_count; i++) {
        place_step(f, i);
        for (int k = 1; k < plan->steps[i].outputs; k++) {
            f->maker[plan->steps[i].out[k]] = i;
        }
        note_readers(f, i);
    }
    return true;
}
