/* Settings of a training run: their flags, their file, and what they make. */
#ifndef NACRE_CLI_SETTINGS_H
#define NACRE_CLI_SETTINGS_H

#include "cli/options.h"
#include "cli/recipes.h"

enum { NACRE_CLI_ADAM = 0, NACRE_CLI_SGD = 1 };
enum { NACRE_CLI_ONECYCLE = 0, NACRE_CLI_CONSTANT = 1 };
enum { NACRE_CLI_BACKEND_CPU = 0, NACRE_CLI_BACKEND_REFERENCE = 1 };

extern const char *const nacre_cli_backends[]; /* choices of --backend */

/* Strings that come from a file live in `document`. */
typedef struct nacre_cli_run_settings {
    const nacre_cli_recipe *recipe;
    nacre_cli_settings values;
    bool threads_given; /* else NACRE_THREADS decides */
    nacre_json_document *document;
} nacre_cli_run_settings;

/* From the command line, the file that --config names and the recipe's defaults, in this order. false:
   *code is the exit code (0 after --help), and what is wrong was said. */
bool nacre_cli_settle(int argc, char **argv, nacre_cli_run_settings *out, int *code);
void nacre_cli_settings_free(nacre_cli_run_settings *settings);

/* Threads and backend of the process. -1 threads: leave them as NACRE_THREADS says. */
nacre_status nacre_cli_apply(int64_t threads, int backend);

/* The recipe's network with cross-entropy and the optimiser of the settings, drawn from their seed. */
nacre_model *nacre_cli_make_model(const nacre_cli_recipe *recipe,
                                  const nacre_cli_settings *settings, int64_t total_steps);

/* config.json: everything that a repetition needs. `data`: the folder that was read. */
void nacre_cli_write_config(const nacre_cli_run_settings *settings, const char *data,
                            nacre_text *text);

/* What evaluation needs from a run's config.json. */
typedef struct nacre_cli_recorded {
    const nacre_cli_recipe *recipe;
    char data[4096]; /* "" if the file has none */
    int backend;
} nacre_cli_recorded;
nacre_status nacre_cli_read_recorded(const char *path, nacre_cli_recorded *out);

#endif
