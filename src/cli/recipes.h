/* Recipes: named training programs. A new one is a row of the table in recipes.c. */
#ifndef NACRE_CLI_RECIPES_H
#define NACRE_CLI_RECIPES_H

#include <nacre/train.h>

/* Settings of a training run, as its flags give them. */
typedef struct nacre_cli_settings {
    const char *data, *config, *out, *trace;
    int64_t epochs, batch_size, seed, threads, memory;
    double lr, momentum, clip_norm, clip_value, target_accuracy;
    int optimizer, schedule, backend; /* nacre_cli_adam ..., see settings.h */
    bool json, quiet, verbose;
} nacre_cli_settings;

/* Training and test samples of a recipe. */
typedef struct nacre_cli_data {
    nacre_dataset *train, *test; /* owned by `mnist` */
    const char *kind;            /* "mnist" or "procedural" */
    char folder[4096];           /* absolute; "procedural" for drawn digits */
    nacre_mnist mnist;
} nacre_cli_data;

typedef struct nacre_cli_recipe {
    const char *name;
    const char *about; /* one line */
    nacre_shape input; /* of one sample */
    int64_t classes;
    nacre_module *(*network)(void);
    /* folder: as --data gave it, NULL to look for one. */
    nacre_status (*open)(const char *folder, nacre_cli_data *out);
    nacre_cli_settings defaults;
} nacre_cli_recipe;

extern const nacre_cli_recipe nacre_cli_recipes[];
extern const size_t nacre_cli_recipe_count;

/* The recipe of this name, or NULL. */
const nacre_cli_recipe *nacre_cli_find_recipe(const char *name);
/* The same; NULL after saying on stderr which one is nearest. */
const nacre_cli_recipe *nacre_cli_recipe_named(const char *name);

/* All names, "a or b", for messages. */
const char *nacre_cli_recipe_list(void);

void nacre_cli_data_close(nacre_cli_data *data);

#endif
