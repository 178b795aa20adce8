/* An evaluation: gather the work, find or make its plan, reserve and check everything, run it, commit. */
#include "base/error.h"
#include "base/pool.h"
#include "plan/replay.h"

#include <string.h>

const nacre_backend_table *nacre_thread_backend(const nacre_thread *thread) {
    return thread->backend == NACRE_BACKEND_REFERENCE ? &nacre_backend_reference
                                                      : &nacre_backend_cpu;
}

nacre_status nacre_set_backend(nacre_backend backend) {
    if (backend != NACRE_BACKEND_DEFAULT && backend != NACRE_BACKEND_CPU &&
        backend != NACRE_BACKEND_REFERENCE) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "set_backend: %d is no backend", (int)backend);
    }
    nacre_thread *thread = nacre_this_thread();
    if (!thread) {
        return NACRE_OUT_OF_MEMORY;
    }
    thread->backend = backend ? (int)backend : NACRE_BACKEND_CPU;
    return NACRE_OK;
}

nacre_backend nacre_backend_in_use(void) {
    nacre_thread *thread = nacre_this_thread();
    return thread && thread->backend == NACRE_BACKEND_REFERENCE ? NACRE_BACKEND_REFERENCE
                                                                : NACRE_BACKEND_CPU;
}

void nacre_set_eager(bool eager) {
    nacre_thread *thread = nacre_this_thread();
    if (thread) {
        thread->eager = eager;
    }
}

void nacre_set_fusion(bool fuse) {
    nacre_thread *thread = nacre_this_thread();
    if (thread) {
        thread->unfused = !fuse;
    }
}

bool nacre_fusion_enabled(void) {
    const nacre_thread *thread = nacre_this_thread();
    return !thread || !thread->unfused;
}

void nacre_set_memory_limit(size_t bytes) {
    nacre_thread *thread = nacre_this_thread();
    if (thread) {
        thread->memory_limit = bytes;
    }
}

void nacre_set_nan_watch(bool watch) {
    nacre_thread *thread = nacre_this_thread();
    if (thread) {
        thread->nan_watch = watch;
    }
}

/* Four lanes hide the multiplies; a hit is confirmed by comparison. */
static uint64_t hash_key(const uint64_t *key, size_t count) {
    uint64_t lane[4] = {0x9E3779B97F4A7C15u, 0xC2B2AE3D27D4EB4Fu, 0x165667B19E3779F9u,
                        0x27D4EB2F165667C5u};
    for (size_t i = 0; i < count; i++) {
        uint64_t *h = &lane[i % 4];
        *h = (*h ^ key[i]) * 0x9FB21C651E98DF25u;
        *h ^= *h >> 32;
    }
    uint64_t hash = count;
    for (int i = 0; i < 4; i++) {
        hash = (hash ^ lane[i]) * 0x9FB21C651E98DF25u;
        hash ^= hash >> 29;
    }
    return hash;
}

nacre_plan *nacre_plan_for(nacre_planner *planner, nacre_thread *thread) {
    const nacre_work *work = &planner->work;
    nacre_plan *plan = nacre_cache_newest(planner, work);
    uint64_t hash = plan ? plan->hash : hash_key(work->key, work->key_count);
    plan = plan ? plan : nacre_cache_find(planner, work, hash);
    if (plan) {
        planner->stats.replays++;
        return plan;
    }
    plan = nacre_plan_make(work, thread);
    if (plan) {
        plan->hash = hash;
        planner->stats.made++;
        nacre_cache_add(planner, plan);
    }
    return plan;
}

/* ---- before the first effect ---- */

static const nacre_value *stale_leaf(const nacre_work *work) {
    for (size_t i = 0; i < work->leaves.count; i++) {
        const nacre_value *leaf = work->leaves.items[i];
        if (leaf->version != leaf->storage->version) {
            return leaf;
        }
    }
    return NULL;
}

/* NACRE_STALE, naming the record that wants the leaf. */
static nacre_status stale_error(const nacre_list *recorded, const nacre_value *leaf) {
    for (size_t i = 0; i < recorded->count; i++) {
        const nacre_record *r = recorded->items[i];
        for (int k = 0; k < r->inputs; k++) {
            if (r->in[k] == leaf) {
                return nacre_value_check(leaf, r);
            }
        }
    }
    return nacre_value_check(leaf, NULL);
}

/* Marks what cannot be computed any more: its inputs, or theirs, were overwritten. In program order. */
static void mark_stale(const nacre_list *recorded) {
    for (size_t i = 0; i < recorded->count; i++) {
        nacre_record *r = recorded->items[i];
        for (int k = 0; k < r->inputs; k++) {
            const nacre_value *in = r->in[k];
            if (in && (in->storage ? in->version != in->storage->version : in->record->mark == 0)) {
                r->mark = 0;
            }
        }
    }
}

static bool is_marked(const nacre_tensor *t) {
    return t->value && !t->value->storage && t->value->record->mark == 0;
}

/* An assignment that needs an overwritten value fails the evaluation, and so does a value that was asked for.
   What only happened to be pending waits until somebody asks for it: the rest can run. */
static nacre_status set_stale_aside(nacre_work *work, nacre_thread *thread, const nacre_value *leaf,
                                    nacre_tensor *const *tensors, size_t count) {
    const nacre_list *recorded = work->frame ? &work->expanded : &work->records;
    nacre_work_finish(work);
    mark_stale(recorded);
    for (const nacre_tensor *t = thread->dirty; t; t = t->dirty_next) {
        if (is_marked(t)) {
            nacre_status status = stale_error(recorded, leaf);
            nacre_rollback(thread);
            return status;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (is_marked(tensors[i])) {
            return stale_error(recorded, leaf);
        }
    }
    for (size_t i = 0; i < recorded->count; i++) {
        nacre_record *r = recorded->items[i];
        if (r->mark == 0) {
            r->executed = true;
            nacre_pending_remove(r);
        }
    }
    return NACRE_OK;
}

/* The work, without anything stale. */
static nacre_status gather(nacre_planner *planner, nacre_thread *thread,
                           nacre_tensor *const *tensors, size_t count) {
    nacre_work *work = &planner->work;
    const nacre_backend_table *backend = nacre_thread_backend(thread);
    nacre_status status = nacre_work_gather(work, thread, backend, tensors, count);
    const nacre_value *leaf = status == NACRE_OK ? stale_leaf(work) : NULL;
    if (!leaf) {
        return status;
    }
    status = set_stale_aside(work, thread, leaf, tensors, count);
    return status == NACRE_OK ? nacre_work_gather(work, thread, backend, tensors, count) : status;
}

/* A value that others still hold does not change when its variable moves on: they get a copy. */
static nacre_status preserve_old(nacre_storage *storage, const nacre_value *fresh) {
    nacre_value *old = storage->holder;
    if (!old || old == fresh || nacre_value_handles(old) == 0 || old->version != storage->version) {
        return NACRE_OK;
    }
    nacre_storage *copy = nacre_storage_new(storage->bytes);
    if (!copy) {
        return NACRE_OUT_OF_MEMORY;
    }
    memcpy(copy->data, storage->data, storage->bytes);
    nacre_value_bind(old, copy);
    nacre_storage_release(copy);
    return NACRE_OK;
}

static nacre_status reserve_root(nacre_planner *planner, nacre_value *root, size_t bytes) {
    nacre_tensor *variable = root->variable;
    nacre_storage *storage = variable ? variable->variable : NULL;
    if (storage) {
        nacre_status status = preserve_old(storage, root);
        if (status != NACRE_OK) {
            return status;
        }
        nacre_storage_retain(storage);
    } else {
        storage = nacre_storage_new(bytes);
        if (!storage) {
            return NACRE_OUT_OF_MEMORY;
        }
    }
    if (!nacre_list_push(&planner->storages, storage)) {
        nacre_storage_release(storage);
        return NACRE_OUT_OF_MEMORY;
    }
    return NACRE_OK;
}

static nacre_status reserve(nacre_planner *planner, nacre_plan *plan) {
    nacre_status status = NACRE_OK;
    if (plan->arena_bytes > NACRE_ARENA_MOST) {
        return nacre_plan_refuse(plan, &planner->work, NACRE_ARENA_MOST);
    }
    if (!planner->arena.base) {
        status = nacre_region_reserve(&planner->arena, NACRE_ARENA_MOST);
    }
    if (status == NACRE_OK) {
        status = nacre_region_grow(&planner->arena, plan->arena_bytes);
    }
    const nacre_work *work = &planner->work;
    for (size_t i = 0; status == NACRE_OK && i < work->roots.count; i++) {
        status =
            reserve_root(planner, work->roots.items[i], plan->values[plan->root_value[i]].bytes);
    }
    return status;
}

/* ---- after the last step ---- */

static void commit_root(nacre_value *root, nacre_storage *storage) {
    nacre_tensor *variable = root->variable;
    if (variable) {
        if (variable->variable) {
            storage->version++;
        } else {
            variable->variable = nacre_storage_retain(storage);
        }
        nacre_dirty_remove(variable);
        root->variable = NULL;
    }
    root->wanted = false;
    nacre_value_bind_own(root, storage);
}

/* Nothing will be computed or differentiated from this record's inputs any more. */
static bool is_finished(const nacre_record *r) {
    for (int i = 0; i < r->outputs; i++) {
        const nacre_value *out = &r->out[i];
        bool live = nacre_value_handles(out) > 0 || nacre_value_readers(out) > 0;
        if (live && (!out->storage || (r->needs_grad && !out->accumulator))) {
            return false;
        }
    }
    return true;
}

/* Records that ran leave the pending list; those whose results are all stored let go of their inputs. A cut frees
   records that come earlier only, so going forward never meets a freed one. One with several results may only
   be finished when later records have let go of those that were not stored: it is held for a second pass,
   backwards. */
static void commit(nacre_planner *planner, const nacre_list *recorded) {
    nacre_work *work = &planner->work;
    for (size_t i = 0; i < work->roots.count; i++) {
        commit_root(work->roots.items[i], planner->storages.items[i]);
        planner->storages.items[i] = NULL; /* the value's now */
    }
    for (size_t i = 0; i < recorded->count; i++) {
        nacre_record *r = recorded->items[i];
        r->executed = true;
        nacre_pending_remove(r);
        if (r->outputs > 1) {
            nacre_record_hold(r);
        }
    }
    size_t held = 0;
    for (size_t i = 0; i < recorded->count; i++) {
        nacre_record *r = recorded->items[i];
        if (r->outputs > 1) {
            recorded->items[held++] = r;
        } else if (is_finished(r)) {
            nacre_record_cut(r);
        }
    }
    while (held > 0) {
        nacre_record *r = recorded->items[--held];
        if (is_finished(r)) {
            nacre_record_cut(r);
        }
        nacre_record_let_go(r);
    }
}

static void release_storages(nacre_planner *planner) {
    for (size_t i = 0; i < planner->storages.count; i++) {
        nacre_storage_release(planner->storages.items[i]);
    }
    planner->storages.count = 0;
}

/* ---- the whole ---- */

static nacre_status evaluate(nacre_planner *planner, nacre_thread *thread,
                             nacre_tensor *const *tensors, size_t count) {
    nacre_work *work = &planner->work;
    nacre_status status = gather(planner, thread, tensors, count);
    if (status != NACRE_OK || work->roots.count == 0) {
        return status;
    }
    nacre_plan *plan = nacre_plan_for(planner, thread);
    if (!plan) {
        return nacre_error_code();
    }
    if (planner->explain_to) {
        *planner->explain_to = nacre_explain_plan(plan, planner, thread);
        planner->explain_to = NULL;
        return nacre_fail(NACRE_CANCELLED, "eval: explained instead of run");
    }
    status = reserve(planner, plan);
    if (status == NACRE_OK) {
        nacre_replay_bind(plan, planner);
        unsigned long long mode = nacre_fp_enter();
        status = nacre_replay_run(plan, planner);
        nacre_fp_restore(mode);
    }
    planner->stats.last_peak_bytes = plan->arena_bytes;
    if (status == NACRE_OK) {
        /* The expansions go first: they count as readers of what was recorded. */
        const nacre_list *recorded = work->frame ? &work->expanded : &work->records;
        nacre_work_finish(work);
        commit(planner, recorded);
    }
    return status;
}

/* What was asked for must be this thread's, or there already. */
static nacre_status check_asked(nacre_tensor *const *tensors, size_t count) {
    nacre_status status = NACRE_OK;
    for (size_t i = 0; status == NACRE_OK && i < count; i++) {
        status = tensors[i]->value ? nacre_value_check_thread(tensors[i]->value) : NACRE_OK;
    }
    return status;
}

nacre_status nacre_evaluate_now(nacre_tensor *const *tensors, size_t count) {
    nacre_thread *thread = nacre_this_thread();
    nacre_planner *planner = thread ? nacre_planner_get(thread) : NULL;
    if (!planner) {
        return NACRE_OUT_OF_MEMORY;
    }
    if (thread->evaluating) {
        return nacre_fail(NACRE_INVALID_STATE, "eval: called from within an evaluation");
    }
    nacre_status status = check_asked(tensors, count);
    if (status != NACRE_OK) { /* nothing of this thread's is concerned */
        planner->explain_to = NULL;
        return status;
    }
    thread->evaluating = true;
    status = evaluate(planner, thread, tensors, count);
    nacre_work_finish(&planner->work);
    release_storages(planner);
    thread->evaluating = false;
    if (status != NACRE_OK) {
        planner->explain_to = NULL; /* its owner is told by the status */
    }
    /* A stale value that was asked for is its asker's fault; anything else would fail again and again. */
    if (status != NACRE_OK && status != NACRE_STALE) {
        nacre_rollback(thread);
    }
    return status;
}
