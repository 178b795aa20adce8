/* The flags of a command: one table that parses, checks, explains and reads configurations. */
#ifndef NACRE_CLI_OPTIONS_H
#define NACRE_CLI_OPTIONS_H

#include "io/json.h"
#include "io/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NACRE_CLI_MAX_OPTIONS 32

/* What a flag's value is, and its type in the command's struct of values. */
typedef enum nacre_cli_kind {
    NACRE_CLI_SWITCH = 1, /* bool, no value */
    NACRE_CLI_INTEGER,    /* int64_t in [least, most] */
    NACRE_CLI_REAL,       /* double in [least, most], finite; least itself left out if .above */
    NACRE_CLI_CHOICE,     /* int, index of one of `choices` */
    NACRE_CLI_STRING,     /* const char *, not empty; NULL: not given */
} nacre_cli_kind;

typedef struct nacre_cli_option {
    const char *name; /* "batch-size"; in a configuration "batch_size" */
    nacre_cli_kind kind;
    size_t offset;     /* of its value in the struct */
    const char *value; /* "N", as the help shows it */
    const char *help;
    int64_t least, most;        /* INTEGER */
    double low, high;           /* REAL */
    bool above;                 /* REAL: greater than `low` */
    const char *const *choices; /* CHOICE: ends with NULL */
    bool configured;            /* part of config.json */
} nacre_cli_option;

typedef struct nacre_cli_syntax {
    const char *command;   /* "train" */
    const char *arguments; /* "RECIPE", "RUN|FILE IMAGE..." or "" */
    const char *summary;   /* one line */
    const char *details;   /* further help, whole lines; or NULL */
    const nacre_cli_option *options;
    size_t count;
    const void *defaults; /* a struct of values, shown in the help */
    int most_arguments;   /* -1: any number */
} nacre_cli_syntax;

/* What was given on the command line. */
typedef struct nacre_cli_given {
    bool option[NACRE_CLI_MAX_OPTIONS];
    bool help;
    const char **arguments; /* in argv, moved to its front */
    int count;
} nacre_cli_given;

/* Reads argv (without the program and the command) into `values`, which holds the defaults. Says on
   stderr what is wrong. true: go on, or .help was asked for; false: wrong usage. */
bool nacre_cli_parse(const nacre_cli_syntax *syntax, int argc, char **argv, void *values,
                     nacre_cli_given *given);

/* The text of `nacre help COMMAND`. */
void nacre_cli_help(const nacre_cli_syntax *syntax, nacre_text *text);
/* The same on stdout; the exit code. */
int nacre_cli_print_help(const nacre_cli_syntax *syntax);

/* Checks `text` as option `option` and stores it. false: `problem` (of `size` bytes) then holds "X is
   not ...; give ...". Strings are stored as the pointer itself. */
bool nacre_cli_store(const nacre_cli_option *option, const char *text, void *values, char *problem,
                     size_t size);

/* The option of a configuration's key, or NULL. */
const nacre_cli_option *nacre_cli_option_of_key(const nacre_cli_syntax *syntax, const char *key);
/* Appends the key of an option, "batch_size", to at most `size` bytes. */
void nacre_cli_key(const nacre_cli_option *option, char *key, size_t size);

/* Of `count` names the one within a third of its letters by edit distance, or NULL. */
const char *nacre_cli_nearest(const char *word, const char *const *names, size_t count);

#endif
