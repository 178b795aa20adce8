/* Numbers of all that an evaluation reads and makes, and its plan's key: everything that selects code, and nothing
   else. Slots, pointers and names stay out. */
#include "base/cpu.h"
#include "plan/plan.h"

/* Words of a shape with its dtype, and of a record, at most. */
enum {
    HEAD_WORDS = 4,
    SHAPE_WORDS = 1 + NACRE_MAX_DIMS,
    RECORD_WORDS = 2 + NACRE_MAX_ATTRS + NACRE_MAX_INPUTS + NACRE_MAX_OUTPUTS * SHAPE_WORDS,
    LEAF_WORDS = SHAPE_WORDS + 1,
};

/* ---- numbers of addresses ---- */

/* The entry of `address`, or the free one where it belongs. */
static nacre_number *find(const nacre_numbers *numbers, uint64_t mark, const void *address) {
    size_t at = (size_t)(((uintptr_t)address >> 4) * 0x9E3779B97F4A7C15u >> 20);
    nacre_number *entry;
    do {
        entry = &numbers->entries[at++ & (numbers->slots - 1)];
    } while (entry->mark == mark && entry->address != address);
    return entry;
}

/* Room for `wanted` addresses, half of the slots free. false: no memory. */
static bool numbers_room(nacre_numbers *numbers, size_t wanted) {
    size_t slots = numbers->slots ? numbers->slots : 256;
    while (slots < 2 * wanted) {
        slots *= 2;
    }
    if (slots == numbers->slots) {
        return true;
    }
    nacre_free(numbers->entries);
    numbers->slots = 0;
    numbers->entries = nacre_alloc_zeroed(slots, sizeof *numbers->entries);
    if (numbers->entries) {
        numbers->slots = slots;
    }
    return numbers->entries != NULL;
}

/* ---- values ---- */

/* The number of a computed value, at its first use the next one. -1: no memory. */
static int number_leaf(nacre_work *work, nacre_value *value) {
    nacre_number *entry = find(&work->leaf_ids, work->mark, value);
    if (entry->mark == work->mark) {
        return entry->number;
    }
    *entry = (nacre_number){value, work->mark, (int)work->values.count};
    bool ok = nacre_list_push(&work->values, value) && nacre_list_push(&work->leaves, value);
    return ok ? entry->number : -1;
}

int nacre_work_id(const nacre_work *work, const nacre_value *value) {
    return value->storage ? find(&work->leaf_ids, work->mark, value)->number : value->plan_index;
}

/* ---- the key ---- */

/* Room for `words` more; false: no memory. */
static bool key_room(nacre_work *work, size_t words) {
    if (work->key_count + words <= work->key_capacity) {
        return true;
    }
    size_t capacity = 2 * work->key_capacity + words + 1024;
    uint64_t *grown = nacre_realloc(work->key, capacity * sizeof *grown);
    if (!grown) {
        return false;
    }
    work->key = grown;
    work->key_capacity = capacity;
    return true;
}

static uint64_t *write_shape(uint64_t *to, nacre_dtype dtype, const nacre_shape *shape) {
    *to++ = (uint64_t)dtype << 8 | (uint64_t)shape->ndim;
    for (int i = 0; i < shape->ndim; i++) {
        *to++ = (uint64_t)shape->dims[i];
    }
    return to;
}

/* Numbers what r reads and makes. NULL: no memory. */
static uint64_t *write_record(nacre_work *work, nacre_record *r, uint64_t *to) {
    *to++ = (uint64_t)(uintptr_t)r->op;
    *to++ = (uint64_t)r->inputs;
    const nacre_attr *attr = r->op->attrs;
    for (int i = 0; attr && attr[i].kind != NACRE_ATTR_END; i++) {
        if (attr[i].kind < NACRE_ATTR_SLOT_INT) {
            *to++ = (uint64_t)r->attrs[i].i;
        }
    }
    for (int i = 0; i < r->inputs; i++) {
        if (!r->in[i]) {
            *to++ = UINT64_MAX;
            continue;
        }
        nacre_value *in = nacre_work_resolve(r->in[i]);
        int id = in->storage ? number_leaf(work, in) : in->plan_index;
        if (id < 0) {
            return NULL;
        }
        *to++ = (uint64_t)id;
    }
    for (int i = 0; i < r->outputs; i++) {
        r->out[i].plan_index = (int32_t)work->values.count;
        if (!nacre_list_push(&work->values, &r->out[i])) {
            return NULL;
        }
        to = write_shape(to, r->out[i].dtype, &r->out[i].shape);
    }
    return to;
}

/* In the order of the records, so that what a record reads has a number already. */
static bool put_records(nacre_work *work) {
    size_t count = work->records.count;
    if (!numbers_room(&work->leaf_ids, count * NACRE_MAX_INPUTS + 1) ||
        !key_room(work, count * RECORD_WORDS)) {
        return false;
    }
    uint64_t *to = work->key + work->key_count;
    for (size_t i = 0; to && i < count; i++) {
        to = write_record(work, work->records.items[i], to);
    }
    work->key_count = to ? (size_t)(to - work->key) : 0;
    return to != NULL;
}

static const nacre_storage *target_of(const nacre_value *root) {
    return root->variable ? root->variable->variable : NULL;
}

static bool note_targets(nacre_work *work) {
    if (!numbers_room(&work->root_of, work->roots.count + 1)) {
        return false;
    }
    for (size_t i = 0; i < work->roots.count; i++) {
        const nacre_storage *target = target_of(work->roots.items[i]);
        if (target) {
            *find(&work->root_of, work->mark, target) = (nacre_number){target, work->mark, (int)i};
        }
    }
    return true;
}

/* Shapes of the leaves, and which root overwrites each. */
static bool put_leaves(nacre_work *work) {
    size_t count = work->leaves.count;
    if (!note_targets(work) || !key_room(work, count * LEAF_WORDS)) {
        return false;
    }
    uint64_t *to = work->key + work->key_count;
    for (size_t i = 0; i < count; i++) {
        const nacre_value *leaf = work->leaves.items[i];
        const nacre_number *root = find(&work->root_of, work->mark, leaf->storage);
        to = write_shape(to, leaf->dtype, &leaf->shape);
        *to++ = root->mark == work->mark ? (uint64_t)root->number : UINT64_MAX;
    }
    work->key_count = (size_t)(to - work->key);
    return true;
}

static bool put_roots(nacre_work *work) {
    size_t count = work->roots.count;
    if (!key_room(work, count)) {
        return false;
    }
    uint64_t *to = work->key + work->key_count;
    for (size_t i = 0; i < count; i++) {
        nacre_value *root = work->roots.items[i];
        int id = nacre_work_id(work, nacre_work_resolve(root));
        *to++ = (uint64_t)id << 1 | (root->variable != NULL);
    }
    work->key_count += count;
    return true;
}

bool nacre_work_key(nacre_work *work, const nacre_thread *thread) {
    work->values.count = work->leaves.count = work->key_count = 0;
    if (!key_room(work, HEAD_WORDS)) {
        return false;
    }
    work->key_count = HEAD_WORDS;
    if (!put_records(work) || !put_leaves(work) || !put_roots(work)) {
        return false;
    }
    work->key[0] = (uint64_t)thread->backend << 16 | (uint64_t)nacre_isa_in_use() << 8 |
                   (uint64_t)thread->unfused << 1 | (uint64_t)thread->nan_watch;
    work->key[1] = thread->memory_limit;
    work->key[2] = work->leaves.count;
    work->key[3] = work->roots.count;
    return true;
}
