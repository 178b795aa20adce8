/* What a person sees while a network trains: a live line on a terminal, else a line per epoch. */
#ifndef NACRE_CLI_PROGRESS_H
#define NACRE_CLI_PROGRESS_H

#include <nacre/train.h>

typedef struct nacre_cli_progress {
    bool quiet, live, colour, unicode;
    int64_t epochs, epoch_samples, batch_size, epoch_steps;
    double started, drawn_at; /* seconds of the monotonic clock */
    /* Of the epoch under way. */
    double epoch_started, loss_sum, accuracy_sum;
    int64_t count;
    /* Of work that takes a known time. */
    char head[64], what[96];
    double seconds;
} nacre_cli_progress;

typedef struct nacre_cli_progress_options {
    bool quiet, verbose;
    int64_t epochs, samples, batch_size;
} nacre_cli_progress_options;

/* Draws on stderr: live if it is a terminal that understands control codes, unless .verbose. */
void nacre_cli_progress_begin(nacre_cli_progress *progress,
                              const nacre_cli_progress_options *options);
void nacre_cli_progress_step(nacre_cli_progress *progress, const nacre_step_report *report);
void nacre_cli_progress_epoch(nacre_cli_progress *progress, const nacre_epoch_report *report);
/* Work that takes about so many seconds begins: a live bar, which each tick moves, or one line elsewhere. */
void nacre_cli_progress_work(nacre_cli_progress *progress, const char *head, const char *what,
                             double seconds);
void nacre_cli_progress_tick(nacre_cli_progress *progress);
/* Takes a live line away, so that results can follow on the same terminal. */
void nacre_cli_progress_clear(void);
/* Leaves a live line, if there is one, as it stands, so that other text can follow. */
void nacre_cli_progress_end(void);

#endif
