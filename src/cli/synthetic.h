/* A recipe's training step on made-up samples: what explain shows, tune times, and train asks for its memory. */
#ifndef NACRE_CLI_SYNTHETIC_H
#define NACRE_CLI_SYNTHETIC_H

#include "cli/settings.h"

#include <nacre/plan.h>

typedef struct nacre_cli_synthetic {
    nacre_model *model;
    nacre_batch batch; /* lies in memory; the thread's outermost scope owns it */
} nacre_cli_synthetic;

/* The recipe's network with the optimiser of `settings`. Release it with nacre_cli_synthetic_free, also after a
   failure. */
nacre_status nacre_cli_synthetic_make(const nacre_cli_recipe *recipe,
                                      const nacre_cli_settings *settings, int64_t batch_size,
                                      nacre_cli_synthetic *out);
void nacre_cli_synthetic_free(nacre_cli_synthetic *synthetic);

/* One step, as nacre_fit takes it. */
nacre_status nacre_cli_synthetic_step(nacre_cli_synthetic *synthetic);
/* The plan of that step, or of a forward pass in inference mode; nothing is computed. NULL on error. */
nacre_explanation *nacre_cli_synthetic_explain(nacre_cli_synthetic *synthetic, bool infer);

#endif
