/* What a training step needs of memory, told before it is taken: a process that takes more than there is gets killed
   without a word. */
#ifndef NACRE_CLI_NEED_H
#define NACRE_CLI_NEED_H

#include "cli/workloads.h"

/* Bytes, as doubles: no size that a flag takes overflows. */
typedef struct nacre_cli_need {
    double
        weights; /* with what belongs to each: gradient, the optimiser's, panels that products keep */
    double samples;
    double arena, results; /* what a step computes on its way, and what is asked of it */
    double left;           /* of the machine's memory, before anything was made */
} nacre_cli_need;

/* The parts of a job that are to run, as bits 1 << NACRE_CLI_STEP. */
typedef unsigned nacre_cli_parts;

/* What a workload needs before a plan is known. */
nacre_cli_need nacre_cli_need_of(const nacre_cli_workload *workload, int64_t batch_size,
                                 nacre_cli_parts parts);
/* Adds what the plan of `part` takes. */
void nacre_cli_need_add(nacre_cli_need *need, const nacre_explanation *plan, nacre_cli_part part);
/* NACRE_OUT_OF_MEMORY if that is more than is left; `reduce` names the flags: "--width or --depth". */
nacre_status nacre_cli_need_check(const nacre_cli_need *need, const char *what, const char *reduce);

/* A job that is ready to run `parts`, or none of its memory written to. No parts: to be explained alone. */
nacre_status nacre_cli_job_make_within(const nacre_cli_workload *workload, int64_t batch_size,
                                       nacre_cli_parts parts, nacre_cli_job *out);

#endif
