/* Optimisers from the inside. */
#ifndef NACRE_OPTIM_OPTIMIZER_H
#define NACRE_OPTIM_OPTIMIZER_H

#include <nacre/optim.h>

/* A tensor of state per parameter: Adam has 2. */
#define NACRE_MAX_STATES 4

typedef struct nacre_slot {
    nacre_tensor *parameter;               /* retained */
    char *names[NACRE_MAX_STATES + 1];     /* the parameter's, then of each state: "0.weight.m" */
    nacre_tensor *gradient;                /* while a step is recorded */
    nacre_tensor *state[NACRE_MAX_STATES]; /* retained */
} nacre_slot;

struct nacre_optimizer {
    nacre_optimizer_class class_;
    void *self;
    double lr, clip_norm, clip_value;
    nacre_schedule *schedule; /* NULL: constant */
    int64_t total;            /* steps of the schedule; 0: to be set by the run */
    bool bound, immortal;
    nacre_slot *slots;
    size_t count;
    nacre_tensor *step; /* i64 scalar: updates that took place */
    int64_t steps;      /* the same, known here */
    nacre_status status;
    char message[512];
};

nacre_status nacre_optimizer_set_error(nacre_optimizer *optimizer, nacre_status status);
nacre_status nacre_optimizer_check(const nacre_optimizer *optimizer, const char *what);

/* Binds to several modules at once; names of the i-th get the prefix prefixes[i]. A tensor that is listed twice is an
   error, and the optimiser stays without parameters. */
nacre_status nacre_optimizer_bind_all(nacre_optimizer *optimizer, nacre_module *const *modules,
                                      const char *const *prefixes, size_t count);

/* Why a schedule cannot be used, as the last error; NACRE_OK: it can. */
nacre_status nacre_schedule_status(const nacre_schedule *schedule);

/* Sets the schedule's total where it was left open (0). Returns what it was before. */
int64_t nacre_optimizer_set_total(nacre_optimizer *optimizer, int64_t total);

/* Every tensor that a step may change: parameters, states, the step count. Their number, and the
   index-th. */
size_t nacre_optimizer_variable_count(const nacre_optimizer *optimizer);
nacre_tensor *nacre_optimizer_variable(const nacre_optimizer *optimizer, size_t index);
/* After the variables were overwritten from outside: the number of updates they stand for. */
void nacre_optimizer_set_steps(nacre_optimizer *optimizer, int64_t steps);

#endif
