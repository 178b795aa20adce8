/* How a product is computed where the rules of product_plan.c would decide by themselves: a table by shape that
   `nacre tune` fills. It is looked at when a step is planned, never when it runs, and every choice has the same
   bits. io/tuning.c reads and writes it. */
#ifndef NACRE_BACKEND_CPU_TUNING_H
#define NACRE_BACKEND_CPU_TUNING_H

#include "plan/backend.h"

#include <nacre/tuning.h>

/* 0 is everywhere what the rules say. */
typedef enum nacre_way {
    NACRE_WAY_RULE = 0,
    NACRE_WAY_STRAIGHT,
    NACRE_WAY_TURNED, /* the transposed product, each tile turned on its way out */
    NACRE_WAYS
} nacre_way;
typedef enum nacre_pack_a { NACRE_PACK_A_RULE = 0, NACRE_PACK_A_YES, NACRE_PACK_AS } nacre_pack_a;
typedef enum nacre_pack_b {
    NACRE_PACK_B_RULE = 0,
    NACRE_PACK_B_NO,
    NACRE_PACK_B_BEFORE, /* a round at a time, by all threads */
    NACRE_PACK_B_IN_TASK,
    NACRE_PACK_BS
} nacre_pack_b;

/* In words; NULL: of a rule. */
extern const char *const nacre_way_names[NACRE_WAYS], *const nacre_pack_a_names[NACRE_PACK_AS],
                                                          *const nacre_pack_b_names[NACRE_PACK_BS];

/* Powers of two: multiply-adds of a task, bytes of A under a sweep. */
enum {
    NACRE_LEAST_TASK = 12,
    NACRE_MOST_TASK = 26,
    NACRE_LEAST_SWEEP = 14,
    NACRE_MOST_SWEEP = 26,
};

typedef struct nacre_product_choice {
    nacre_way way;
    nacre_pack_a pack_a;
    nacre_pack_b pack_b;
    int task, sweep;
} nacre_product_choice;

/* A choice in the bits of a step's variant. */
nacre_product_choice nacre_product_choice_of(const nacre_plan_op *step);
void nacre_product_set_choice(nacre_plan_op *step, const nacre_product_choice *choice);
bool nacre_product_is_rule(const nacre_product_choice *choice);

/* Everything that a product's speed depends on. Of 64-bit words alone, compared one by one. */
typedef struct nacre_tuning_key {
    int64_t level, threads, m, n, k, batches, a_row, a_k, b_k, b_column, shared_b;
} nacre_tuning_key;
nacre_tuning_key nacre_tuning_key_of(const nacre_plan_op *step);

typedef struct nacre_tuning_entry {
    nacre_tuning_key key;
    nacre_product_choice choice;
} nacre_tuning_entry;

enum { NACRE_TUNING_MOST = 4096 };

/* Sorted by key. All zero: empty. */
typedef struct nacre_tuning_table {
    nacre_tuning_entry *entries;
    size_t count, capacity;
} nacre_tuning_table;

const nacre_tuning_entry *nacre_tuning_find(const nacre_tuning_table *table,
                                            const nacre_tuning_key *key);
/* Adds, or replaces the entry of this key; the rules' own choice removes it. */
nacre_status nacre_tuning_put(nacre_tuning_table *table, const nacre_tuning_entry *entry);
nacre_status nacre_tuning_clone(const nacre_tuning_table *table, nacre_tuning_table *out);
void nacre_tuning_free(nacre_tuning_table *table);

/* The table that steps are planned by, of all threads. */
void nacre_tuning_use(nacre_tuning_table *table); /* takes over what it holds, and empties it */
nacre_status nacre_tuning_copy(nacre_tuning_table *out);
/* Sets the step's choice to what the table says. */
void nacre_tuning_choose(nacre_plan_op *step);

#endif
