/* Running a plan on the values of the evaluation at hand. */
#ifndef NACRE_PLAN_REPLAY_H
#define NACRE_PLAN_REPLAY_H

#include "plan/plan.h"

/* Points every step at its arrays and refreshes the slots. */
void nacre_replay_bind(nacre_plan *plan, nacre_planner *planner);
/* Checks indices, then runs the steps; stops before the first effect on a failure or a cancellation. */
nacre_status nacre_replay_run(nacre_plan *plan, nacre_planner *planner);

/* trace.c: tells the trace what the plan's steps are, unless it knows; false: no memory, the plan is not
   traced. Then the spans, which end now. */
bool nacre_replay_trace_names(nacre_plan *plan, const nacre_planner *planner, uint64_t session);
void nacre_replay_trace_step(const nacre_plan *plan, int step, uint64_t begin);
void nacre_replay_trace_all(const nacre_plan *plan, uint64_t begin);

/* The plan for the planner's gathered work: cached or made. NULL on error. */
nacre_plan *nacre_plan_for(nacre_planner *planner, nacre_thread *thread);

#endif
