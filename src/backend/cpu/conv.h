/* Convolutions on the CPU: what forward, input gradient and weight gradient share. */
#ifndef NACRE_BACKEND_CPU_CONV_H
#define NACRE_BACKEND_CPU_CONV_H

#include "backend/cpu/cpu.h"

static inline bool nacre_conv_fits(const nacre_shape *weight) {
    return weight->dims[2] <= NACRE_CONV_MOST_TAPS && weight->dims[3] <= NACRE_CONV_MOST_TAPS;
}

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

/* What the lanes of vectors hold. */
typedef enum nacre_conv_way {
    NACRE_CONV_SAMPLES,  /* laned arrays */
    NACRE_CONV_CHANNELS, /* of the outputs of a sample alone */
    NACRE_CONV_FLAT,     /* pixels of a sample alone, row after row, from copies of it */
} nacre_conv_way;

/* A direction: outputs are y's and pixels x's, or the other way round. */
typedef struct nacre_conv_sums {
    nacre_conv c;
    bool backward;
    nacre_conv_way way;
    int64_t unit; /* floats of a pixel: 16 in lanes, 1 of a sample alone */
    const float *in, *bias;
    const float *weight; /* as packed: [group][panel][in channel][tap][16 outs] */
    float *out;
    nacre_conv_after after; /* out NULL: nothing follows */
    const nacre_array
        *numbers[3];     /* mean, scale and shift of channels, where the epilogue has them */
    int64_t norm_floats; /* of its norm; 0: it has none */
    int64_t in_channels, out_channels; /* of one group */
    int64_t in_rows, in_columns, out_rows, out_columns;
    int64_t panels, panel_floats;
    int64_t parts;                       /* of the rows: tasks */
    struct nacre_conv_segment *segments; /* of the first two ways */
    int segment_count;
} nacre_conv_sums;

nacre_conv_sums nacre_conv_sums_of(const nacre_plan_op *step);

/* Lays out the norm of what follows in `scratch`, which has room for norm_floats; what is left of it. */
float *nacre_conv_take_norm(nacre_conv_sums *s, float *scratch);

/* What follows, for kernels that begin with channel o of a group, perhaps in `room`; NULL: nothing does. */
static inline const nacre_conv_after *nacre_conv_after_at(const nacre_conv_sums *s, int64_t group,
                                                          int64_t o, nacre_conv_after *room) {
    if (!s->after.norm) return s->after.out ? &s->after : NULL;
    *room = s->after;
    room->norm += group * s->panels * NACRE_LANES + o;
    return room;
}

/* Of what follows the part that comes before an array like the output is added, which lies in rows, with relu if none
   is: for sums that turn from lanes to rows. */
static inline const nacre_conv_after *nacre_conv_after_in_lanes(const nacre_conv_after *after,
                                                                nacre_conv_after *room) {
    if (!after || !after->add) return after;
    *room = *after;
    room->add = NULL;
    room->relu = false;
    return room;
}

/* So few samples are not worth lanes: convolutions and pools leave them where they are, with the same bits. */
enum { NACRE_CONV_FEW = 8 };
bool nacre_conv_is_plain(const nacre_plan_op *step);

/* Weights as `kind` of nacre_form_key arranges them: from their storage, or in `scratch` if it keeps none. *fill: the
   caller makes them, then says nacre_conv_filled. */
float *nacre_conv_weights(const nacre_plan_op *step, int kind, int64_t floats, float *scratch,
                          bool *fill);
void nacre_conv_filled(const nacre_plan_op *step, const float *weights, const float *scratch);

/* Packed weights, as they are kept or made, for s->weight; packed_floats lie at `own` for it. What is behind them. */
float *nacre_conv_take_weights(nacre_conv_sums *s, const nacre_plan_op *step, float *own);
static inline int64_t nacre_conv_packed_floats(const nacre_conv_sums *s) {
    return s->c.groups * s->panels * s->panel_floats;
}

/* Of the way with flat pixels. */
bool nacre_conv_flat_prepare(nacre_plan_op *step, const nacre_conv_sums *s);

/* Outputs from o on in one call of kernels that take `most`: even parts of a panel, none of them across its end. */
int64_t nacre_conv_next_outs(const nacre_conv_sums *s, int64_t o, int64_t most);

/* Panel `index` of weight, which is [y channels of all groups][x channels of one][taps]. */
void nacre_conv_pack_panel(const nacre_conv_sums *s, const float *weight, size_t index, float *out);

/* Is Winograd's algorithm the faster way? From everything but the number of samples. */
bool nacre_winograd_suits(const nacre_conv_sums *s);
bool nacre_winograd_prepare(nacre_plan_op *step, const nacre_conv_sums *s);
bool nacre_winograd_weight_suits(const nacre_conv *c);
bool nacre_winograd_weight_prepare(nacre_plan_op *step);

#endif
