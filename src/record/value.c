/* Lifetime of records and values. A record lives while a handle or another record needs an output. */
#include "base/count.h"
#include "base/error.h"
#include "base/memory.h"
#include "record/record.h"

#include <string.h>

#define HANDLE ((uint64_t)1)
#define READER ((uint64_t)1 << 32)

/* A value that is not computed belongs to one thread, so only shared records pay for atomic counting. */
static bool counts_alone(const nacre_record *record) { return !record->shared || nacre_is_alone(); }

static void add(nacre_value *value, uint64_t use) {
    bool alone = counts_alone(value->record);
    if (nacre_count_add(&value->uses, use, alone) == 0) {
        nacre_count_add(&value->record->refs, 1, alone);
    }
}

/* true: nothing uses the record any more. */
static bool take_away(nacre_value *value, uint64_t use) {
    bool alone = counts_alone(value->record);
    return nacre_count_sub(&value->uses, use, alone) == 0 &&
           nacre_count_sub(&value->record->refs, 1, alone) == 0;
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
        if (take_away(in, READER)) {
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

void nacre_value_add_handle(nacre_value *value) { add(value, HANDLE); }

void nacre_value_add_reader(nacre_value *value) { add(value, READER); }

static void drop(nacre_value *value, uint64_t use) {
    nacre_record *record = value->record;
    if (take_away(value, use)) {
        nacre_pending_remove(record);
        record->next = NULL;
        free_dead(record);
    }
}

void nacre_value_drop_handle(nacre_value *value) { drop(value, HANDLE); }

void nacre_value_drop_reader(nacre_value *value) { drop(value, READER); }

void nacre_record_cut(nacre_record *record) {
    nacre_record *dead = NULL;
    drop_inputs(record, &dead);
    free_dead(dead);
}

void nacre_record_hold(nacre_record *record) {
    nacre_count_add(&record->refs, 1, counts_alone(record));
}

void nacre_record_let_go(nacre_record *record) {
    if (nacre_count_sub(&record->refs, 1, counts_alone(record)) == 0) {
        nacre_pending_remove(record);
        record->next = NULL;
        free_dead(record);
    }
}

void nacre_value_bind(nacre_value *value, nacre_storage *storage) {
    nacre_value_bind_own(value, nacre_storage_retain(storage));
}

void nacre_value_bind_own(nacre_value *value, nacre_storage *storage) {
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

nacre_status nacre_value_refuse_foreign(const nacre_value *value) {
    const nacre_record *record = value->record;
    return nacre_fail_at(NACRE_INVALID_STATE, record->file, record->line,
                         "%s: recorded on another thread and not computed yet; call nacre_eval "
                         "there first",
                         record->op->name);
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
