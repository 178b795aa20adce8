/* Running f32 products as planned: packing, then tasks of a few tiles under a few panels, cut by shape alone. */
#include "backend/cpu/group.h"
#include "backend/cpu/product_plan.h"

#include "base/pool.h"

/* Elements packed by a task at least: about 1 us. */
#define TASK_PACKED ((int64_t)16 << 10)

/* Rows of a tile, rounded up to whole vectors, at most. */
enum { TILE_PITCH = 16 };

typedef struct job {
    nacre_product_plan plan;
    const float *a, *b; /* of the product as planned: a turned one's are exchanged */
    /* the round under way */
    int64_t batch, batches, panel, panel_count;
    float *packed_a, *packed_b;
    /* results */
    float *out;
    nacre_product_finish finish;
    bool apart; /* the sums may not take the place of what the function reads beside them */
    const float *bias, *mask, *add, *map_input;
    float *mapped;
    const nacre_group *group;
} job;

/* ---- packing ---- */

static float *packed_panel(const job *j, int64_t batch, int64_t panel) {
    int64_t slot = j->plan.pack_b ? panel - j->panel : 0;
    int64_t at = j->plan.shared_b ? 0 : batch - j->batch;
    return j->packed_b + at * j->plan.b_floats + slot * j->plan.p.k * j->plan.level->gemm->columns;
}
static float *packed_tile(const job *j, int64_t batch, int64_t tile) {
    return j->packed_a + (batch - j->batch) * j->plan.a_floats +
           tile * j->plan.tile_pitch * j->plan.p.k;
}

static void pack_panel(const job *j, int64_t batch, int64_t panel) {
    const nacre_product *p = &j->plan.p;
    const float *b =
        j->b + nacre_product_b(p, batch) + panel * j->plan.level->gemm->columns * p->b_column;
    j->plan.level->pack->panel(p->k, nacre_panel_width(&j->plan, panel),
                               nacre_panel_columns(&j->plan, panel), b, p->b_k, p->b_column,
                               packed_panel(j, batch, panel));
}
static void pack_tile(const job *j, int64_t batch, int64_t tile) {
    const nacre_product *p = &j->plan.p;
    int64_t first = nacre_tile_first(&j->plan, tile);
    const float *a = j->a + nacre_product_a(p, batch) + first * p->a_row;
    j->plan.level->pack->panel(p->k, nacre_tile_height(&j->plan, tile), (int)j->plan.tile_pitch, a,
                               p->a_k, p->a_row, packed_tile(j, batch, tile));
}

/* Items of a round: of each batch its panels, then its tiles. */
typedef struct pack_job {
    const job *j;
    int64_t first_panel, panels, tiles, items, each;
} pack_job;

static void pack_task(void *context, size_t index) {
    const pack_job *pack = context;
    int64_t first = (int64_t)index * pack->each, per_batch = pack->panels + pack->tiles;
    int64_t end = nacre_smaller(first + pack->each, pack->items);
    for (int64_t i = first; i < end; i++) {
        int64_t batch = pack->j->batch + i / per_batch, item = i % per_batch;
        if (item >= pack->panels)
            pack_tile(pack->j, batch, item - pack->panels);
        else if (!pack->j->plan.shared_b || batch == pack->j->batch)
            pack_panel(pack->j, batch, pack->first_panel + item);
    }
}

static void pack_round(const job *j) {
    bool first_panels = j->panel == 0; /* those after them find the batch's tiles packed */
    pack_job pack = {.j = j, .tiles = j->plan.pack_a && first_panels ? j->plan.tiles : 0};
    int64_t last = j->panel + j->panel_count - 1;
    if (j->plan.pack_in_task) return;
    if (j->plan.pack_b) {
        pack.first_panel = j->panel;
        pack.panels = j->panel_count;
    } else if (nacre_panel_is_packed(&j->plan, last)) {
        pack.first_panel = last;
        pack.panels = 1;
    }
    pack.items = j->batches * (pack.panels + pack.tiles);
    if (pack.items == 0) return;
    pack.each =
        nacre_larger(1, TASK_PACKED / nacre_larger(1, j->plan.p.k * j->plan.level->gemm->columns));
    nacre_parallel((size_t)nacre_parts(pack.items, pack.each), pack_task, &pack);
}

/* ---- computing ---- */

/* For the sums of the output's element `at` and below and right of it, in column `column`. */
static nacre_gemm_finish tile_finish(const job *j, int64_t at, int64_t column) {
    return (nacre_gemm_finish){.bias = j->bias ? j->bias + column : NULL,
                               .mask = j->mask ? j->mask + at : NULL,
                               .add = j->add ? j->add + at : NULL,
                               .relu = j->finish.relu};
}

/* The function that follows, over rows x width of finished sums, `row` floats apart. */
static void map_block(const job *j, const float *sums, int64_t row, int64_t at, int rows,
                      int width) {
    for (int r = 0; r < rows; r++, sums += row, at += j->plan.out_row) {
        const float *argument[2];
        for (int i = 0; i < 2; i++)
            argument[i] = j->finish.map_argument[i] ? j->map_input + at : sums;
        j->finish.map((size_t)width, j->mapped + at, argument[0], argument[1], NULL);
    }
}

/* rows x width of sums, `row` floats apart, to the output. */
static void finish_block(const job *j, nacre_group_buffers *buffers, const float *c, int64_t row,
                         int64_t first, int64_t column, int rows, int width) {
    const nacre_gemm_kernels *gemm = j->plan.level->gemm;
    int64_t n = j->plan.out_row, at = first * n + column;
    const nacre_gemm_finish how = tile_finish(j, at, column);
    if (j->finish.program || j->apart) {
        float dense[NACRE_BLOCK];
        gemm->finish(rows, width, c, row, &how, dense, width);
        if (j->finish.program) {
            nacre_group_block(j->group, buffers, at, n, rows, width, dense);
            return;
        }
        map_block(j, dense, width, at, rows, width);
        if (j->mapped != j->out)
            j->plan.level->elementwise->copy_rows(rows, width, dense, width, j->out + at, n);
        return;
    }
    gemm->finish(rows, width, c, row, &how, j->out + at, n);
    if (j->finish.map) map_block(j, j->out + at, n, at, rows, width);
}

/* One panel as its tiles read it. */
typedef struct panel_view {
    nacre_gemm_tile *multiply;
    const float *b;
    int64_t b_row, column;
    int columns, width;
    bool direct; /* tiles go straight to the output */
} panel_view;

static panel_view view_panel(const job *j, int64_t batch, int64_t panel) {
    const nacre_gemm_kernels *gemm = j->plan.level->gemm;
    const nacre_product *p = &j->plan.p;
    panel_view v = {.column = panel * gemm->columns,
                    .columns = nacre_panel_columns(&j->plan, panel),
                    .width = nacre_panel_width(&j->plan, panel)};
    bool adjacent = j->plan.pack_a || p->a_k != 1, packed = nacre_panel_is_packed(&j->plan, panel);
    v.b = packed ? packed_panel(j, batch, panel) : j->b + nacre_product_b(p, batch) + v.column;
    v.b_row = packed ? v.columns : p->b_k;
    if (v.columns == gemm->narrow)
        v.multiply = adjacent ? gemm->adjacent_narrow : gemm->strided_narrow;
    else
        v.multiply = adjacent ? gemm->adjacent : gemm->strided;
    v.direct = !j->finish.program && !j->apart && v.width == v.columns && !j->plan.turned;
    return v;
}

static void compute_tile(const job *j, nacre_group_buffers *buffers, const panel_view *v,
                         int64_t batch, const float *a_batch, int64_t tile) {
    const nacre_product *p = &j->plan.p;
    int64_t first = nacre_tile_first(&j->plan, tile), row = batch * p->m + first;
    int rows = nacre_tile_height(&j->plan, tile);
    const float *a = j->plan.pack_a ? packed_tile(j, batch, tile) : a_batch + first * p->a_row;
    int64_t a_step = j->plan.pack_a ? j->plan.tile_pitch : p->a_k != 1 ? p->a_k : p->a_row;
    if (v->direct) {
        int64_t at = row * p->n + v->column;
        const nacre_gemm_finish how = tile_finish(j, at, v->column);
        v->multiply(rows, p->k, a, a_step, v->b, v->b_row, j->out + at, p->n, &how);
        if (j->finish.map) map_block(j, j->out + at, p->n, at, rows, v->width);
        return;
    }
    float c[NACRE_GEMM_MAX_ROWS * NACRE_GEMM_MAX_COLUMNS];
    v->multiply(rows, p->k, a, a_step, v->b, v->b_row, c, v->columns, NULL);
    if (!j->plan.turned) {
        finish_block(j, buffers, c, v->columns, row, v->column, rows, v->width);
        return;
    }
    float turned[NACRE_GEMM_MAX_COLUMNS * TILE_PITCH];
    j->plan.level->pack->panel(v->columns, rows, (int)j->plan.tile_pitch, c, 1, v->columns, turned);
    finish_block(j, buffers, turned, j->plan.tile_pitch, batch * p->n + v->column, first, v->width,
                 rows);
}

/* Where part i of `parts` begins; part `parts` begins at the end. */
static int64_t part_first(int64_t count, int64_t parts, int64_t i) { return count * i / parts; }

static int64_t panel_parts(const job *j) {
    return nacre_parts(j->panel_count, j->plan.task_panels);
}

/* Tasks of a round in order: batch, sweep, panels, tiles of the sweep. Of a turned product the tiles are the
   weights': neighbouring tasks, which one thread takes, share them, and it has them in its cache. */
static void compute_task(void *context, size_t index) {
    const job *j = context;
    nacre_group_buffers buffers;
    if (j->finish.program) nacre_group_scalars(j->group, &buffers);
    int64_t i = (int64_t)index, part, panel_part;
    if (j->plan.turned) {
        panel_part = i % panel_parts(j);
        i /= panel_parts(j);
        part = i % j->plan.parts;
        i /= j->plan.parts;
    } else {
        part = i % j->plan.parts;
        i /= j->plan.parts;
        panel_part = i % panel_parts(j);
        i /= panel_parts(j);
    }
    int64_t sweep = i % j->plan.sweeps, batch = j->batch + i / j->plan.sweeps;

    int64_t first = part_first(j->plan.tiles, j->plan.sweeps, sweep);
    int64_t tiles = part_first(j->plan.tiles, j->plan.sweeps, sweep + 1) - first;
    int64_t end = first + part_first(tiles, j->plan.parts, part + 1);
    first += part_first(tiles, j->plan.parts, part);
    int64_t panel = j->panel + part_first(j->panel_count, panel_parts(j), panel_part);
    int64_t last = j->panel + part_first(j->panel_count, panel_parts(j), panel_part + 1);
    const float *a = j->a + nacre_product_a(&j->plan.p, batch);
    for (; panel < last; panel++) {
        if (j->plan.pack_in_task) pack_panel(j, batch, panel);
        panel_view view = view_panel(j, batch, panel);
        for (int64_t t = first; t < end; t++) compute_tile(j, &buffers, &view, batch, a, t);
    }
}

static void run_rounds(job *j) {
    for (j->batch = 0; j->batch < j->plan.p.batches; j->batch += j->plan.round_batches) {
        j->batches = nacre_smaller(j->plan.round_batches, j->plan.p.batches - j->batch);
        for (j->panel = 0; j->panel < j->plan.panels; j->panel += j->plan.round_panels) {
            j->panel_count = nacre_smaller(j->plan.round_panels, j->plan.panels - j->panel);
            if (!j->plan.kept) pack_round(j);
            int64_t tasks = j->batches * j->plan.sweeps * panel_parts(j) * j->plan.parts;
            nacre_parallel((size_t)tasks, compute_task, j);
        }
    }
}

/* ---- thin products: a task is a run of columns, B as it lies or kept panels ---- */

enum { THIN_COLUMNS = 64, THIN_PANELS = 4 };

static void thin_task(void *context, size_t index) {
    const job *j = context;
    const nacre_product *p = &j->plan.p;
    nacre_group_buffers buffers;
    if (j->finish.program) nacre_group_scalars(j->group, &buffers);
    int64_t parts = nacre_parts(p->n, THIN_COLUMNS);
    int64_t batch = (int64_t)index / parts, column = (int64_t)index % parts * THIN_COLUMNS;
    int64_t width = nacre_smaller(THIN_COLUMNS, p->n - column);
    const float *a = j->a + nacre_product_a(p, batch);
    const float *b = j->b + nacre_product_b(p, batch) + column * p->b_column;
    float c[NACRE_BLOCK];
    j->plan.level->pack->thin((int)p->m, width, p->k, a, p->a_row, b, p->b_column, c, THIN_COLUMNS);
    finish_block(j, &buffers, c, THIN_COLUMNS, batch * p->m, column, (int)p->m, (int)width);
}

static void thin_panels_task(void *context, size_t index) {
    const job *j = context;
    const nacre_product *p = &j->plan.p;
    nacre_group_buffers buffers;
    if (j->finish.program) nacre_group_scalars(j->group, &buffers);
    int64_t first = (int64_t)index * THIN_PANELS, column = first * j->plan.level->gemm->columns;
    int panels = (int)nacre_smaller(THIN_PANELS, j->plan.panels - first);
    int64_t last = first + panels - 1;
    int columns = (panels - 1) * j->plan.level->gemm->columns + nacre_panel_columns(&j->plan, last);
    float c[NACRE_BLOCK];
    j->plan.level->gemm->thin((int)p->m, columns, p->k, j->a, p->a_row, packed_panel(j, 0, first),
                              c, columns);
    finish_block(j, &buffers, c, columns, 0, column, (int)p->m,
                 (int)nacre_smaller(columns, p->n - column));
}

/* ---- a run ---- */

/* The arrays of the run at hand. */
static void point(job *j, const nacre_plan_op *step, void *scratch) {
    j->a = step->in[j->plan.turned ? 1 : 0].data;
    j->b = step->in[j->plan.turned ? 0 : 1].data;
    const nacre_product_finish *f = &j->finish;
    j->bias = f->bias_input < 0 ? NULL : step->in[f->bias_input].data;
    j->mask = f->mask_input < 0 ? NULL : step->in[f->mask_input].data;
    j->add = f->add_input < 0 ? NULL : step->in[f->add_input].data;
    j->map_input = f->map_input < 0 ? NULL : step->in[f->map_input].data;
    j->out = step->out[f->out].data;
    j->mapped = step->out[f->mapped].data;
    j->apart = f->map_input >= 0 && j->map_input == j->out;
    if (j->plan.kept) return;
    j->packed_a = scratch;
    j->packed_b = j->packed_a + j->plan.a_floats * j->plan.round_batches;
}

/* What a step knows from one run to the next. */
typedef struct products {
    job each_time, kept; /* packs as it goes; finds B's panels with its storage */
} products;

size_t nacre_product_state_f32(void) { return sizeof(products); }

/* The panels of B from its storage, made where they are due; NULL: there are none. */
static float *kept_panels(job *j, const nacre_plan_op *step) {
    const nacre_product *p = &j->plan.p;
    const nacre_array *b = &step->in[1];
    int64_t offset = (const unsigned char *)b->data - step->keeper->data;
    const nacre_form_key key = {{NACRE_FORM_PANELS, step->variant & NACRE_VARIANT_LEVEL, p->n, p->k,
                                 p->b_k, p->b_column, offset}};
    bool fill;
    j->packed_b =
        nacre_storage_form(step->keeper, &key, (size_t)j->plan.b_floats * sizeof(float), &fill);
    if (!fill) return j->packed_b;
    j->b = b->data;
    j->batch = j->panel = 0;
    j->batches = 1;
    j->panel_count = j->plan.panels;
    pack_round(j);
    nacre_storage_form_filled(step->keeper);
    return j->packed_b;
}

static void run(job *j, const nacre_plan_op *step, void *scratch) {
    point(j, step, scratch);
    nacre_group group;
    if (j->finish.program) {
        nacre_group_begin(&group, step);
        j->group = &group;
    }
    if (j->plan.thin && j->plan.kept)
        nacre_parallel((size_t)nacre_parts(j->plan.panels, THIN_PANELS), thin_panels_task, j);
    else if (j->plan.thin)
        nacre_parallel((size_t)(j->plan.p.batches * nacre_parts(j->plan.p.n, THIN_COLUMNS)),
                       thin_task, j);
    else
        run_rounds(j);
    j->group = NULL; /* lived here */
}

void nacre_product_plan_f32(const nacre_plan_op *step, void *state) {
    products *all = state;
    all->each_time =
        (job){.plan = nacre_product_plan_of(step), .finish = nacre_product_finish_of(step)};
    if (!step->keeps) return; /* such as every step of training */
    all->kept = (job){.plan = nacre_product_plan_kept(step), .finish = all->each_time.finish};
}

void nacre_product_run_f32(const nacre_plan_op *step, void *scratch) {
    products own = {0}, *all = step->state ? step->state : &own;
    if (!all->each_time.plan.level) nacre_product_plan_f32(step, all);
    const nacre_product *p = &all->each_time.plan.p;
    if (p->m == 0 || p->n == 0 || p->batches == 0) return;
    bool kept = step->keeper && kept_panels(&all->kept, step);
    run(kept ? &all->kept : &all->each_time, step, scratch);
}
