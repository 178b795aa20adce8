/* The workloads of nacre bench: networks of examples/models/ with the batches and optimisers that other
   frameworks are measured with too (bench/README.md). A new one is a row of the table in workloads.c. */
#ifndef NACRE_CLI_WORKLOADS_H
#define NACRE_CLI_WORKLOADS_H

#include <nacre/plan.h>
#include <nacre/train.h>

/* What of a network can be chosen; 0: it has no such size. */
typedef struct nacre_cli_sizes {
    int64_t width, depth, sequence_length;
} nacre_cli_sizes;

typedef struct nacre_cli_workload {
    const char *name;
    nacre_cli_sizes sizes; /* the usual ones */
    int64_t heads;         /* the width is a multiple of them; 0: of nothing */
    nacre_shape input;     /* of one sample */
    int64_t vocabulary;    /* inputs are i64 tokens below it; 0: f32 in [0, 1) */
    nacre_shape target;    /* of one sample: classes, i64 */
    int64_t classes;
    int64_t batch_size; /* the usual one */
    nacre_module *(*network)(const nacre_cli_sizes *sizes);
    double (*parameters)(const nacre_cli_sizes *sizes); /* how many the network has */
    nacre_optimizer *(*optimizer)(void);
    int kept; /* numbers that the optimiser keeps for each parameter */
    /* How far the loss after one update may be from the reference's, 0: as far as rounding takes it. With batch norm
       and relu, some of the millions of values lie so near 0 that rounding decides whether their gradient passes. Each
       such flip changes the update, and with it how many more flip: about tenfold an update. With gelu in relu's place
       all losses agree to 2e-7. */
    double flips;
} nacre_cli_workload;

extern const nacre_cli_workload nacre_cli_workloads[];
extern const size_t nacre_cli_workload_count;

/* NULL: there is none of this name. */
const nacre_cli_workload *nacre_cli_find_workload(const char *name);

/* Puts the sizes that are not 0 in place of its own; it must have them. */
void nacre_cli_resize_workload(nacre_cli_workload *workload, const nacre_cli_sizes *sizes);

/* Largest batch: pixels of an mlp's take 313 MB. Largest sizes: an mlp's weights take 4 GB. */
enum {
    NACRE_CLI_MOST_SAMPLES = 100000,
    NACRE_CLI_MOST_WIDTH = 4096,
    NACRE_CLI_MOST_DEPTH = 64,
    NACRE_CLI_MOST_LENGTH = 8192,
};

/* A workload's model and a batch of made-up samples that lies in memory. */
typedef struct nacre_cli_job {
    const nacre_cli_workload *workload;
    nacre_model *model;
    nacre_batch batch; /* the thread's outermost scope owns it */
} nacre_cli_job;

/* Samples of the workload's shapes, vocabulary and classes, which is all that is read of it: memory that nobody wrote
   to, which costs nothing, and its values, functions of the seed. */
nacre_status nacre_cli_batch_make(const nacre_cli_workload *workload, int64_t count,
                                  nacre_batch *out);
void nacre_cli_batch_fill(const nacre_cli_workload *workload, uint64_t seed, nacre_batch *batch);

/* Weights and samples are functions of the seed. Release with nacre_cli_job_free, also after a failure. */
nacre_status nacre_cli_job_make(const nacre_cli_workload *workload, int64_t batch_size,
                                uint64_t seed, nacre_cli_job *out);
/* The same but for the samples' values: nothing can run before these are there, but all can be explained. */
nacre_status nacre_cli_job_make_model(const nacre_cli_workload *workload, int64_t batch_size,
                                      uint64_t seed, nacre_cli_job *out);
void nacre_cli_job_free(nacre_cli_job *job);

/* What of a job is done: all but the last train. */
typedef enum nacre_cli_part {
    NACRE_CLI_FORWARD,  /* forward and loss */
    NACRE_CLI_BACKWARD, /* these and all gradients */
    NACRE_CLI_STEP,     /* these and the update */
    NACRE_CLI_INFER,    /* forward in inference mode */
} nacre_cli_part;

/* Once, in one evaluation. loss: of a part that has one, else the first output; may be NULL. */
nacre_status nacre_cli_job_run(nacre_cli_job *job, nacre_cli_part part, double *loss);
/* The plan of that; nothing is computed. NULL on error. */
nacre_explanation *nacre_cli_job_explain(nacre_cli_job *job, nacre_cli_part part);

/* Whether there is a plan at all: with NACRE_EAGER=1 each operation runs as it is called, and what is explained is the
   first of them. */
bool nacre_cli_has_plan(void);
/* The plan of the one evaluation that `run` asks for; nothing is computed. NULL on error. */
nacre_explanation *nacre_cli_explain_run(nacre_status (*run)(void *context), void *context);

#endif
