/* Recomputing instead of keeping: under a memory limit, cheap values that are live across the peak are dropped and made
   again, by a copy of their step, just before they are next read. The same step gives the same bits. */
#include "base/error.h"
#include "plan/plan.h"

#include <stdio.h>
#include <string.h>

/* ---- what is live ---- */

static bool is_in_arena(const plan_value *v) { return v->place == PLACE_ARENA && v->defined >= 0; }

static bool is_live(const plan_value *v, int step) {
    return is_in_arena(v) && v->defined <= step && v->last_read >= step;
}

/* The step with the most live bytes, not counting what may be overwritten in place. scratch: count that of kernels, which
   have been chosen. */
static int find_peak(const nacre_plan *plan, bool scratch, int64_t *change, size_t *bytes) {
    memset(change, 0, (size_t)(plan->step_count + 1) * sizeof *change);
    for (int i = 0; i < plan->value_count; i++) {
        const plan_value *v = &plan->values[i];
        if (!is_in_arena(v)) continue;
        int last = v->last_read > v->defined ? v->last_read : v->defined;
        change[v->defined] += (int64_t)v->bytes;
        change[last + 1] -= (int64_t)v->bytes;
    }
    int64_t live = 0, most = -1;
    int peak = 0;
    for (int s = 0; s < plan->step_count; s++) {
        live += change[s];
        int64_t all = live + (scratch ? (int64_t)plan->steps[s].call->scratch : 0);
        if (all <= most) continue;
        most = all;
        peak = s;
    }
    *bytes = most > 0 ? (size_t)most : 0;
    return peak;
}

/* ---- what can be made again ---- */

static int first_read_after(const nacre_plan *plan, int base, int step) {
    for (int s = step + 1; s < plan->step_count; s++)
        for (int i = 0; i < plan->steps[s].inputs; i++) {
            int id = plan->steps[s].in[i];
            if (id >= 0 && plan->values[id].base == base) return s;
        }
    return -1;
}

static bool is_overwritten(const nacre_plan *plan, int leaf) {
    for (int r = 0; r < plan->root_count; r++)
        if (plan->root_leaf[r] == leaf) return true;
    return false;
}

/* Can the input be read again before step `at` without keeping it any longer? */
static bool stays(const nacre_plan *plan, int id, int at) {
    int base = plan->values[id].base;
    const plan_value *value = &plan->values[base];
    return value->last_read >= at || (value->place == PLACE_LEAF && !is_overwritten(plan, base));
}

static int result_of(const plan_step *step, int id) {
    for (int k = 0; k < step->outputs; k++)
        if (step->out[k] == id) return k;
    return -1;
}

static bool all_stay(const nacre_plan *plan, const plan_step *step, int at) {
    for (int i = 0; i < step->inputs; i++)
        if (step->in[i] >= 0 && !stays(plan, step->in[i], at)) return false;
    return true;
}

/* Takes about as long as reading and writing its values does: norms, pools, softmax, lookups. Batch norm with relu does 1.1
   operations on a byte, a convolution of 1 x 1 from 16 channels 2.7, of 3 x 3 ten and more. */
enum { CHEAP_FLOPS_A_BYTE = 2 };
static bool is_cheap(const nacre_plan *plan, const plan_step *step) {
    double bytes = 0;
    for (int i = 0; i < step->inputs; i++)
        if (step->in[i] >= 0) bytes += (double)plan->values[step->in[i]].bytes;
    for (int k = 0; k < step->outputs; k++) bytes += (double)plan->values[step->out[k]].bytes;
    return nacre_plan_step_flops(plan, step) <= CHEAP_FLOPS_A_BYTE * bytes;
}

/* The whole step again; the caller puts new values in the place of its results. */
static bool can_repeat_whole(const nacre_plan *plan, const plan_step *step, int at,
                             plan_step *again) {
    if (!step->op || !is_cheap(plan, step) || !all_stay(plan, step, at)) return false;
    *again = *step;
    again->check = CHECK_NONE; /* the first run has checked */
    return true;
}

/* One result of an element-wise group, or of the epilogue of a product whose own result is kept anyway. */
static bool can_repeat_group(const nacre_plan *plan, int value, int at, plan_step *again) {
    const plan_step *step = &plan->steps[plan->values[value].defined];
    if (!step->program) return false;
    int result = result_of(step, value), product = -1;
    if (result >= step->program->outputs) return false;
    for (int k = 0; k < step->program->outputs; k++)
        if (step->op && step->program->result[k] == 0) product = step->out[k];
    if (step->op && (product < 0 || product == value)) return false;
    *again = *step;
    memset(again->in, -1, sizeof again->in);
    memset(again->out, -1, sizeof again->out);
    again->op = NULL;
    again->attrs = NULL;
    again->own = again->inputs = 0;
    if (step->op) again->in[again->inputs++] = product;
    for (int i = step->own; i < step->inputs; i++) again->in[again->inputs++] = step->in[i];
    again->outputs = 1;
    again->out[0] = result; /* the caller puts the new value here */
    return all_stay(plan, again, at);
}

static bool can_repeat(const nacre_plan *plan, int value, int at, plan_step *again) {
    const plan_step *step = &plan->steps[plan->values[value].defined];
    return can_repeat_group(plan, value, at, again) || can_repeat_whole(plan, step, at, again);
}

static bool has_slot_views(const nacre_plan *plan, int value) {
    for (int i = 0; i < plan->view_count; i++)
        if (plan->values[plan->views[i].value].base == value) return true;
    return false;
}

/* The largest value across the peak that can be made again; -1: none. */
static int find_candidate(const nacre_plan *plan, int peak, int *at, plan_step *again) {
    int best = -1;
    for (int i = 0; i < plan->value_count; i++) {
        const plan_value *v = &plan->values[i];
        if (!is_in_arena(v) || v->defined >= peak || v->last_read <= peak) continue;
        if (best >= 0 && plan->values[best].bytes >= v->bytes) continue;
        plan_step step;
        int read = first_read_after(plan, i, peak);
        if (read < 0 || has_slot_views(plan, i) || !can_repeat(plan, i, read, &step)) continue;
        best = i;
        *at = read;
        *again = step;
    }
    return best;
}

/* ---- making it again ---- */

static nacre_program *one_result(nacre_plan *plan, const nacre_program *program, int result) {
    nacre_program *copy = nacre_plan_alloc(plan, 1, sizeof *copy);
    if (!copy) return NULL;
    *copy = *program;
    copy->outputs = 1;
    copy->result[0] = program->result[result];
    return copy;
}

static int copy_value(nacre_plan *plan, int id) {
    int copy = plan->value_count++;
    plan->values[copy] = plan->values[id];
    plan->values[copy].base = plan->values[copy].view_of = copy;
    return copy;
}

/* From step `at` on, `value` and views of it are read as `made`. */
static void reread(nacre_plan *plan, int value, int made, int at) {
    for (int s = at; s < plan->step_count; s++)
        for (int i = 0; i < plan->steps[s].inputs; i++) {
            int *id = &plan->steps[s].in[i];
            if (*id < 0 || plan->values[*id].base != value) continue;
            if (*id == value) {
                *id = made;
                continue;
            }
            int view = copy_value(plan, *id);
            plan->values[view].base = made;
            plan->values[view].view_of = made;
            *id = view;
        }
}

/* New values for the results of `again`; `value` and its views are read as the new one from step `at` on. */
static bool renew_results(nacre_plan *plan, int value, int at, plan_step *again) {
    if (!again->op) {
        again->program = one_result(plan, again->program, again->out[0]);
        if (!again->program) return false;
        again->out[0] = value;
    }
    for (int k = 0; k < again->outputs; k++) {
        int old = again->out[k], made = copy_value(plan, old);
        plan->values[made].place = PLACE_ARENA;
        again->out[k] = made;
        if (old == value) reread(plan, value, made, at);
    }
    return true;
}

static bool repeat(nacre_plan *plan, int value, int at, plan_step again) {
    if (!renew_results(plan, value, at, &again)) return false;
    nacre_plan_label(plan, &again, "recompute ", again.op);
    memmove(&plan->steps[at + 1], &plan->steps[at],
            (size_t)(plan->step_count - at) * sizeof *plan->steps);
    plan->steps[at] = again;
    plan->step_count++;
    plan->recomputed++;
    return true;
}

/* ---- the pass ---- */

/* Room for as many steps and values again; a read of a view takes a value too. */
static bool make_room(nacre_plan *plan) {
    size_t values = (size_t)plan->value_capacity * 3, steps = (size_t)plan->step_capacity * 2;
    plan_value *more_values = nacre_plan_alloc(plan, values, sizeof *more_values);
    plan_step *more_steps = nacre_plan_alloc(plan, steps, sizeof *more_steps);
    if (!more_values || !more_steps) return false;
    memcpy(more_values, plan->values, (size_t)plan->value_count * sizeof *more_values);
    memcpy(more_steps, plan->steps, (size_t)plan->step_count * sizeof *more_steps);
    plan->values = more_values;
    plan->steps = more_steps;
    plan->value_capacity = (int)values;
    plan->step_capacity = (int)steps;
    return true;
}

bool nacre_plan_recompute(nacre_plan *plan, size_t wanted) {
    int values = plan->value_capacity, steps = plan->step_count;
    if (!make_room(plan)) return false;
    int64_t *change = nacre_plan_alloc(plan, (size_t)plan->step_capacity + 1, sizeof *change);
    if (!change) return false;
    while (plan->recomputed < steps && plan->value_count < 2 * values) {
        size_t bytes;
        int at;
        plan_step again;
        nacre_plan_positions(plan);
        int peak = find_peak(plan, false, change, &bytes);
        if (bytes <= wanted) break;
        int value = find_candidate(plan, peak, &at, &again);
        if (value < 0) break;
        if (!repeat(plan, value, at, again)) return false;
    }
    return true;
}

/* ---- when it does not fit ---- */

enum { NAMED = 4 }; /* of the largest values in the message */

/* Of the values live at step `peak`, the largest after `last` in the order of size; -1: none. */
static int next_largest(const nacre_plan *plan, int peak, int last) {
    int best = -1;
    for (int i = 0; i < plan->value_count; i++) {
        const plan_value *v = &plan->values[i];
        bool later = last < 0 || v->bytes < plan->values[last].bytes ||
                     (v->bytes == plan->values[last].bytes && i > last);
        if (is_live(v, peak) && later && (best < 0 || v->bytes > plan->values[best].bytes))
            best = i;
    }
    return best;
}

enum { PLACE_BYTES = 48 }; /* of a file's name and a line; a longer name is cut */

/* The largest at step `peak`: values, and what its kernel works in; and which line of the program made each. */
static void name_largest(const nacre_plan *plan, const nacre_work *work, int peak, char *text,
                         size_t size) {
    char shape[NACRE_SHAPE_TEXT], place[PLACE_BYTES];
    const plan_step *step = &plan->steps[peak];
    size_t scratch = step->call->scratch, used = 0;
    int last = -1;
    for (int k = 0; k < NAMED; k++) {
        int id = next_largest(plan, peak, last);
        const plan_value *v = id < 0 ? NULL : &plan->values[id];
        bool is_scratch = scratch > 0 && (!v || scratch >= v->bytes);
        if (!v && !is_scratch) break;
        const plan_step *made = is_scratch ? step : &plan->steps[v->defined];
        nacre_plan_place(work, made, place, sizeof place);
        int more =
            snprintf(text + used, size - used, "%s%s%s %s%s%s in step %d (%zu bytes)",
                     k ? ", " : "", is_scratch ? "scratch of " : "", made->label,
                     nacre_shape_text(is_scratch ? &step->call->out[0].shape : &v->shape, shape),
                     *place ? " at " : "", place, (is_scratch ? peak : v->defined) + 1,
                     is_scratch ? scratch : v->bytes);
        used = used + (size_t)more < size ? used + (size_t)more : size - 1;
        scratch = is_scratch ? 0 : scratch;
        last = is_scratch ? last : id;
    }
}

nacre_status nacre_plan_refuse(nacre_plan *plan, const nacre_work *work, size_t limit) {
    size_t bytes = 0;
    char text[NAMED * (NACRE_SHAPE_TEXT + PLACE_BYTES + 96)] = "";
    int64_t *change = nacre_plan_alloc(plan, (size_t)plan->step_count + 1, sizeof *change);
    nacre_plan_positions(plan);
    int peak = change ? find_peak(plan, true, change, &bytes) : 0;
    name_largest(plan, work, peak, text, sizeof text);
    bool own = limit < NACRE_ARENA_MOST;
    return nacre_fail(
        NACRE_OUT_OF_MEMORY,
        "%s needs %zu bytes of memory, %s %zu%s; largest at its peak (step %d of %d): %s; %s",
        own ? "the plan" : "out of memory: the plan", plan->arena_bytes,
        own ? "the limit is" : "more than the", own ? limit : limit >> 30,
        own ? "" : " GiB that any plan may take", peak + 1, plan->step_count, text,
        own ? "raise the limit or make the batch smaller" : "make the batch or shapes smaller");
}
