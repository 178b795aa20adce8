/* A trained model from a run folder or a .safetensors file. */
#ifndef NACRE_CLI_MODEL_FILE_H
#define NACRE_CLI_MODEL_FILE_H

#include "cli/settings.h"

typedef struct nacre_cli_model {
    const nacre_cli_recipe *recipe;
    nacre_model *model; /* of the recipe, with the file's weights */
    char data[4096];    /* the run's data folder; "" for a file or an older run */
    int backend;        /* the run's; cpu for a file */
} nacre_cli_model;

/* `path`: a run folder or a file. false: said what is wrong. Release with nacre_cli_model_close. */
bool nacre_cli_model_open(const char *path, nacre_cli_model *out);
void nacre_cli_model_close(nacre_cli_model *model);

/* The error of weights that are finite, and yet give a NaN or Inf. */
nacre_status nacre_cli_not_finite(void);

#endif
