/* Lifetime of records and values. A record lives while a handle or another record needs an output. */
#include "base/error.h"
#include "base/memory.h"
#include "record/record.h"

#include <string.h>

/* A value that is not computed belongs to one thread, so only shared records pay for atomic counting. */
static void count_up(atomic_uint *count, bool shared) {
    if (shared) {
        atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
    } else {
        unsigned now = atomic_load_explicit(count, memory_order_relaxed);
        atomic_store_explicit(count, now + 1, memory_order_relaxed);
    }
}

/* The count that is left. */
static unsigned count_down(atomic_uint *count, bool shared) {
    if (shared) {
        return atomic_fetch_sub_explicit(count, 1, memory_order_acq_rel) - 1;
    }
    unsigned now = atomic_load_explicit(count, memory_order_relaxed) - 1;
    atomic_store_explicit(count, now, memory_order_relaxed);
    return now;
}

size_t nacre_record_bytes(int outputs) {
    return sizeof(nacre_record) + (size_t)outputs * sizeof(nacre_value);
}

void nacre_pending_remove(nacre_record *record) {
    nacre_thread *thread = record->owner;
    if (!thread) {
        return;
    }
    *(record->previous ? &record->previous->next : &thread->first) = record->next;
    *(record->next ? &record->next->previous : &thread->last) = record->previous;
    record->previous = record->next = NULL;
    record->owner = NULL;
    thread->pending--;
}

void nacre_pending_insert(nacre_thread *thread, nacre_record *record) {
    nacre_record *before = thread->last;
    while (before && before->sequence > record->sequence) {
        before = before->previous;
    }
    record->owner = thread;
    record->previous = before;
    record->next = before ? before->next : thread->first;
    *(before ? &before->next : &thread->first) = record;
    *(record->next ? &record->next->previous : &thread->last) = record;
    thread->pending++;
}

static void value_clear(nacre_value *value) {
    if (value->storage) {
        if (value->storage->holder == value) {
            value->storage->holder = NULL;
        }
        nacre_storage_release(value->storage);
        value->storage = NULL;
    }
    if (value->accumulator) {
        nacre_release(value->accumulator);
        value->accumulator = NULL;
    }
}

/* Drops one reference of each input; records that die are chained to *dead through `next`. */
static void drop_inputs(nacre_record *record, nacre_record **dead) {
    for (int i = 0; i < record->inputs; i++) {
        nacre_value *in = record->in[i];
        record->in[i] = NULL;
        if (!in) {
            continue;
        }
        nacre_record *producer = in->record;
        count_down(&in->readers, producer->shared);
        if (count_down(&producer->refs, producer->shared) == 0) {
            nacre_pending_remove(producer);
            producer->next = *dead;
            *dead = producer;
        }
    }
    record->inputs = 0;
}

/* Frees the chain and whatever dies with it: a work list, because graphs are deeper than stacks. */
static void free_dead(nacre_record *dead) {
    while (dead) {
        nacre_record *record = dead;
        dead = record->next;
        drop_inputs(record, &dead);
        for (int i = 0; i < record->outputs; i++) {
            value_clear(&record->out[i]);
        }
        nacre_pool_give(record, nacre_record_bytes(record->outputs));
    }
}

void nacre_value_add_handle(nacre_value *value) {
    count_up(&value->handles, value->record->shared);
    count_up(&value->record->refs, value->record->shared);
}

void nacre_value_add_reader(nacre_value *value) {
    count_up(&value->readers, value->record->shared);
    count_up(&value->record->refs, value->record->shared);
}

static void drop(nacre_value *value, atomic_uint *count) {
    nacre_record *record = value->record;
    count_down(count, record->shared);
    if (count_down(&record->refs, record->shared) == 0) {
        nacre_pending_remove(record);
        record->next = NULL;
        free_dead(record);
    }
}

void nacre_value_drop_handle(nacre_value *value) { drop(value, &value->handles); }

void nacre_value_drop_reader(nacre_value *value) { drop(value, &value->readers); }

void nacre_record_cut(nacre_record *record) {
    nacre_record *dead = NULL;
    drop_inputs(record, &dead);
    free_dead(dead);
}

void nacre_value_bind(nacre_value *value, nacre_storage *storage) {
    nacre_storage_retain(storage);
    if (value->storage) {
        if (value->storage->holder == value) {
            value->storage->holder = NULL;
        }
        nacre_storage_release(value->storage);
    }
    value->storage = storage;
    value->version = storage->version;
    storage->holder = value;
    value->record->shared = true;
}

nacre_status nacre_value_check(const nacre_value *value, const nacre_record *reader) {
    if (value->version == value->storage->version) {
        return NACRE_OK;
    }
    const nacre_record *who = reader ? reader : value->record;
    return nacre_fail_at(NACRE_STALE, who->file, who->line,
                         "%s: needs a value that was overwritten by a later assignment before it "
                         "was computed; call nacre_eval or nacre_keep on it before assigning",
                         who->op->name);
}
