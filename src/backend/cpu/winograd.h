/* Winograd's algorithm for 3 x 3 windows: what convolutions and their weight gradients share. */
#ifndef NACRE_BACKEND_CPU_WINOGRAD_H
#define NACRE_BACKEND_CPU_WINOGRAD_H

#include "backend/cpu/conv.h"

/* A tile of 4 x 4 pixels meets 2 x 2 outputs in 16 products. */
enum {
    NACRE_WINOGRAD_PRODUCTS = 16,
    NACRE_WINOGRAD_SIDE = 4,
    NACRE_WINOGRAD_OUT_SIDE = 2,
};

/* Is it a window that the algorithm can take? */
static inline bool nacre_winograd_takes(const nacre_conv *c) {
    const nacre_conv_axis *row = &c->row, *column = &c->column;
    return c->groups == 1 && row->taps == 3 && column->taps == 3 && row->stride == 1 &&
           column->stride == 1 && row->dilation == 1 && column->dilation == 1;
}

/* The tiles of a plane in one row, at most `most` from tile `first` on, and where their first pixel lies in x:
   `top` and `left` are the padding. */
typedef struct nacre_winograd_place {
    nacre_winograd_run run;
    int64_t at;
} nacre_winograd_place;

static inline nacre_winograd_place nacre_winograd_place_of(int64_t first, int64_t most,
                                                           int64_t tile_columns, int64_t top,
                                                           int64_t left, int64_t rows,
                                                           int64_t columns) {
    int64_t row = first / tile_columns * NACRE_WINOGRAD_OUT_SIDE - top;
    int64_t column = first % tile_columns * NACRE_WINOGRAD_OUT_SIDE - left;
    nacre_winograd_place place = {
        .run = {.tiles = nacre_smaller(most, tile_columns - first % tile_columns),
                .first = -column,
                .end = columns - column,
                .x_row = columns * NACRE_LANES},
        .at = (row * columns + column) * NACRE_LANES,
    };
    for (int i = 0; i < NACRE_WINOGRAD_SIDE; i++)
        if (row + i >= 0 && row + i < rows) place.run.rows |= 1u << i;
    return place;
}

#endif
