/* A plan's key: everything that selects code, and nothing else. Slots, pointers and names stay out. */
#include "base/cpu.h"
#include "plan/plan.h"

#include <string.h>

static bool put(nacre_work *work, uint64_t word) {
    if (work->key_count == work->key_capacity) {
        size_t capacity = work->key_capacity ? 2 * work->key_capacity : 1024;
        uint64_t *grown = nacre_realloc(work->key, capacity * sizeof *grown);
        if (!grown) {
            return false;
        }
        work->key = grown;
        work->key_capacity = capacity;
    }
    work->key[work->key_count++] = word;
    return true;
}

static bool put_shape(nacre_work *work, nacre_dtype dtype, const nacre_shape *shape) {
    bool ok = put(work, (uint64_t)dtype << 8 | (uint64_t)shape->ndim);
    for (int i = 0; ok && i < shape->ndim; i++) {
        ok = put(work, (uint64_t)shape->dims[i]);
    }
    return ok;
}

static bool put_record(nacre_work *work, const nacre_record *r) {
    bool ok = put(work, (uint64_t)(uintptr_t)r->op) && put(work, (uint64_t)r->inputs);
    const nacre_attr *attr = r->op->attrs;
    for (int i = 0; ok && attr && attr[i].kind != NACRE_ATTR_END; i++) {
        if (attr[i].kind < NACRE_ATTR_SLOT_INT) {
            ok = put(work, (uint64_t)r->attrs[i].i);
        }
    }
    for (int i = 0; ok && i < r->inputs; i++) {
        nacre_value *in = r->in[i] ? nacre_work_resolve(r->in[i]) : NULL;
        ok = put(work, in ? (uint64_t)nacre_work_id(work, in) : UINT64_MAX);
    }
    for (int i = 0; ok && i < r->outputs; i++) {
        ok = put_shape(work, r->out[i].dtype, &r->out[i].shape);
    }
    return ok;
}

/* Which root overwrites a leaf's storage; UINT64_MAX: none. */
static uint64_t overwritten_by(const nacre_work *work, const nacre_value *leaf) {
    for (size_t i = 0; i < work->roots.count; i++) {
        const nacre_value *root = work->roots.items[i];
        if (root->variable && root->variable->variable == leaf->storage) {
            return i;
        }
    }
    return UINT64_MAX;
}

bool nacre_work_key(nacre_work *work, const nacre_thread *thread) {
    work->key_count = 0;
    uint64_t mode = (uint64_t)thread->backend << 16 | (uint64_t)nacre_isa_in_use() << 8 |
                    (uint64_t)thread->nan_watch;
    bool ok = put(work, mode) && put(work, thread->memory_limit) && put(work, work->leaves.count) &&
              put(work, work->roots.count);
    for (size_t i = 0; ok && i < work->leaves.count; i++) {
        const nacre_value *leaf = work->leaves.items[i];
        ok = put_shape(work, leaf->dtype, &leaf->shape) && put(work, overwritten_by(work, leaf));
    }
    for (size_t i = 0; ok && i < work->records.count; i++) {
        ok = put_record(work, work->records.items[i]);
    }
    for (size_t i = 0; ok && i < work->roots.count; i++) {
        const nacre_value *root = work->roots.items[i];
        int id = nacre_work_id(work, nacre_work_resolve(work->roots.items[i]));
        ok = put(work, (uint64_t)id << 1 | (root->variable != NULL));
    }
    return ok;
}
