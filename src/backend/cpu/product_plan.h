/* How an f32 product is computed, worked out from shapes, strides and a tuning choice before it runs. The rows of A
   are cut into tiles, the columns of B into panels. */
#ifndef NACRE_BACKEND_CPU_PRODUCT_PLAN_H
#define NACRE_BACKEND_CPU_PRODUCT_PLAN_H

#include "backend/cpu/kernels.h"
#include "backend/cpu/product.h"

typedef struct nacre_product_plan {
    const nacre_cpu_level *level;
    nacre_product p;
    bool kept;       /* B's panels are the storage's own form: see nacre_product_keeps_f32 */
    bool thin;       /* so few rows that they share loads of B instead of B sharing theirs */
    bool turned;     /* p computes the transposed output: see turns */
    int64_t out_row; /* floats from one row of the output to the next */
    /* Tiles and panels. */
    int64_t tiles, panels, tile_pitch; /* tile_pitch: floats per k of a packed tile */
    int64_t tile_rows, tall_tiles;     /* the first tall_tiles have one row more */
    /* What does not lie in memory as tiles read it is packed: by the task that uses it where one task uses a whole
       panel, else beforehand, a round of batches or panels at a time. */
    bool pack_a, pack_b, shared_b, pack_in_task;
    int64_t a_floats, b_floats; /* packed, one batch; b: of a whole round's panels */
    int64_t round_batches, round_panels;
    /* Tasks: parts of a sweep of tiles under a few panels. */
    int64_t sweeps, parts, task_panels;
} nacre_product_plan;

/* Of a run that packs as it goes, by the step's choice. */
nacre_product_plan nacre_product_plan_of(const nacre_plan_op *step);
/* Of a run that finds B's panels with its storage. By the rules: a tuning choice is about packing as it goes. */
nacre_product_plan nacre_product_plan_kept(const nacre_plan_op *step);

/* First row of a tile, and how many it has. */
static inline int64_t nacre_tile_first(const nacre_product_plan *plan, int64_t tile) {
    return tile * plan->tile_rows + nacre_smaller(tile, plan->tall_tiles);
}
static inline int nacre_tile_height(const nacre_product_plan *plan, int64_t tile) {
    return (int)(plan->tile_rows + (tile < plan->tall_tiles));
}

/* Columns of a panel as packed, and as they are. */
static inline int nacre_panel_columns(const nacre_product_plan *plan, int64_t panel) {
    const nacre_gemm_kernels *gemm = plan->level->gemm;
    return plan->p.n - panel * gemm->columns <= gemm->narrow ? gemm->narrow : gemm->columns;
}
static inline int nacre_panel_width(const nacre_product_plan *plan, int64_t panel) {
    int64_t left = plan->p.n - panel * plan->level->gemm->columns;
    return (int)nacre_smaller(left, nacre_panel_columns(plan, panel));
}

/* Kernels read whole vectors: a last panel with fewer columns is packed whatever the others are. */
static inline bool nacre_panel_is_packed(const nacre_product_plan *plan, int64_t panel) {
    return plan->pack_b || nacre_panel_width(plan, panel) < nacre_panel_columns(plan, panel);
}

#endif
