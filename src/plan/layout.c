/* Memory: which results go straight to a variable, which take over a dying input's place, and where in the
   arena all others lie. */
#include "plan/plan.h"

#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64
#define PACK_BY_SIZE_LIMIT 4096 /* blocks */
#define REPACKINGS 16           /* of each order */
#define PACKING_WORK                                                                               \
    (1U << 24) /* pairs of blocks that all packings may look at, but for the first */

void nacre_plan_positions(nacre_plan *plan) {
    for (int i = 0; i < plan->value_count; i++) {
        plan->values[i].defined = plan->values[i].last_read = -1;
    }
    for (int s = 0; s < plan->step_count; s++) {
        const plan_step *step = &plan->steps[s];
        for (int i = 0; i < step->inputs; i++) {
            if (step->in[i] >= 0) {
                plan->values[plan->values[step->in[i]].base].last_read = s;
            }
        }
        for (int i = 0; i < step->outputs; i++) {
            plan->values[step->out[i]].defined = s;
        }
    }
}

/* Input k is read element by element in the order in which output `out` is written. */
static bool reads_in_step(const nacre_plan *plan, const plan_step *step, int k, int out) {
    const plan_value *in = &plan->values[step->in[k]], *result = &plan->values[step->out[out]];
    return k >= step->own && in->dtype == result->dtype && in->laned == result->laned &&
           in->offset == 0 && !in->slot_view && nacre_shape_equal(&in->shape, &result->shape) &&
           nacre_strides_contiguous(&in->shape, in->strides) &&
           in->bytes == plan->values[in->base].bytes;
}

/* May output `out` of the step be written over value `base`? Every reading of it in this step must run in
   step with the writing. */
static bool may_overwrite(const nacre_plan *plan, const plan_step *step, int out, int base) {
    const nacre_op *op = step->op;
    bool group = step->program != NULL;
    bool elementwise = group || (op && op->flags & NACRE_OP_ELEMENTWISE);
    bool declared = op && !group && op->flags & NACRE_OP_IN_PLACE;
    for (int k = 0; k < step->inputs; k++) {
        if (step->in[k] < 0 || plan->values[step->in[k]].base != base) {
            continue;
        }
        bool fine = (elementwise || (declared && op->in_place[out] == k)) &&
                    reads_in_step(plan, step, k, out);
        if (!fine) {
            return false;
        }
    }
    return elementwise || declared;
}

/* ---- variables ---- */

/* The last step whose indices are checked as it runs: no variable may be written before it. */
static int last_late_check(const nacre_plan *plan) {
    for (int s = plan->step_count - 1; s >= 0; s--) {
        if (plan->steps[s].check == CHECK_LATE) {
            return s;
        }
    }
    return -1;
}

static int output_of(const plan_step *step, int id) {
    for (int i = 0; i < step->outputs; i++) {
        if (step->out[i] == id) {
            return i;
        }
    }
    return -1;
}

/* Can root `root` be computed straight into the variable's memory? Only if nothing needs the old contents
   afterwards, and nothing can fail afterwards. */
static bool writes_directly(const nacre_plan *plan, int root, int late_check) {
    const plan_value *value = &plan->values[plan->root_value[root]];
    int leaf = plan->root_leaf[root];
    if (plan->watch || value->defined < late_check) {
        return false;
    }
    if (leaf < 0 || plan->values[leaf].last_read < value->defined) {
        return true;
    }
    const plan_step *step = &plan->steps[value->defined];
    return plan->values[leaf].last_read == value->defined &&
           may_overwrite(plan, step, output_of(step, plan->root_value[root]), leaf);
}

/* Others are computed in the arena and copied at the end, when every reader has run. */
static bool defer_root(nacre_plan *plan, int root) {
    int id = plan->root_value[root];
    plan->values[id].place = PLACE_ARENA;
    plan->values[id].index = -1;
    int copy = nacre_plan_add_copy(plan, id, plan->values[id].record);
    plan->values[copy].place = PLACE_ROOT;
    plan->values[copy].index = root;
    plan->root_value[root] = copy;
    plan_step *step = &plan->steps[plan->step_count - 1];
    step->label = "copy";
    return nacre_plan_prepare_step(plan, step);
}

static bool place_variables(nacre_plan *plan) {
    int late_check = last_late_check(plan), steps = plan->step_count;
    plan->first_effect = steps;
    for (int r = 0; r < plan->root_count; r++) {
        if (!plan->root_variable[r]) {
            continue;
        }
        if (writes_directly(plan, r, late_check)) {
            int defined = plan->values[plan->root_value[r]].defined;
            plan->first_effect = defined < plan->first_effect ? defined : plan->first_effect;
        } else if (!defer_root(plan, r)) {
            return false;
        }
    }
    nacre_plan_positions(plan);
    return true;
}

/* ---- the arena ---- */

/* A stretch of arena memory and the steps during which it is taken. */
typedef struct block {
    size_t bytes, offset;
    int from, to;
    int value; /* first value that lives here; -1: scratch of step `from` */
} block;

typedef struct arena {
    nacre_plan *plan;
    block *blocks;
    int count;
    int *block_of; /* value -> block */
} arena;

/* An empty value has a place of its own too: the verifier tells values by their places. */
static size_t round_up(size_t bytes) {
    bytes = bytes ? bytes : 1;
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* A dying input whose place the output may take: its block, or -1. */
static int dying_input(const arena *a, int s, int out) {
    const nacre_plan *plan = a->plan;
    const plan_step *step = &plan->steps[s];
    for (int k = step->own; k < step->inputs; k++) {
        if (step->in[k] < 0) {
            continue;
        }
        int base = plan->values[step->in[k]].base, b = a->block_of[base];
        if (b >= 0 && a->blocks[b].to == s && plan->values[base].last_read == s &&
            a->blocks[b].bytes == round_up(plan->values[step->out[out]].bytes) &&
            reads_in_step(plan, step, k, out) && may_overwrite(plan, step, out, base)) {
            return b;
        }
    }
    return -1;
}

static void add_block(arena *a, size_t bytes, int from, int to, int value) {
    if (value >= 0) {
        a->block_of[value] = a->count;
    }
    a->blocks[a->count++] = (block){round_up(bytes), 0, from, to, value};
}

static void find_blocks(arena *a) {
    nacre_plan *plan = a->plan;
    for (int s = 0; s < plan->step_count; s++) {
        const plan_step *step = &plan->steps[s];
        for (int i = 0; i < step->outputs; i++) {
            const plan_value *value = &plan->values[step->out[i]];
            if (value->place != PLACE_ARENA) {
                continue;
            }
            int last = value->last_read > s ? value->last_read : s;
            int taken = dying_input(a, s, i);
            if (taken >= 0) {
                a->blocks[taken].to = last > s ? last : s + 1; /* taken once */
                a->block_of[step->out[i]] = taken;
            } else {
                add_block(a, value->bytes, s, last, step->out[i]);
            }
        }
        if (step->call->scratch > 0) {
            add_block(a, step->call->scratch, s, s, -1);
        }
    }
}

static int larger_first(const void *a, const void *b) {
    const block *x = *(block *const *)a, *y = *(block *const *)b;
    if (x->bytes != y->bytes) {
        return x->bytes < y->bytes ? 1 : -1;
    }
    return (x > y) - (x < y);
}

/* Of what is taken for longest first. */
static int longer_first(const void *a, const void *b) {
    const block *x = *(block *const *)a, *y = *(block *const *)b;
    int time_x = x->to - x->from, time_y = y->to - y->from;
    return time_x != time_y ? (time_x < time_y ? 1 : -1) : larger_first(a, b);
}

static int larger_area_first(const void *a, const void *b) {
    const block *x = *(block *const *)a, *y = *(block *const *)b;
    double area_x = (double)x->bytes * (x->to - x->from + 1);
    double area_y = (double)y->bytes * (y->to - y->from + 1);
    return area_x != area_y ? (area_x < area_y ? 1 : -1) : larger_first(a, b);
}

/* The smallest gap between those of `placed`, by their offsets, that are taken at the same time. */
static size_t best_gap(const block *wanted, block *const *placed, int count) {
    size_t end = 0, best = SIZE_MAX, best_size = SIZE_MAX;
    for (int i = 0; i < count; i++) {
        if (placed[i]->from > wanted->to || wanted->from > placed[i]->to) {
            continue;
        }
        if (placed[i]->offset > end) {
            size_t gap = placed[i]->offset - end;
            if (gap >= wanted->bytes && gap < best_size) {
                best = end;
                best_size = gap;
            }
        }
        size_t stop = placed[i]->offset + placed[i]->bytes;
        end = stop > end ? stop : end;
    }
    return best == SIZE_MAX ? end : best;
}

static void place(block *wanted, block **placed, int count) {
    wanted->offset = best_gap(wanted, placed, count);
    while (count > 0 && placed[count - 1]->offset > wanted->offset) {
        placed[count] = placed[count - 1];
        count--;
    }
    placed[count] = wanted;
}

/* Each into the tightest gap, in this order. The index of the block that ends last; *end: where. */
static int place_in_order(block **order, int count, block **placed, size_t *end) {
    int last = 0;
    *end = 0;
    for (int i = 0; i < count; i++) {
        place(order[i], placed, i);
        if (order[i]->offset + order[i]->bytes > *end) {
            *end = order[i]->offset + order[i]->bytes;
            last = i;
        }
    }
    return last;
}

static void move_to_front(block **order, int index) {
    block *moved = order[index];
    memmove(order + 1, order, (size_t)index * sizeof(block *));
    order[0] = moved;
}

/* What a search for a packing works on. */
typedef struct packing {
    block **order, **placed;
    size_t *best, least, good_enough; /* the best offsets so far, and where they end */
    int tries;
} packing;

/* While it takes more than what is good enough, the block that ended last goes first, and all are placed again. */
static void search(arena *a, packing *p, int (*first)(const void *, const void *)) {
    for (int i = 0; i < a->count; i++) {
        p->order[i] = &a->blocks[i];
    }
    qsort(p->order, (size_t)a->count, sizeof(block *), first);
    for (int round = 0; round < REPACKINGS && p->tries > 0 && p->least > p->good_enough; round++) {
        size_t end;
        int last = place_in_order(p->order, a->count, p->placed, &end);
        for (int i = 0; end < p->least && i < a->count; i++) {
            p->best[i] = a->blocks[i].offset;
        }
        p->least = end < p->least ? end : p->least;
        move_to_front(p->order, last);
        p->tries--;
    }
}

/* Largest first, each into the tightest gap: the usual greedy packing of interval graphs, quadratic. Where it takes a
   hundredth more than what no layout can beat, other orders are tried, as many as planning has time for. */
static bool pack_by_size(arena *a) {
    nacre_plan *plan = a->plan;
    size_t count = (size_t)a->count + 1;
    packing p = {.order = nacre_plan_alloc(plan, count, sizeof *p.order),
                 .placed = nacre_plan_alloc(plan, count, sizeof *p.placed),
                 .best = nacre_plan_alloc(plan, count, sizeof *p.best),
                 .least = SIZE_MAX,
                 .good_enough = plan->live_bound + plan->live_bound / 100,
                 .tries = 1 + (int)(PACKING_WORK / (count * count))};
    if (!p.order || !p.placed || !p.best) {
        return false;
    }
    if (a->count > 0) {
        search(a, &p, larger_first);
        search(a, &p, longer_first);
        search(a, &p, larger_area_first);
    }
    for (int i = 0; i < a->count; i++) {
        a->blocks[i].offset = p.best[i];
    }
    return true;
}

/* In order of time, each into the tightest gap between those still taken: linear for plans of many
   short-lived values, at some cost in bytes. */
static bool pack_by_time(arena *a) {
    size_t count = (size_t)a->count + 1;
    block **live = nacre_plan_alloc(a->plan, count, sizeof *live);
    if (!live) {
        return false;
    }
    int taken = 0;
    for (int i = 0; i < a->count; i++) { /* blocks were found in order of `from` */
        int left = 0;
        for (int k = 0; k < taken; k++) {
            if (live[k]->to >= a->blocks[i].from) {
                live[left++] = live[k];
            }
        }
        place(&a->blocks[i], live, left);
        taken = left + 1;
    }
    return true;
}

static bool pack(arena *a) {
    nacre_plan *plan = a->plan;
    if (!(a->count <= PACK_BY_SIZE_LIMIT ? pack_by_size(a) : pack_by_time(a))) {
        return false;
    }
    for (int i = 0; i < a->count; i++) {
        size_t end = a->blocks[i].offset + a->blocks[i].bytes;
        plan->arena_bytes = end > plan->arena_bytes ? end : plan->arena_bytes;
    }
    return true;
}

/* What no layout can beat: the largest sum of blocks taken at once. */
static bool find_bound(arena *a) {
    size_t steps = (size_t)a->plan->step_count;
    size_t *begun = nacre_plan_alloc(a->plan, steps + 2, sizeof *begun);
    size_t *ended = nacre_plan_alloc(a->plan, steps + 2, sizeof *ended);
    if (!begun || !ended) {
        return false;
    }
    for (int i = 0; i < a->count; i++) {
        begun[a->blocks[i].from] += a->blocks[i].bytes;
        ended[a->blocks[i].to + 1] += a->blocks[i].bytes;
    }
    size_t live = 0;
    for (size_t s = 0; s < steps; s++) {
        live = live + begun[s] - ended[s];
        a->plan->live_bound = live > a->plan->live_bound ? live : a->plan->live_bound;
    }
    return true;
}

static void hand_out(const arena *a) {
    nacre_plan *plan = a->plan;
    for (int i = 0; i < plan->value_count; i++) {
        if (a->block_of[i] >= 0) {
            plan->values[i].arena_offset = a->blocks[a->block_of[i]].offset;
        }
    }
    for (int i = 0; i < a->count; i++) {
        if (a->blocks[i].value < 0) {
            plan->steps[a->blocks[i].from].scratch_offset = a->blocks[i].offset;
        }
    }
}

bool nacre_plan_layout(nacre_plan *plan) {
    nacre_plan_positions(plan);
    if (!place_variables(plan)) {
        return false;
    }
    size_t blocks = (size_t)plan->value_count + (size_t)plan->step_count + 1;
    arena a = {.plan = plan,
               .blocks = nacre_plan_alloc(plan, blocks, sizeof *a.blocks),
               .block_of =
                   nacre_plan_alloc(plan, (size_t)plan->value_count + 1, sizeof *a.block_of)};
    plan->bases = nacre_plan_alloc(plan, (size_t)plan->value_count + 1, sizeof *plan->bases);
    plan->moved = nacre_plan_alloc(plan, (size_t)plan->value_count + 1, sizeof *plan->moved);
    plan->leaf_value = nacre_plan_alloc(plan, (size_t)plan->leaf_count + 1, sizeof(int));
    if (!a.blocks || !a.block_of || !plan->bases || !plan->moved || !plan->leaf_value) {
        return false;
    }
    memset(a.block_of, -1, (size_t)plan->value_count * sizeof *a.block_of);
    find_blocks(&a);
    if (!find_bound(&a) || !pack(&a)) {
        return false;
    }
    hand_out(&a);
    return true;
}
