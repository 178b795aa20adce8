/* Tuning by running: while a session is on, every f32 product that its thread plans tries one candidate after the
   other, run after run, where it stands in the user's own work, caches as they are there. All candidates have the
   same bits, so what is computed meanwhile is right. */
#ifndef NACRE_BACKEND_CPU_TUNE_H
#define NACRE_BACKEND_CPU_TUNE_H

#include "backend/cpu/tuning.h"

/* Prepares the step to be tried, if the calling thread tunes and the step may be; else false. */
bool nacre_tune_prepare(nacre_plan_op *step);

/* Fewer rounds say nothing: the rules stay. */
enum { NACRE_TUNE_LEAST_ROUNDS = 5 };

/* What is known of one product of the session at hand. Times in microseconds, the better quarter's. */
typedef struct nacre_tune_result {
    nacre_tuning_key key;
    nacre_product_choice best; /* the rules' unless something is clearly faster */
    double rules_us, best_us;
    int candidates;
    unsigned rounds;
} nacre_tune_result;

size_t nacre_tune_count(void);
nacre_tune_result nacre_tune_result_at(size_t index);

#endif
