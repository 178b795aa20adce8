/* A plan's key: everything that selects code, and nothing else. Slots, pointers and names stay out. */
#include "base/cpu.h"
#include "plan/plan.h"

#include <string.h>

/* Words of a shape with its dtype, and of a record, at most. */
enum {
    SHAPE_WORDS = 1 + NACRE_MAX_DIMS,
    RECORD_WORDS = 2 + NACRE_MAX_ATTRS + NACRE_MAX_INPUTS + NACRE_MAX_OUTPUTS * SHAPE_WORDS,
};

/* Where `words` more words may be written; NULL: no memory. */
static uint64_t *room(nacre_work *work, size_t words) {
    if (work->key_count + words > work->key_capacity) {
        size_t capacity = 2 * work->key_capacity + words + 1024;
        uint64_t *grown = nacre_realloc(work->key, capacity * sizeof *grown);
        if (!grown) {
            return NULL;
        }
        work->key = grown;
        work->key_capacity = capacity;
    }
    return work->key + work->key_count;
}

static bool end_at(nacre_work *work, const uint64_t *end) {
    work->key_count = (size_t)(end - work->key);
    return true;
}

static uint64_t *write_shape(uint64_t *to, nacre_dtype dtype, const nacre_shape *shape) {
    *to++ = (uint64_t)dtype << 8 | (uint64_t)shape->ndim;
    for (int i = 0; i < shape->ndim; i++) {
        *to++ = (uint64_t)shape->dims[i];
    }
    return to;
}

static bool put_record(nacre_work *work, const nacre_record *r) {
    uint64_t *to = room(work, RECORD_WORDS);
    if (!to) {
        return false;
    }
    *to++ = (uint64_t)(uintptr_t)r->op;
    *to++ = (uint64_t)r->inputs;
    const nacre_attr *attr = r->op->attrs;
    for (int i = 0; attr && attr[i].kind != NACRE_ATTR_END; i++) {
        if (attr[i].kind < NACRE_ATTR_SLOT_INT) {
            *to++ = (uint64_t)r->attrs[i].i;
        }
    }
    for (int i = 0; i < r->inputs; i++) {
        nacre_value *in = r->in[i] ? nacre_work_resolve(r->in[i]) : NULL;
        *to++ = in ? (uint64_t)nacre_work_id(work, in) : UINT64_MAX;
    }
    for (int i = 0; i < r->outputs; i++) {
        to = write_shape(to, r->out[i].dtype, &r->out[i].shape);
    }
    return end_at(work, to);
}

/* The roots' storages where they are variables, side by side: they are searched for every leaf. */
static bool note_targets(nacre_work *work) {
    work->targets.count = 0;
    for (size_t i = 0; i < work->roots.count; i++) {
        const nacre_value *root = work->roots.items[i];
        if (!nacre_list_push(&work->targets, root->variable ? root->variable->variable : NULL)) {
            return false;
        }
    }
    return true;
}

/* Which root overwrites a leaf's storage; UINT64_MAX: none. */
static uint64_t overwritten_by(const nacre_work *work, const nacre_value *leaf) {
    void *const *target = work->targets.items;
    for (size_t i = 0; i < work->targets.count; i++) {
        if (target[i] == leaf->storage) {
            return i;
        }
    }
    return UINT64_MAX;
}

static bool put_leaf(nacre_work *work, const nacre_value *leaf) {
    uint64_t *to = room(work, SHAPE_WORDS + 1);
    if (!to) {
        return false;
    }
    to = write_shape(to, leaf->dtype, &leaf->shape);
    *to++ = overwritten_by(work, leaf);
    return end_at(work, to);
}

static bool put_root(nacre_work *work, nacre_value *root) {
    uint64_t *to = room(work, 1);
    if (!to) {
        return false;
    }
    int id = nacre_work_id(work, nacre_work_resolve(root));
    *to++ = (uint64_t)id << 1 | (root->variable != NULL);
    return end_at(work, to);
}

bool nacre_work_key(nacre_work *work, const nacre_thread *thread) {
    work->key_count = 0;
    uint64_t *to = room(work, 4);
    if (!to || !note_targets(work)) {
        return false;
    }
    *to++ = (uint64_t)thread->backend << 16 | (uint64_t)nacre_isa_in_use() << 8 |
            (uint64_t)thread->nan_watch;
    *to++ = thread->memory_limit;
    *to++ = work->leaves.count;
    *to++ = work->roots.count;
    bool ok = end_at(work, to);
    for (size_t i = 0; ok && i < work->leaves.count; i++) {
        ok = put_leaf(work, work->leaves.items[i]);
    }
    for (size_t i = 0; ok && i < work->records.count; i++) {
        ok = put_record(work, work->records.items[i]);
    }
    for (size_t i = 0; ok && i < work->roots.count; i++) {
        ok = put_root(work, work->roots.items[i]);
    }
    return ok;
}
