/* f32 products. The rows of A are cut into tiles, the columns of B into panels; a task is a few tiles under a
   few panels, cut by shape alone. What does not lie in memory as tiles read it is packed: by the task that
   uses it where one task uses a whole panel, else beforehand, a round of batches or panels at a time. */
#include "backend/cpu/group.h"
#include "backend/cpu/product.h"
#include "backend/cpu/tuning.h"

#include "base/pool.h"

/* Packed operands of one round stay in the caches that threads share. */
#define ROUND_BYTES ((int64_t)4 << 20)
/* Rows of A under one sweep of panels stay in a core's own cache; where all panels do, few rows at a time leave
   their output in whole lines. */
#define SWEEP_BYTES ((int64_t)384 << 10)
#define SHORT_SWEEP_BYTES ((int64_t)32 << 10)
#define SHORT_SWEEP_B ((int64_t)256 << 10)
#define SHORT_SWEEP_ROWS 512
/* Multiply-adds of a task at least: about 1 us. */
#define TASK_WORK ((int64_t)128 << 10)
/* Elements packed by a task at least. */
#define TASK_PACKED ((int64_t)16 << 10)
/* A task of all tiles under a panel: up to this many rows, where the packing that it saves to hand over
   between threads weighs more than what finer tasks would gain, and with this many panels to share. */
#define WHOLE_ROWS 128
#define WHOLE_PANELS 4
/* Rows that lie as tiles read them are packed nevertheless where they fall on few cache sets and are read often: B's
   rows by many tiles, A's under many panels. A's whole tile would need one set; then B stays as it lies, unless it is
   so large that its rows' pages are too many besides. */
#define COLLIDING_B 512
#define COLLIDING_B_DEPTH 64
#define COLLIDING_B_ROWS 768
#define COLLIDING_A 1024
#define COLLIDING_A_DEPTH 256
#define COLLIDING_A_PANELS 16

/* Rows of a tile, rounded up to whole vectors, at most. */
enum { TILE_PITCH = 16 };

typedef struct job {
    const nacre_cpu_level *level;
    nacre_product p;
    bool kept;       /* B's panels are the storage's own form: see keeps_panels */
    bool thin;       /* so few rows that they share loads of B instead of B sharing theirs */
    bool turned;     /* p computes the transposed output: see turns */
    int64_t out_row; /* floats from one row of the output to the next */
    /* geometry */
    int64_t tiles, panels, tile_pitch; /* tile_pitch: floats per k of a packed tile */
    int64_t tile_rows, tall_tiles;     /* the first tall_tiles have one row more */
    bool pack_a, pack_b, shared_b, pack_in_task;
    int64_t a_floats, b_floats; /* packed, one batch; b: of a whole round's panels */
    int64_t round_batches, round_panels;
    int64_t sweeps, parts, task_panels; /* parts of one sweep: tasks under the same panels */
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

/* ---- geometry ---- */

static int64_t tile_first(const job *j, int64_t tile) {
    return tile * j->tile_rows + nacre_smaller(tile, j->tall_tiles);
}
static int tile_height(const job *j, int64_t tile) {
    return (int)(j->tile_rows + (tile < j->tall_tiles));
}

/* Columns of a panel as packed, and as they are. */
static int panel_columns(const job *j, int64_t panel) {
    const nacre_gemm_kernels *gemm = j->level->gemm;
    return j->p.n - panel * gemm->columns <= gemm->narrow ? gemm->narrow : gemm->columns;
}
static int panel_width(const job *j, int64_t panel) {
    int64_t left = j->p.n - panel * j->level->gemm->columns;
    return (int)nacre_smaller(left, panel_columns(j, panel));
}

static bool panel_is_packed(const job *j, int64_t panel) {
    return j->pack_b || panel_width(j, panel) < panel_columns(j, panel);
}

/* Are products with these rows and columns read without packing? */
static bool is_thin(const nacre_product *p) {
    return p->m <= NACRE_THIN_ROWS && p->b_k == 1 && p->a_k == 1;
}

static void plan_rounds(job *j) {
    const nacre_product *p = &j->p;
    int64_t panel_floats = p->k * j->level->gemm->columns;
    bool ragged = j->panels > 0 && panel_is_packed(j, j->panels - 1);
    int64_t packed_panels = j->pack_b ? j->panels : ragged;
    j->a_floats = j->pack_a ? j->tiles * j->tile_pitch * p->k : 0;
    j->b_floats = packed_panels * panel_floats;
    int64_t bytes = (j->a_floats + j->b_floats) * (int64_t)sizeof(float);
    j->round_panels = j->panels;
    j->round_batches = nacre_smaller(p->batches, nacre_larger(1, ROUND_BYTES / (bytes + 1)));
    if (bytes > ROUND_BYTES && j->pack_b && !j->kept) {
        int64_t panel_bytes = panel_floats * (int64_t)sizeof(float) + 1;
        j->round_panels = nacre_smaller(j->panels, nacre_larger(1, ROUND_BYTES / panel_bytes));
        j->b_floats = j->round_panels * panel_floats;
    }
}

/* Does each task pack the panels that it alone uses? */
static bool packs_in_task(const job *j, nacre_pack_b choice) {
    bool can = j->pack_b && !j->pack_a && !j->kept && (!j->shared_b || j->p.batches == 1);
    if (choice != NACRE_PACK_B_RULE) return can && choice == NACRE_PACK_B_IN_TASK;
    return can && j->p.m <= WHOLE_ROWS && j->panels * j->p.batches >= WHOLE_PANELS;
}

static int64_t sweep_bytes(const job *j, const nacre_product_choice *choice) {
    if (choice->sweep) return (int64_t)1 << choice->sweep;
    bool small = j->p.n * j->p.k * (int64_t)sizeof(float) <= SHORT_SWEEP_B;
    return small && j->p.m > SHORT_SWEEP_ROWS ? SHORT_SWEEP_BYTES : SWEEP_BYTES;
}

static void plan_tasks(job *j, const nacre_product_choice *choice) {
    int64_t task_work = choice->task ? (int64_t)1 << choice->task : TASK_WORK;
    int64_t rows = nacre_larger(1, nacre_parts(j->p.m, j->tiles)), depth = nacre_larger(1, j->p.k);
    int64_t row_bytes = depth * (int64_t)sizeof(float);
    j->pack_in_task = packs_in_task(j, choice->pack_b);
    j->sweeps =
        j->pack_in_task
            ? 1
            : nacre_parts(j->tiles, nacre_larger(1, sweep_bytes(j, choice) / (rows * row_bytes)));
    int64_t tiles = j->tiles / j->sweeps, work = rows * j->level->gemm->columns * depth;
    j->parts =
        j->pack_in_task ? 1 : nacre_larger(1, nacre_smaller(tiles, tiles * work / task_work));
    /* An even number of tasks, for the usual even number of threads. */
    if (j->parts > 1 && j->parts % 2 && j->panels % 2) j->parts += j->parts < tiles ? 1 : -1;
    j->task_panels = j->parts > 1 || (j->pack_in_task && !choice->task)
                         ? 1
                         : nacre_larger(1, task_work / (work * tiles));
}

/* What tiles under n columns take for each row and element of depth, in 32nds of a cycle. Half a panel has one
   multiply-add for each load of A, and waits for the loads. */
static int64_t tile_cost(const nacre_gemm_kernels *gemm, int64_t n) {
    int64_t rest = n % gemm->columns;
    int64_t last = rest == 0 ? 0 : rest <= gemm->narrow ? gemm->narrow * 45 / 32 : gemm->columns;
    return 32 / gemm->columns * (n - rest + last);
}

/* x weight^T has two operands that must be packed or broadcast, and either may be which: the transposed product
   weight x^T has the same bits. It packs x, which in small batches is the smaller one, and turns each tile
   on its way out. Costs in 32nds of a cycle: 9 an element packed, 16 an output turned with vectors of 16, 32 with
   those of 8 (fitted to 390 products on Zen 5; they choose within 1 % of the better way on average). */
static bool turns(const nacre_gemm_kernels *gemm, const nacre_product *p) {
    if (p->a_k != 1 || p->b_k != 1) return false;
    int64_t straight = (9 * p->n + p->m * tile_cost(gemm, p->n)) * p->k;
    int64_t turned = (9 * p->m + p->n * tile_cost(gemm, p->m)) * p->k;
    return turned + 16 * 32 / gemm->columns * p->m * p->n < straight;
}

static nacre_product turn(const nacre_product *p) {
    nacre_product t = *p;
    t.m = p->n;
    t.n = p->m;
    t.a = p->b;
    t.b = p->a;
    t.a_row = p->b_column;
    t.a_k = p->b_k;
    t.b_column = p->a_row;
    t.b_k = p->a_k;
    for (int i = 0; i < p->batch_ndim; i++) {
        t.a_batch[i] = p->b_batch[i];
        t.b_batch[i] = p->a_batch[i];
    }
    return t;
}

/* May the panels of a constant B be kept? Where B would be packed by each run, or turned in registers. */
static bool keeps_panels(const nacre_plan_op *step, const nacre_product *p) {
    return step->constant & NACRE_READS_IN(1) && p->batches == 1 && p->b_column != 1 &&
           (p->a_k == 1 || p->a_row == 1) && p->m > 0 && p->n > 0 && p->k > 0;
}

static void choose_way(job *j, const nacre_product *straight, nacre_way way) {
    const nacre_gemm_kernels *gemm = j->level->gemm;
    bool rule = way == NACRE_WAY_RULE;
    if (j->kept)
        j->thin = straight->m <= NACRE_THIN_ROWS && straight->a_k == 1;
    else
        j->thin = rule && is_thin(straight);
    if (!j->kept && !j->thin) j->turned = rule ? turns(gemm, straight) : way == NACRE_WAY_TURNED;
    j->p = j->turned ? turn(straight) : *straight;
}

/* Beside kept panels A stays as it lies: there is no scratch for it. */
static void choose_packing(job *j, const nacre_product_choice *choice) {
    const nacre_product *p = &j->p;
    bool large_b = p->n * p->k * (int64_t)sizeof(float) > ROUND_BYTES;
    bool collides_a = !j->kept && p->a_row % COLLIDING_A == 0 && p->k >= COLLIDING_A_DEPTH &&
                      j->panels >= COLLIDING_A_PANELS;
    bool collides_b =
        p->b_k % COLLIDING_B == 0 && p->k >= COLLIDING_B_DEPTH && p->m >= COLLIDING_B_ROWS;
    j->pack_a = (p->a_k != 1 && p->a_row != 1) || collides_a || choice->pack_a == NACRE_PACK_A_YES;
    j->pack_b = p->b_column != 1 ||
                (choice->pack_b == NACRE_PACK_B_RULE ? collides_b && (large_b || !j->pack_a)
                                                     : choice->pack_b != NACRE_PACK_B_NO);
}

/* From shapes and strides, and from the choice: every choice has the same bits. What of it does not suit the
   product is left to the rules. */
static void plan(job *j, const nacre_cpu_level *level, const nacre_product *straight,
                 const nacre_product_choice *choice, bool kept) {
    const nacre_gemm_kernels *gemm = level->gemm;
    *j = (job){.level = level, .out_row = straight->n, .kept = kept};
    choose_way(j, straight, choice->way);
    const nacre_product *p = &j->p;
    j->tiles = nacre_larger(1, nacre_parts(p->m, gemm->rows));
    j->tile_rows = p->m / j->tiles;
    j->tall_tiles = p->m % j->tiles;
    j->panels = nacre_parts(p->n, gemm->columns);
    int64_t narrow = gemm->narrow;
    j->tile_pitch = nacre_parts(gemm->rows, narrow) * narrow;
    choose_packing(j, choice);
    j->shared_b = true;
    for (int i = 0; i < p->batch_ndim; i++) j->shared_b &= p->b_batch[i] == 0;
    plan_rounds(j);
    plan_tasks(j, choice);
}

static void plan_step(job *j, const nacre_plan_op *step) {
    nacre_product p = nacre_product_of(step);
    nacre_product_choice choice = nacre_product_choice_of(step);
    plan(j, nacre_cpu_level_of(step), &p, &choice, false);
}

size_t nacre_product_scratch_f32(const nacre_plan_op *step) {
    job j;
    plan_step(&j, step);
    if (j.thin) return 0;
    int64_t floats = j.a_floats * j.round_batches;
    floats += j.b_floats * (j.shared_b ? 1 : j.round_batches);
    return (size_t)floats * sizeof(float);
}

nacre_product_layout nacre_product_layout_f32(const nacre_plan_op *step) {
    job j;
    plan_step(&j, step);
    return (nacre_product_layout){
        .way = j.thin     ? 0
               : j.turned ? 2
                          : 1,
        .pack_a = j.pack_a,
        .pack_b = j.pack_in_task ? 2 : j.pack_b,
        .sweeps = j.sweeps,
        .parts = j.parts,
        .task_panels = nacre_smaller(j.task_panels, j.panels),
    };
}

/* ---- packing ---- */

static float *packed_panel(const job *j, int64_t batch, int64_t panel) {
    int64_t slot = j->pack_b ? panel - j->panel : 0;
    int64_t at = j->shared_b ? 0 : batch - j->batch;
    return j->packed_b + at * j->b_floats + slot * j->p.k * j->level->gemm->columns;
}
static float *packed_tile(const job *j, int64_t batch, int64_t tile) {
    return j->packed_a + (batch - j->batch) * j->a_floats + tile * j->tile_pitch * j->p.k;
}

static void pack_panel(const job *j, int64_t batch, int64_t panel) {
    const nacre_product *p = &j->p;
    const float *b = (const float *)p->b + nacre_product_b(p, batch) +
                     panel * j->level->gemm->columns * p->b_column;
    j->level->pack->panel(p->k, panel_width(j, panel), panel_columns(j, panel), b, p->b_k,
                          p->b_column, packed_panel(j, batch, panel));
}
static void pack_tile(const job *j, int64_t batch, int64_t tile) {
    const nacre_product *p = &j->p;
    int64_t first = tile_first(j, tile);
    const float *a = (const float *)p->a + nacre_product_a(p, batch) + first * p->a_row;
    j->level->pack->panel(p->k, tile_height(j, tile), (int)j->tile_pitch, a, p->a_k, p->a_row,
                          packed_tile(j, batch, tile));
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
        else if (!pack->j->shared_b || batch == pack->j->batch)
            pack_panel(pack->j, batch, pack->first_panel + item);
    }
}

static void pack_round(const job *j) {
    pack_job pack = {.j = j, .tiles = j->pack_a ? j->tiles : 0};
    int64_t last = j->panel + j->panel_count - 1;
    if (j->pack_in_task) return;
    if (j->pack_b) {
        pack.first_panel = j->panel;
        pack.panels = j->panel_count;
    } else if (panel_is_packed(j, last)) {
        pack.first_panel = last;
        pack.panels = 1;
    }
    pack.items = j->batches * (pack.panels + pack.tiles);
    if (pack.items == 0) return;
    pack.each = nacre_larger(1, TASK_PACKED / nacre_larger(1, j->p.k * j->level->gemm->columns));
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
    for (int r = 0; r < rows; r++, sums += row, at += j->out_row) {
        const float *argument[2];
        for (int i = 0; i < 2; i++)
            argument[i] = j->finish.map_argument[i] ? j->map_input + at : sums;
        j->finish.map((size_t)width, j->mapped + at, argument[0], argument[1], NULL);
    }
}

/* rows x width of sums, `row` floats apart, to the output. */
static void finish_block(const job *j, nacre_group_buffers *buffers, const float *c, int64_t row,
                         int64_t first, int64_t column, int rows, int width) {
    const nacre_gemm_kernels *gemm = j->level->gemm;
    int64_t n = j->out_row, at = first * n + column;
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
            j->level->elementwise->copy_rows(rows, width, dense, width, j->out + at, n);
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
    const nacre_gemm_kernels *gemm = j->level->gemm;
    const nacre_product *p = &j->p;
    panel_view v = {.column = panel * gemm->columns,
                    .columns = panel_columns(j, panel),
                    .width = panel_width(j, panel)};
    bool adjacent = j->pack_a || p->a_k != 1, packed = panel_is_packed(j, panel);
    v.b = packed ? packed_panel(j, batch, panel)
                 : (const float *)p->b + nacre_product_b(p, batch) + v.column;
    v.b_row = packed ? v.columns : p->b_k;
    if (v.columns == gemm->narrow)
        v.multiply = adjacent ? gemm->adjacent_narrow : gemm->strided_narrow;
    else
        v.multiply = adjacent ? gemm->adjacent : gemm->strided;
    v.direct = !j->finish.program && !j->apart && v.width == v.columns && !j->turned;
    return v;
}

static void compute_tile(const job *j, nacre_group_buffers *buffers, const panel_view *v,
                         int64_t batch, const float *a_batch, int64_t tile) {
    const nacre_product *p = &j->p;
    int64_t first = tile_first(j, tile), row = batch * p->m + first;
    int rows = tile_height(j, tile);
    const float *a = j->pack_a ? packed_tile(j, batch, tile) : a_batch + first * p->a_row;
    int64_t a_step = j->pack_a ? j->tile_pitch : p->a_k != 1 ? p->a_k : p->a_row;
    if (v->direct) {
        int64_t at = row * p->n + v->column;
        const nacre_gemm_finish how = tile_finish(j, at, v->column);
        v->multiply(rows, p->k, a, a_step, v->b, v->b_row, j->out + at, p->n, &how);
        if (j->finish.map) map_block(j, j->out + at, p->n, at, rows, v->width);
        return;
    }
    float c[NACRE_GEMM_MAX_ROWS * NACRE_GEMM_MAX_COLUMNS];
    v->multiply(rows, p->k, a, a_step, v->b, v->b_row, c, v->columns, NULL);
    if (!j->turned) {
        finish_block(j, buffers, c, v->columns, row, v->column, rows, v->width);
        return;
    }
    float turned[NACRE_GEMM_MAX_COLUMNS * TILE_PITCH];
    j->level->pack->panel(v->columns, rows, (int)j->tile_pitch, c, 1, v->columns, turned);
    finish_block(j, buffers, turned, j->tile_pitch, batch * p->n + v->column, first, v->width,
                 rows);
}

/* Where part i of `parts` begins; part `parts` begins at the end. */
static int64_t part_first(int64_t count, int64_t parts, int64_t i) { return count * i / parts; }

static int64_t panel_parts(const job *j) { return nacre_parts(j->panel_count, j->task_panels); }

/* Tasks of a round in order: batch, sweep, panels, tiles of the sweep. */
static void compute_task(void *context, size_t index) {
    const job *j = context;
    nacre_group_buffers buffers;
    if (j->finish.program) nacre_group_scalars(j->group, &buffers);
    int64_t i = (int64_t)index, part, panel_part;
    if (j->turned) {
        panel_part = i % panel_parts(j);
        i /= panel_parts(j);
        part = i % j->parts;
        i /= j->parts;
    } else {
        part = i % j->parts;
        i /= j->parts;
        panel_part = i % panel_parts(j);
        i /= panel_parts(j);
    }
    int64_t sweep = i % j->sweeps, batch = j->batch + i / j->sweeps;

    int64_t first = part_first(j->tiles, j->sweeps, sweep);
    int64_t tiles = part_first(j->tiles, j->sweeps, sweep + 1) - first;
    int64_t end = first + part_first(tiles, j->parts, part + 1);
    first += part_first(tiles, j->parts, part);
    int64_t panel = j->panel + part_first(j->panel_count, panel_parts(j), panel_part);
    int64_t last = j->panel + part_first(j->panel_count, panel_parts(j), panel_part + 1);
    const float *a = (const float *)j->p.a + nacre_product_a(&j->p, batch);
    for (; panel < last; panel++) {
        if (j->pack_in_task) pack_panel(j, batch, panel);
        panel_view view = view_panel(j, batch, panel);
        for (int64_t t = first; t < end; t++) compute_tile(j, &buffers, &view, batch, a, t);
    }
}

static void run_rounds(job *j) {
    for (j->batch = 0; j->batch < j->p.batches; j->batch += j->round_batches) {
        j->batches = nacre_smaller(j->round_batches, j->p.batches - j->batch);
        for (j->panel = 0; j->panel < j->panels; j->panel += j->round_panels) {
            j->panel_count = nacre_smaller(j->round_panels, j->panels - j->panel);
            if (!j->kept) pack_round(j);
            int64_t tasks = j->batches * j->sweeps * panel_parts(j) * j->parts;
            nacre_parallel((size_t)tasks, compute_task, j);
        }
    }
}

/* ---- thin products: a task is a run of columns, B as it lies or kept panels ---- */

enum { THIN_COLUMNS = 64, THIN_PANELS = 4 };

static void thin_task(void *context, size_t index) {
    const job *j = context;
    const nacre_product *p = &j->p;
    nacre_group_buffers buffers;
    if (j->finish.program) nacre_group_scalars(j->group, &buffers);
    int64_t parts = nacre_parts(p->n, THIN_COLUMNS);
    int64_t batch = (int64_t)index / parts, column = (int64_t)index % parts * THIN_COLUMNS;
    int64_t width = nacre_smaller(THIN_COLUMNS, p->n - column);
    const float *a = (const float *)p->a + nacre_product_a(p, batch);
    const float *b = (const float *)p->b + nacre_product_b(p, batch) + column * p->b_column;
    float c[NACRE_BLOCK];
    j->level->pack->thin((int)p->m, width, p->k, a, p->a_row, b, p->b_column, c, THIN_COLUMNS);
    finish_block(j, &buffers, c, THIN_COLUMNS, batch * p->m, column, (int)p->m, (int)width);
}

static void thin_panels_task(void *context, size_t index) {
    const job *j = context;
    const nacre_product *p = &j->p;
    nacre_group_buffers buffers;
    if (j->finish.program) nacre_group_scalars(j->group, &buffers);
    int64_t first = (int64_t)index * THIN_PANELS, column = first * j->level->gemm->columns;
    int panels = (int)nacre_smaller(THIN_PANELS, j->panels - first);
    int64_t last = first + panels - 1;
    int columns = (panels - 1) * j->level->gemm->columns + panel_columns(j, last);
    float c[NACRE_BLOCK];
    j->level->gemm->thin((int)p->m, columns, p->k, p->a, p->a_row, packed_panel(j, 0, first), c,
                         columns);
    finish_block(j, &buffers, c, columns, 0, column, (int)p->m,
                 (int)nacre_smaller(columns, p->n - column));
}

/* ---- a run ---- */

/* The arrays of the run at hand. */
static void point(job *j, const nacre_plan_op *step, void *scratch) {
    j->p.a = step->in[j->turned ? 1 : 0].data;
    j->p.b = step->in[j->turned ? 0 : 1].data;
    const nacre_product_finish *f = &j->finish;
    j->bias = f->bias_input < 0 ? NULL : step->in[f->bias_input].data;
    j->mask = f->mask_input < 0 ? NULL : step->in[f->mask_input].data;
    j->add = f->add_input < 0 ? NULL : step->in[f->add_input].data;
    j->map_input = f->map_input < 0 ? NULL : step->in[f->map_input].data;
    j->out = step->out[f->out].data;
    j->mapped = step->out[f->mapped].data;
    j->apart = f->map_input >= 0 && j->map_input == j->out;
    if (j->kept) return;
    j->packed_a = scratch;
    j->packed_b = j->packed_a + j->a_floats * j->round_batches;
}

/* What a step knows from one run to the next. */
typedef struct products {
    job each_time, kept; /* packs as it goes; finds B's panels with its storage */
} products;

size_t nacre_product_state_f32(void) { return sizeof(products); }

bool nacre_product_keeps_f32(const nacre_plan_op *step) {
    nacre_product p = nacre_product_of(step);
    return keeps_panels(step, &p);
}

/* The panels of B from its storage, made where they are due; NULL: there are none. */
static float *kept_panels(job *j, const nacre_plan_op *step) {
    const nacre_product *p = &j->p;
    const nacre_array *b = &step->in[1];
    int64_t offset = (const unsigned char *)b->data - step->keeper->data;
    const nacre_form_key key = {{NACRE_FORM_PANELS, step->variant & NACRE_VARIANT_LEVEL, p->n, p->k,
                                 p->b_k, p->b_column, offset}};
    bool fill;
    j->packed_b =
        nacre_storage_form(step->keeper, &key, (size_t)j->b_floats * sizeof(float), &fill);
    if (!fill) return j->packed_b;
    j->p.b = b->data;
    j->batch = j->panel = 0;
    j->batches = 1;
    j->panel_count = j->panels;
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
    if (j->thin && j->kept)
        nacre_parallel((size_t)nacre_parts(j->panels, THIN_PANELS), thin_panels_task, j);
    else if (j->thin)
        nacre_parallel((size_t)(j->p.batches * nacre_parts(j->p.n, THIN_COLUMNS)), thin_task, j);
    else
        run_rounds(j);
    j->group = NULL; /* lived here */
}

void nacre_product_plan_f32(const nacre_plan_op *step, void *state) {
    products *all = state;
    const nacre_product p = nacre_product_of(step);
    const nacre_product_choice rules = {0}; /* a table's choices are about packing as it goes */
    plan_step(&all->each_time, step);
    all->each_time.finish = nacre_product_finish_of(step);
    if (!step->keeps) return; /* such as every step of training */
    plan(&all->kept, nacre_cpu_level_of(step), &p, &rules, true);
    all->kept.finish = all->each_time.finish;
}

void nacre_product_run_f32(const nacre_plan_op *step, void *scratch) {
    products own = {0}, *all = step->state ? step->state : &own;
    if (!all->each_time.level) nacre_product_plan_f32(step, all);
    const nacre_product *p = &all->each_time.p;
    if (p->m == 0 || p->n == 0 || p->batches == 0) return;
    bool kept = step->keeper && kept_panels(&all->kept, step);
    run(kept ? &all->kept : &all->each_time, step, scratch);
}
