/* What a trace says of a plan: its steps by name, and when each ran. */
#include "base/trace.h"

#include "base/clock.h"
#include "plan/replay.h"

/* The explanation's strings are its own, const for its readers only. */
static char *take(const char *string) { return (char *)(uintptr_t)string; }

bool nacre_replay_trace_names(nacre_plan *plan, const nacre_planner *planner, uint64_t session) {
    if (plan->traced == session) {
        return true;
    }
    if (!plan->trace_names) {
        plan->trace_names =
            nacre_plan_alloc(plan, (size_t)plan->step_count + 1, sizeof *plan->trace_names);
    }
    if (!plan->trace_names) {
        return false;
    }
    for (int s = 0; s < plan->step_count; s++) {
        nacre_plan_step step;
        nacre_explain_step(plan, &planner->work, &plan->steps[s], &step);
        plan->trace_names[s] = nacre_trace_add_name(&(nacre_trace_name){
            .kernel = take(step.kernel),
            .shapes = take(step.shapes),
            .where = take(step.where),
            .way = take(step.way),
            .flops = step.flops,
            .bytes = step.bytes,
        });
    }
    plan->traced = session;
    return true;
}

void nacre_replay_trace_step(const nacre_plan *plan, int step, uint64_t begin) {
    nacre_trace_add(&(nacre_trace_event){.begin = begin,
                                         .end = nacre_clock_ns(),
                                         .kind = NACRE_TRACE_STEP,
                                         .name = plan->trace_names[step]});
}

void nacre_replay_trace_all(const nacre_plan *plan, uint64_t begin) {
    nacre_trace_add(&(nacre_trace_event){.begin = begin,
                                         .end = nacre_clock_ns(),
                                         .kind = NACRE_TRACE_REPLAY,
                                         .name = nacre_trace_replay_name(),
                                         .detail = (uint32_t)plan->step_count});
}
