/* What explain and tune work on: a network by its name, with a training step on made-up samples. */
#ifndef NACRE_CLI_SUBJECT_H
#define NACRE_CLI_SUBJECT_H

#include "cli/synthetic.h"
#include "cli/workloads.h"

typedef struct nacre_cli_subject {
    const char *name;               /* as it was given */
    const nacre_cli_recipe *recipe; /* NULL: a workload */
    nacre_cli_workload workload;
    int64_t batch;
    nacre_cli_job job;
    nacre_cli_synthetic synthetic;
} nacre_cli_subject;

/* A workload, a recipe, a run folder or a .safetensors file. batch, sizes: 0 is the network's own; sizes may be NULL.
   0, or an exit code after saying what is wrong. The subject must stay where it is until it is released. */
int nacre_cli_subject_find(const char *name, int64_t batch, const nacre_cli_sizes *sizes,
                           nacre_cli_subject *out);
/* The workload with the sizes that are not 0 in place of its own. NULL stands for what has no sizes, `what` names it
   in messages. false after saying on stderr which size it has not or cannot have. */
bool nacre_cli_choose_sizes(const nacre_cli_workload *workload, const char *what,
                            const nacre_cli_sizes *sizes, nacre_cli_workload *out);
/* Names for a message, "mlp, ..., resnet20, " and the others that may stand in their place. */
void nacre_cli_list_workloads(nacre_text *text, const char *others);

/* Model and samples; NACRE_OUT_OF_MEMORY if that, and a step if it `runs`, takes more memory than is left. Release also
   after a failure. */
nacre_status nacre_cli_subject_make(nacre_cli_subject *subject, bool runs);
void nacre_cli_subject_release(nacre_cli_subject *subject);

nacre_status nacre_cli_subject_step(nacre_cli_subject *subject);
/* The plan of that step, or of a forward pass in inference mode; nothing is computed. NULL on error. */
nacre_explanation *nacre_cli_subject_explain(nacre_cli_subject *subject, bool infer);

#endif
