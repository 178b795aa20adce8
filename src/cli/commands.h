/* The commands of the program. Each takes what follows its name and returns the exit code. */
#ifndef NACRE_CLI_COMMANDS_H
#define NACRE_CLI_COMMANDS_H

#include "cli/options.h"

int nacre_cli_train(int argc, char **argv);
int nacre_cli_evaluate(int argc, char **argv);
int nacre_cli_predict(int argc, char **argv);
int nacre_cli_summary(int argc, char **argv);
int nacre_cli_explain(int argc, char **argv);
int nacre_cli_bench(int argc, char **argv);
int nacre_cli_tune(int argc, char **argv);
int nacre_cli_info(int argc, char **argv);

extern const nacre_cli_syntax nacre_cli_train_syntax, nacre_cli_evaluate_syntax,
    nacre_cli_predict_syntax, nacre_cli_summary_syntax, nacre_cli_explain_syntax,
    nacre_cli_bench_syntax, nacre_cli_tune_syntax, nacre_cli_info_syntax;

/* Seconds since the process started. */
double nacre_cli_seconds(void);

#endif
