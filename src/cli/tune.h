/* What the parts of nacre tune share: tune.c is the command, tune_step.c measures, tune_report.c prints. */
#ifndef NACRE_CLI_TUNE_H
#define NACRE_CLI_TUNE_H

#include "backend/cpu/tune.h"

#include "cli/progress.h"
#include "cli/subject.h"

typedef enum nacre_cli_verdict {
    NACRE_CLI_TUNE_KEPT,        /* the whole step became faster by more than the margin */
    NACRE_CLI_TUNE_NOT_FASTER,  /* it did not */
    NACRE_CLI_TUNE_NOTHING,     /* no way beats what the table and the rules say */
    NACRE_CLI_TUNE_TOO_LITTLE,  /* the time was too short to say */
    NACRE_CLI_TUNE_INTERRUPTED, /* before the whole step was compared */
} nacre_cli_verdict;

enum { NACRE_CLI_MOST_PRODUCTS = 512 };

/* Of all verdicts but the first the table in force is what it was. */
typedef struct nacre_cli_findings {
    nacre_tune_result product[NACRE_CLI_MOST_PRODUCTS];
    size_t count;
    nacre_cli_verdict verdict;
    bool compared;        /* the whole step, so what follows is known */
    double before, after; /* microseconds of a step by the table before and after */
    double margin;        /* what it must be faster by, as a share of `before` */
} nacre_cli_findings;

/* Ran each of its ways in rounds enough to tell? */
bool nacre_cli_tune_decided(const nacre_tune_result *product);
size_t nacre_cli_tune_undecided(const nacre_cli_findings *findings);

/* Measures for about so many seconds. What makes the step faster is in force afterwards. */
nacre_status nacre_cli_tune_subject(nacre_cli_subject *subject, double seconds,
                                    nacre_cli_progress *progress, nacre_cli_findings *out);

void nacre_cli_tune_append(const nacre_cli_subject *subject, const nacre_cli_findings *findings,
                           bool json, nacre_text *text);

#endif
