/* Groups under construction: what fusing works on. */
#ifndef NACRE_PLAN_GROUPS_H
#define NACRE_PLAN_GROUPS_H

#include "plan/plan.h"

/* Element-wise steps that will run as one, perhaps behind a product, as its epilogue. They run where the last of
   them stood; where the product has further results, which may be read before that, where the product stood. */
typedef struct plan_group {
    int position;
    bool early; /* runs where its product stood */
    int members[NACRE_PROGRAM_CODES], count;
    int inputs[NACRE_PROGRAM_INPUTS], input_count; /* value ids from outside, the product's apart */
    int product;                                   /* step; -1: none */
} plan_group;

typedef struct plan_groups {
    nacre_plan *plan;
    plan_group *groups;
    int group_count;
    int *group_of;      /* step -> group, -1: none */
    int *maker;         /* value -> step, -1: leaf */
    bool *read_outside; /* value (base) -> some step outside its group reads it */
    int *folded;        /* step -> the group that it became the product of, -1: none */
} plan_groups;

/* The result of the group's product that its members read; -1: there is no product. */
static inline int nacre_group_product(const plan_groups *f, const plan_group *g) {
    return g->product < 0 ? -1 : f->plan->steps[g->product].out[0];
}

/* Assigns the plan's steps to groups; false: no memory, error set. */
bool nacre_plan_find_groups(plan_groups *f, nacre_plan *plan);

#endif
