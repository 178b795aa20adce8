/* Making plans, and keeping those of a thread within a bound of bytes: the least recently used go first. */
#include "base/error.h"
#include "base/log.h"
#include "plan/plan.h"

#include <stdio.h>
#include <string.h>

#define CACHE_BYTES ((size_t)64 << 20)
/* Plans that differ in extents only: past this many, the log names the extent that keeps changing. */
#define CHURN_LIMIT 64

/* ---- a plan's memory ---- */

typedef struct chunk {
    struct chunk *next;
    size_t used, size;
    max_align_t bytes[];
} chunk;

void *nacre_plan_alloc(nacre_plan *plan, size_t count, size_t size) {
    size_t bytes;
    if (!nacre_size_multiply(count, size, &bytes) || bytes > SIZE_MAX / 2) {
        nacre_fail(NACRE_OUT_OF_MEMORY, "out of memory: the plan is too large");
        return NULL;
    }
    bytes = (bytes + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    chunk *top = plan->chunks;
    if (!top || top->size - top->used < bytes) {
        size_t room = bytes > 16384 ? bytes : 16384;
        chunk *fresh = nacre_alloc_zeroed(1, sizeof *fresh + room);
        if (!fresh) {
            return NULL;
        }
        fresh->next = top;
        fresh->size = room;
        plan->chunks = top = fresh;
        plan->bytes += sizeof *fresh + room;
    }
    void *result = (unsigned char *)top->bytes + top->used;
    top->used += bytes;
    return result;
}

void nacre_plan_free(nacre_plan *plan) {
    if (!plan) {
        return;
    }
    for (chunk *c = plan->chunks; c;) {
        chunk *next = c->next;
        nacre_free(c);
        c = next;
    }
    nacre_free(plan);
}

/* ---- making ---- */

/* Which roots are variables, and which leaf each of those overwrites. */
static bool note_roots(nacre_plan *plan, const nacre_work *work) {
    size_t roots = work->roots.count;
    plan->root_variable = nacre_plan_alloc(plan, roots + 1, sizeof *plan->root_variable);
    plan->root_leaf = nacre_plan_alloc(plan, roots + 1, sizeof *plan->root_leaf);
    if (!plan->root_variable || !plan->root_leaf) {
        return false;
    }
    for (size_t i = 0; i < roots; i++) {
        const nacre_value *root = work->roots.items[i];
        const nacre_tensor *variable = root->variable;
        plan->root_variable[i] = variable != NULL;
        plan->root_leaf[i] = -1;
        for (size_t k = 0; variable && variable->variable && k < work->leaves.count; k++) {
            const nacre_value *leaf = work->leaves.items[k];
            if (leaf->storage == variable->variable) {
                plan->root_leaf[i] = nacre_work_id(work, leaf);
            }
        }
    }
    return true;
}

static void count_variables(nacre_plan *plan) {
    for (int i = 0; i < plan->value_count; i++) {
        const plan_value *value = &plan->values[i];
        if (value->place == PLACE_LEAF || value->place == PLACE_ROOT) {
            plan->variable_bytes += value->bytes;
        }
    }
}

/* All passes; `wanted`: see nacre_plan_recompute, 0: nothing is recomputed. */
static nacre_plan *make(const nacre_work *work, const nacre_thread *thread, size_t wanted) {
    nacre_plan *plan = nacre_alloc_zeroed(1, sizeof *plan);
    if (!plan) {
        return NULL;
    }
    plan->bytes = sizeof *plan;
    plan->backend = nacre_thread_backend(thread);
    plan->watch = thread->nan_watch;
    plan->unfused = thread->unfused;
    plan->key_count = work->key_count;
    plan->key = nacre_plan_alloc(plan, work->key_count, sizeof *plan->key);
    if (!plan->key || !note_roots(plan, work) || !nacre_plan_lower(plan, work) ||
        !nacre_plan_fuse(plan) || (wanted && !nacre_plan_recompute(plan, wanted)) ||
        !nacre_plan_lanes(plan) || !nacre_plan_prepare(plan) || !nacre_plan_layout(plan) ||
        !nacre_plan_verify(plan)) {
        nacre_plan_free(plan);
        return NULL;
    }
    memcpy(plan->key, work->key, work->key_count * sizeof *plan->key);
    count_variables(plan);
    return plan;
}

/* Under a limit: recomputing more and more, in the end all that helps, until the plan fits. */
static nacre_plan *make_within(const nacre_work *work, const nacre_thread *thread, size_t limit) {
    enum { ATTEMPTS = 6 };
    size_t wanted = 0;
    for (int attempt = 0;; attempt++) {
        nacre_plan *plan = make(work, thread, wanted);
        if (!plan || plan->arena_bytes <= limit) {
            return plan;
        }
        if (attempt == ATTEMPTS) {
            nacre_plan_refuse(plan, work, limit);
            nacre_plan_free(plan);
            return NULL;
        }
        size_t over = plan->arena_bytes - limit, last = wanted ? wanted : plan->live_bound;
        wanted = attempt < ATTEMPTS - 1 && last > over ? last - over : 1;
        nacre_plan_free(plan);
    }
}

nacre_plan *nacre_plan_make(const nacre_work *work, const nacre_thread *thread) {
    return thread->memory_limit ? make_within(work, thread, thread->memory_limit)
                                : make(work, thread, 0);
}

/* ---- the cache ---- */

static void unlink_plan(nacre_planner *planner, nacre_plan *plan) {
    *(plan->newer ? &plan->newer->older : &planner->newest) = plan->older;
    *(plan->older ? &plan->older->newer : &planner->oldest) = plan->newer;
    plan->newer = plan->older = NULL;
}

static void link_newest(nacre_planner *planner, nacre_plan *plan) {
    plan->older = planner->newest;
    *(planner->newest ? &planner->newest->newer : &planner->oldest) = plan;
    planner->newest = plan;
}

static nacre_plan **bucket_of(nacre_planner *planner, uint64_t hash) {
    return &planner->buckets[hash % (sizeof planner->buckets / sizeof planner->buckets[0])];
}

static bool is_for(const nacre_plan *plan, const nacre_work *work) {
    return plan->key_count == work->key_count &&
           memcmp(plan->key, work->key, work->key_count * sizeof *work->key) == 0;
}

nacre_plan *nacre_cache_newest(nacre_planner *planner, const nacre_work *work) {
    return planner->newest && is_for(planner->newest, work) ? planner->newest : NULL;
}

nacre_plan *nacre_cache_find(nacre_planner *planner, const nacre_work *work, uint64_t hash) {
    for (nacre_plan *plan = *bucket_of(planner, hash); plan; plan = plan->next_in_bucket) {
        if (plan->hash == hash && is_for(plan, work)) {
            if (planner->newest != plan) {
                unlink_plan(planner, plan);
                link_newest(planner, plan);
            }
            return plan;
        }
    }
    return NULL;
}

static void evict(nacre_planner *planner, nacre_plan *plan) {
    nacre_plan **link = bucket_of(planner, plan->hash);
    while (*link != plan) {
        link = &(*link)->next_in_bucket;
    }
    *link = plan->next_in_bucket;
    unlink_plan(planner, plan);
    planner->cached--;
    planner->cache_bytes -= plan->bytes;
    nacre_plan_free(plan);
}

/* Names the extent in which many plans of one structure differ: a user can often fix it. */
static void warn_of_churn(nacre_planner *planner, const nacre_plan *plan) {
    int alike = 0;
    const nacre_plan *other = NULL;
    for (nacre_plan *p = planner->newest; p; p = p->older) {
        if (p != plan && p->key_count == plan->key_count && p->step_count == plan->step_count) {
            other = other ? other : p;
            alike++;
        }
    }
    if (alike < CHURN_LIMIT || !other) {
        return;
    }
    for (int i = 0; i < plan->value_count && i < other->value_count; i++) {
        const nacre_shape *a = &plan->values[i].shape, *b = &other->values[i].shape;
        for (int d = 0; d < a->ndim && a->ndim == b->ndim; d++) {
            if (a->dims[d] != b->dims[d]) {
                planner->churn_logged = true;
                nacre_log("%d plans differ in one extent only (axis %d: %lld, %lld, ...); "
                          "each new value is planned anew, so pad or bucket it",
                          alike + 1, d, (long long)b->dims[d], (long long)a->dims[d]);
                return;
            }
        }
    }
}

void nacre_cache_add(nacre_planner *planner, nacre_plan *plan) {
    nacre_plan **bucket = bucket_of(planner, plan->hash);
    plan->next_in_bucket = *bucket;
    *bucket = plan;
    link_newest(planner, plan);
    planner->cached++;
    planner->cache_bytes += plan->bytes;
    while (planner->cache_bytes > CACHE_BYTES && planner->oldest != plan) {
        evict(planner, planner->oldest);
    }
    if (!planner->churn_logged && planner->cached > CHURN_LIMIT) {
        warn_of_churn(planner, plan);
    }
}

/* ---- the thread's planner ---- */

static void cache_clear(nacre_planner *planner) {
    while (planner->oldest) {
        evict(planner, planner->oldest);
    }
}

static void planner_free(void *state) {
    nacre_planner *planner = state;
    cache_clear(planner);
    nacre_work *work = &planner->work;
    nacre_list *lists[] = {&work->records, &work->values,   &work->leaves,     &work->roots,
                           &work->stack,   &work->expanded, &planner->storages};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        nacre_list_free(lists[i]);
    }
    nacre_free(work->key);
    nacre_free(work->leaf_ids.entries);
    nacre_free(work->root_of.entries);
    if (planner->arena.base) {
        nacre_region_release(&planner->arena);
    }
    nacre_free(planner);
}

nacre_planner *nacre_planner_get(nacre_thread *thread) {
    if (!thread->plans) {
        thread->plans = nacre_alloc_zeroed(1, sizeof(nacre_planner));
        thread->plans_free = planner_free;
    }
    return thread->plans;
}

nacre_plan_stats nacre_plan_statistics(void) {
    nacre_thread *thread = nacre_this_thread();
    nacre_planner *planner = thread ? thread->plans : NULL;
    nacre_plan_stats stats = planner ? planner->stats : (nacre_plan_stats){0};
    if (planner) {
        stats.cached = planner->cached;
        stats.cache_bytes = planner->cache_bytes;
    }
    stats.pending = thread ? thread->pending : 0;
    return stats;
}

void nacre_plan_cache_clear(void) {
    nacre_thread *thread = nacre_this_thread();
    if (thread && thread->plans) {
        cache_clear(thread->plans);
    }
}
