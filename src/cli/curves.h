/* Learning curves as a picture: loss and accuracy over the run. */
#ifndef NACRE_CLI_CURVES_H
#define NACRE_CLI_CURVES_H

#include "io/text.h"

#include <nacre/train.h>

#define NACRE_CLI_CURVE_POINTS 512

/* The loss of every step, thinned as the run goes: each point is the mean over `stride` steps, and the
   stride doubles when the points are used up, so a run of any length takes the same memory. */
typedef struct nacre_cli_curve {
    float mean[NACRE_CLI_CURVE_POINTS];
    int points;
    int64_t stride, steps; /* steps per point; steps so far, those not finite included */
    double sum;            /* of the point that is being made */
    int64_t count;
} nacre_cli_curve;

void nacre_cli_curve_add(nacre_cli_curve *curve, double loss);

/* An SVG of 960 x 420: the loss of training steps and of epochs on the left, the accuracies on the
   right; light or dark as the browser is. `epochs`: [count]. */
void nacre_cli_curves_draw(const nacre_cli_curve *curve, const nacre_epoch_report *epochs,
                           int64_t count, int64_t steps_per_epoch, const char *title,
                           nacre_text *svg);

#endif
