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

/* Bits of a tile's four elements, from `first` on, that lie in [0, extent). */
static inline unsigned nacre_winograd_inside(int64_t first, int64_t extent) {
    unsigned bits = 0;
    for (int i = 0; i < NACRE_WINOGRAD_SIDE; i++)
        if (first + i >= 0 && first + i < extent) bits |= 1u << i;
    return bits;
}

#endif
