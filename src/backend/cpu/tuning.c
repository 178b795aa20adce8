#include "backend/cpu/tuning.h"

#include "backend/cpu/product.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/thread.h"

#include <nacre/system.h>
#include <string.h>

/* ---- choices ---- */

const char *const nacre_way_names[NACRE_WAYS] = {
    [NACRE_WAY_STRAIGHT] = "straight",
    [NACRE_WAY_TURNED] = "turned",
};
const char *const nacre_pack_a_names[NACRE_PACK_AS] = {[NACRE_PACK_A_YES] = "A packed"};
const char *const nacre_pack_b_names[NACRE_PACK_BS] = {
    [NACRE_PACK_B_NO] = "B as it lies",
    [NACRE_PACK_B_BEFORE] = "B packed before",
    [NACRE_PACK_B_IN_TASK] = "B packed in its task",
};

enum { WAY_BITS = 2, PACK_A_BITS = 1, PACK_B_BITS = 2, SIZE_BITS = 5 };

static int take(unsigned *bits, int count) {
    int field = (int)(*bits & ((1u << count) - 1));
    *bits >>= count;
    return field;
}

nacre_product_choice nacre_product_choice_of(const nacre_plan_op *step) {
    unsigned bits = (unsigned)step->variant >> NACRE_VARIANT_SHIFT;
    nacre_product_choice choice;
    choice.way = (nacre_way)take(&bits, WAY_BITS);
    choice.pack_a = (nacre_pack_a)take(&bits, PACK_A_BITS);
    choice.pack_b = (nacre_pack_b)take(&bits, PACK_B_BITS);
    choice.task = take(&bits, SIZE_BITS);
    choice.sweep = take(&bits, SIZE_BITS);
    return choice;
}

void nacre_product_set_choice(nacre_plan_op *step, const nacre_product_choice *choice) {
    unsigned bits = (unsigned)choice->sweep;
    bits = bits << SIZE_BITS | (unsigned)choice->task;
    bits = bits << PACK_B_BITS | (unsigned)choice->pack_b;
    bits = bits << PACK_A_BITS | (unsigned)choice->pack_a;
    bits = bits << WAY_BITS | (unsigned)choice->way;
    step->variant = (step->variant & NACRE_VARIANT_LEVEL) | (int)(bits << NACRE_VARIANT_SHIFT);
}

bool nacre_product_is_rule(const nacre_product_choice *choice) {
    return choice->way == NACRE_WAY_RULE && choice->pack_a == NACRE_PACK_A_RULE &&
           choice->pack_b == NACRE_PACK_B_RULE && choice->task == 0 && choice->sweep == 0;
}

/* ---- tables ---- */

nacre_tuning_key nacre_tuning_key_of(const nacre_plan_op *step) {
    nacre_product p = nacre_product_of(step);
    nacre_tuning_key key = {.level = step->variant & NACRE_VARIANT_LEVEL,
                            .threads = nacre_threads(),
                            .m = p.m,
                            .n = p.n,
                            .k = p.k,
                            .batches = p.batches,
                            .a_row = p.a_row,
                            .a_k = p.a_k,
                            .b_k = p.b_k,
                            .b_column = p.b_column,
                            .shared_b = 1};
    for (int i = 0; i < p.batch_ndim; i++) key.shared_b &= p.b_batch[i] == 0;
    return key;
}

static int compare(const nacre_tuning_key *a, const nacre_tuning_key *b) {
    int64_t x[sizeof *a / sizeof(int64_t)], y[sizeof x / sizeof *x];
    memcpy(x, a, sizeof x);
    memcpy(y, b, sizeof y);
    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    return 0;
}

/* Where the key stands or would stand. */
static size_t place_of(const nacre_tuning_table *table, const nacre_tuning_key *key, bool *there) {
    size_t low = 0, high = table->count;
    *there = false;
    while (low < high && !*there) {
        size_t middle = low + (high - low) / 2;
        int order = compare(&table->entries[middle].key, key);
        *there = order == 0;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return *there ? high : low;
}

const nacre_tuning_entry *nacre_tuning_find(const nacre_tuning_table *table,
                                            const nacre_tuning_key *key) {
    bool there;
    size_t at = place_of(table, key, &there);
    return there ? &table->entries[at] : NULL;
}

static nacre_status grow(nacre_tuning_table *table) {
    if (table->count < table->capacity) return NACRE_OK;
    if (table->count >= NACRE_TUNING_MOST)
        return nacre_fail(NACRE_INVALID_STATE,
                          "the tuning table is full: %d entries; remove the file and tune what "
                          "you use",
                          NACRE_TUNING_MOST);
    size_t capacity = table->capacity ? 2 * table->capacity : 64;
    nacre_tuning_entry *grown = nacre_realloc(table->entries, capacity * sizeof *grown);
    if (!grown) return NACRE_OUT_OF_MEMORY;
    table->entries = grown;
    table->capacity = capacity;
    return NACRE_OK;
}

nacre_status nacre_tuning_put(nacre_tuning_table *table, const nacre_tuning_entry *entry) {
    bool there, rule = nacre_product_is_rule(&entry->choice);
    size_t at = place_of(table, &entry->key, &there);
    if (!there && rule) return NACRE_OK;
    nacre_status status = there ? NACRE_OK : grow(table);
    if (status != NACRE_OK) return status;
    nacre_tuning_entry *place = &table->entries[at];
    if (there && rule) {
        memmove(place, place + 1, (--table->count - at) * sizeof *place);
        return NACRE_OK;
    }
    if (!there) memmove(place + 1, place, (table->count++ - at) * sizeof *place);
    *place = *entry;
    return NACRE_OK;
}

nacre_status nacre_tuning_clone(const nacre_tuning_table *table, nacre_tuning_table *out) {
    *out = (nacre_tuning_table){0};
    if (table->count == 0) return NACRE_OK;
    out->entries = nacre_alloc(table->count * sizeof *out->entries);
    if (!out->entries) return NACRE_OUT_OF_MEMORY;
    memcpy(out->entries, table->entries, table->count * sizeof *out->entries);
    out->count = out->capacity = table->count;
    return NACRE_OK;
}

void nacre_tuning_free(nacre_tuning_table *table) {
    nacre_free(table->entries);
    *table = (nacre_tuning_table){0};
}

/* ---- the table in force ---- */

static nacre_mutex guard = NACRE_MUTEX_INIT;
static nacre_tuning_table in_force; /* guarded */
static atomic_size_t count_in_force;
static nacre_once fork_once = NACRE_ONCE_INIT;

static void after_fork(void) { nacre_mutex_reset(&guard); }
static void prepare_for_fork(void) { nacre_at_fork(NULL, NULL, after_fork); }

void nacre_tuning_use(nacre_tuning_table *table) {
    nacre_call_once(&fork_once, prepare_for_fork);
    nacre_mutex_lock(&guard);
    nacre_tuning_table before = in_force;
    in_force = *table;
    atomic_store(&count_in_force, in_force.count);
    nacre_mutex_unlock(&guard);
    *table = (nacre_tuning_table){0};
    nacre_tuning_free(&before);
}

nacre_status nacre_tuning_copy(nacre_tuning_table *out) {
    nacre_mutex_lock(&guard);
    nacre_status status = nacre_tuning_clone(&in_force, out);
    nacre_mutex_unlock(&guard);
    return status;
}

void nacre_tuning_choose(nacre_plan_op *step) {
    if (atomic_load(&count_in_force) == 0) return;
    nacre_tuning_key key = nacre_tuning_key_of(step);
    nacre_mutex_lock(&guard);
    const nacre_tuning_entry *entry = nacre_tuning_find(&in_force, &key);
    if (entry) nacre_product_set_choice(step, &entry->choice);
    nacre_mutex_unlock(&guard);
}

size_t nacre_tuning_count(void) { return atomic_load(&count_in_force); }

void nacre_tuning_clear(void) {
    nacre_tuning_table none = {0};
    nacre_tuning_use(&none);
}
