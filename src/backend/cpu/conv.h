/* Convolutions on the CPU: what forward, input gradient and weight gradient share. */
#ifndef NACRE_BACKEND_CPU_CONV_H
#define NACRE_BACKEND_CPU_CONV_H

#include "backend/cpu/cpu.h"

/* One axis: extents of the larger side (x) and of the smaller one (y), and the window between them: element
   y meets x = y * stride - padding + tap * dilation. */
typedef struct nacre_conv_axis {
    int64_t x, y, taps, stride, padding, dilation;
} nacre_conv_axis;

typedef struct nacre_conv {
    const nacre_cpu_level *level;
    int64_t samples, blocks, groups;
    int64_t x_channels, y_channels; /* of one group */
    nacre_conv_axis row, column;
} nacre_conv;

/* From the step's shapes and attributes; `x`, `y`, `weight`: arrays of these shapes. */
nacre_conv nacre_conv_of(const nacre_plan_op *step, const nacre_shape *x, const nacre_shape *y,
                         const nacre_shape *weight);

#endif
