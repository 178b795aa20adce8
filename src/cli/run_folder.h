/* The folder of a training run and the files in it. */
#ifndef NACRE_CLI_RUN_FOLDER_H
#define NACRE_CLI_RUN_FOLDER_H

#include "io/text.h"

#include <nacre/train.h>
#include <stdio.h>

/* A file that grows by whole lines. One that could not take a line is cut back to the last whole one. */
typedef struct nacre_cli_table {
    FILE *file;
    char path[4200];
    char *buffer;
    long long whole; /* bytes of lines known to be written */
} nacre_cli_table;

typedef struct nacre_cli_run_folder {
    char path[4096];
    size_t existing; /* length of the part of `path` that was there before the run */
    bool ours;       /* empty when the run took it: all in it is the run's */
    nacre_cli_table epochs, steps;
    bool failed; /* a table could not be written, and the error was said */
} nacre_cli_run_folder;

/* `out` may become a run's folder: it does not exist or is an empty folder. NULL is fine. Otherwise
   says what is wrong and gives false. */
bool nacre_cli_folder_free(const char *out);

/* Makes `out`, or with NULL runs/RECIPE/TIME made unique, and the tables in it. `bytes`: what the run's
   other files will take; a disk with less room is refused. false: said what is wrong, left nothing. */
bool nacre_cli_folder_make(nacre_cli_run_folder *folder, const char *out, const char *recipe,
                           long long bytes);

/* One line each; nothing is allocated. false: it was not written, and that was said. */
bool nacre_cli_folder_step(nacre_cli_run_folder *folder, const nacre_step_report *report);
bool nacre_cli_folder_epoch(nacre_cli_run_folder *folder, const nacre_epoch_report *report);

/* Writes a small file whole or not at all; frees the text. false: said what is wrong. */
bool nacre_cli_folder_write(nacre_cli_run_folder *folder, const char *name, nacre_text *text);

/* Path of a file in the folder, in `path` of `size` bytes. */
void nacre_cli_folder_file(const nacre_cli_run_folder *folder, const char *name, char *path,
                           size_t size);

/* Closes the tables. false: one could not be written whole. */
bool nacre_cli_folder_close(nacre_cli_run_folder *folder);

/* Closes and removes the table of steps; says nothing. */
void nacre_cli_folder_drop_steps(nacre_cli_run_folder *folder);

/* Closes and removes all files of the run, and the folders that it made. */
void nacre_cli_folder_remove(nacre_cli_run_folder *folder);

#endif
