/* The rules by which f32 products are packed and cut into tasks. They look at shapes and strides alone, and every
   plan has the same bits. Sizes and costs are from measurements on Zen 5 (caches of 48 KiB, 1 MiB and 32 MiB);
   `nacre tune` finds what suits another machine better. */
#include "backend/cpu/product_plan.h"

#include "backend/cpu/tuning.h"

#include <stdio.h>

/* ---- straight or turned ---- */

/* Are products with these rows and columns read without packing? */
static bool is_thin(const nacre_product *p) {
    return p->m <= NACRE_THIN_ROWS && p->b_k == 1 && p->a_k == 1;
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

static void choose_way(nacre_product_plan *plan, const nacre_product *straight, nacre_way way) {
    const nacre_gemm_kernels *gemm = plan->level->gemm;
    bool rule = way == NACRE_WAY_RULE;
    if (plan->kept)
        plan->thin = straight->m <= NACRE_THIN_ROWS && straight->a_k == 1;
    else
        plan->thin = rule && is_thin(straight);
    if (!plan->kept && !plan->thin)
        plan->turned = rule ? turns(gemm, straight) : way == NACRE_WAY_TURNED;
    plan->p = plan->turned ? turn(straight) : *straight;
}

/* ---- tiles, panels and what of them is packed ---- */

/* Packed operands of one round stay in the caches that threads share. */
#define ROUND_BYTES ((int64_t)4 << 20)
/* Rows that lie as tiles read them are packed nevertheless where they fall on few cache sets and are read often: B's
   rows by many tiles, A's under many panels. A's whole tile would need one set; then B stays as it lies, unless it is
   so large that its rows' pages are too many besides. 1024 x 1024 x 1024 lost its tiles of A to one set, and with
   2048 x 2048 x 2048 the rows of B took half the time, while a few hundred rows of A do not pay for packing B. */
#define COLLIDING_B 512
#define COLLIDING_B_DEPTH 64
#define COLLIDING_B_ROWS 768
#define COLLIDING_A 1024
#define COLLIDING_A_DEPTH 256
#define COLLIDING_A_PANELS 16

static void cut(nacre_product_plan *plan) {
    const nacre_gemm_kernels *gemm = plan->level->gemm;
    const nacre_product *p = &plan->p;
    plan->tiles = nacre_larger(1, nacre_parts(p->m, gemm->rows));
    plan->tile_rows = p->m / plan->tiles;
    plan->tall_tiles = p->m % plan->tiles;
    plan->tile_pitch = nacre_parts(gemm->rows, gemm->narrow) * gemm->narrow;
    plan->panels = nacre_parts(p->n, gemm->columns);
}

/* Beside kept panels A stays as it lies: there is no scratch for it. */
static void choose_packing(nacre_product_plan *plan, const nacre_product_choice *choice) {
    const nacre_product *p = &plan->p;
    bool large_b = p->n * p->k * (int64_t)sizeof(float) > ROUND_BYTES;
    bool collides_a = !plan->kept && p->a_row % COLLIDING_A == 0 && p->k >= COLLIDING_A_DEPTH &&
                      plan->panels >= COLLIDING_A_PANELS;
    bool collides_b =
        p->b_k % COLLIDING_B == 0 && p->k >= COLLIDING_B_DEPTH && p->m >= COLLIDING_B_ROWS;
    plan->pack_a =
        (p->a_k != 1 && p->a_row != 1) || collides_a || choice->pack_a == NACRE_PACK_A_YES;
    for (int i = 0; i < p->batch_ndim; i++) plan->shared_b &= p->b_batch[i] == 0;
    plan->pack_b = p->b_column != 1 ||
                   (choice->pack_b == NACRE_PACK_B_RULE ? collides_b && (large_b || !plan->pack_a)
                                                        : choice->pack_b != NACRE_PACK_B_NO);
}

static void plan_rounds(nacre_product_plan *plan) {
    const nacre_product *p = &plan->p;
    int64_t panel_floats = p->k * plan->level->gemm->columns;
    bool ragged = plan->panels > 0 && nacre_panel_is_packed(plan, plan->panels - 1);
    int64_t packed_panels = plan->pack_b ? plan->panels : ragged;
    plan->a_floats = plan->pack_a ? plan->tiles * plan->tile_pitch * p->k : 0;
    plan->b_floats = packed_panels * panel_floats;
    int64_t bytes = (plan->a_floats + plan->b_floats) * (int64_t)sizeof(float);
    plan->round_panels = plan->panels;
    plan->round_batches = nacre_smaller(p->batches, nacre_larger(1, ROUND_BYTES / (bytes + 1)));
    if (bytes > ROUND_BYTES && plan->pack_b && !plan->kept) {
        int64_t panel_bytes = panel_floats * (int64_t)sizeof(float) + 1;
        int64_t most = nacre_larger(1, ROUND_BYTES / panel_bytes);
        int64_t rounds = nacre_larger(1, nacre_parts(plan->panels, most));
        plan->round_panels = nacre_parts(plan->panels, rounds);
        plan->b_floats = plan->round_panels * panel_floats;
    }
}

/* ---- tasks ---- */

/* Rows of A under one sweep of panels stay in a core's own cache; where all panels do, few rows at a time leave
   their output in whole lines: 4 % of a training step of gpt, 2 to 4 % of vit's. With fewer than 512 rows mlp's
   step lost 2 % by it on two threads. */
#define SWEEP_BYTES ((int64_t)384 << 10)
#define SHORT_SWEEP_BYTES ((int64_t)32 << 10)
#define SHORT_SWEEP_B ((int64_t)256 << 10)
#define SHORT_SWEEP_ROWS 512
/* Multiply-adds of a task at least: about 1 us. */
#define TASK_WORK ((int64_t)128 << 10)
/* A task of all tiles under a panel: up to this many rows, where the packing that it saves to hand over
   between threads weighs more than what finer tasks would gain (3 to 5 % of a product), and with this many panels
   to share. */
#define WHOLE_ROWS 128
#define WHOLE_PANELS 4

/* Does each task pack the panels that it alone uses? */
static bool packs_in_task(const nacre_product_plan *plan, nacre_pack_b choice) {
    bool can =
        plan->pack_b && !plan->pack_a && !plan->kept && (!plan->shared_b || plan->p.batches == 1);
    if (choice != NACRE_PACK_B_RULE) return can && choice == NACRE_PACK_B_IN_TASK;
    return can && plan->p.m <= WHOLE_ROWS && plan->panels * plan->p.batches >= WHOLE_PANELS;
}

static int64_t sweep_bytes(const nacre_product_plan *plan, const nacre_product_choice *choice) {
    if (choice->sweep) return (int64_t)1 << choice->sweep;
    bool small = plan->p.n * plan->p.k * (int64_t)sizeof(float) <= SHORT_SWEEP_B;
    return small && plan->p.m > SHORT_SWEEP_ROWS ? SHORT_SWEEP_BYTES : SWEEP_BYTES;
}

static void plan_tasks(nacre_product_plan *plan, const nacre_product_choice *choice) {
    int64_t task_work = choice->task ? (int64_t)1 << choice->task : TASK_WORK;
    int64_t rows = nacre_larger(1, nacre_parts(plan->p.m, plan->tiles)),
            depth = nacre_larger(1, plan->p.k);
    int64_t row_bytes = depth * (int64_t)sizeof(float);
    plan->pack_in_task = packs_in_task(plan, choice->pack_b);
    plan->sweeps = plan->pack_in_task
                       ? 1
                       : nacre_parts(plan->tiles, nacre_larger(1, sweep_bytes(plan, choice) /
                                                                      (rows * row_bytes)));
    int64_t tiles = plan->tiles / plan->sweeps, work = rows * plan->level->gemm->columns * depth;
    plan->parts =
        plan->pack_in_task ? 1 : nacre_larger(1, nacre_smaller(tiles, tiles * work / task_work));
    /* An even number of tasks, for the usual even number of threads. */
    if (plan->parts > 1 && plan->parts % 2 && plan->panels % 2)
        plan->parts += plan->parts < tiles ? 1 : -1;
    plan->task_panels = plan->parts > 1 || (plan->pack_in_task && !choice->task)
                            ? 1
                            : nacre_larger(1, task_work / (work * tiles));
}

/* ---- the whole ---- */

/* From shapes and strides, and from the choice: every choice has the same bits. What of it does not suit the
   product is left to the rules. */
static nacre_product_plan plan_product(const nacre_plan_op *step,
                                       const nacre_product_choice *choice, bool kept) {
    const nacre_product straight = nacre_product_of(step);
    nacre_product_plan plan = {
        .level = nacre_cpu_level_of(step), .out_row = straight.n, .kept = kept, .shared_b = true};
    choose_way(&plan, &straight, choice->way);
    cut(&plan);
    choose_packing(&plan, choice);
    plan_rounds(&plan);
    plan_tasks(&plan, choice);
    return plan;
}

nacre_product_plan nacre_product_plan_of(const nacre_plan_op *step) {
    const nacre_product_choice choice = nacre_product_choice_of(step);
    return plan_product(step, &choice, false);
}

nacre_product_plan nacre_product_plan_kept(const nacre_plan_op *step) {
    const nacre_product_choice rules = {0};
    return plan_product(step, &rules, true);
}

/* Where B would be packed by each run, or turned in registers. */
bool nacre_product_keeps_f32(const nacre_plan_op *step) {
    const nacre_product p = nacre_product_of(step);
    return step->constant & NACRE_READS_IN(1) && p.batches == 1 && p.b_column != 1 &&
           (p.a_k == 1 || p.a_row == 1) && p.m > 0 && p.n > 0 && p.k > 0;
}

size_t nacre_product_scratch_f32(const nacre_plan_op *step) {
    const nacre_product_plan plan = nacre_product_plan_of(step);
    if (plan.thin) return 0;
    int64_t floats = plan.a_floats * plan.round_batches;
    floats += plan.b_floats * (plan.shared_b ? 1 : plan.round_batches);
    return (size_t)floats * sizeof(float);
}

nacre_product_layout nacre_product_layout_f32(const nacre_plan_op *step) {
    const nacre_product_plan plan = nacre_product_plan_of(step);
    return (nacre_product_layout){
        .way = plan.thin     ? 0
               : plan.turned ? 2
                             : 1,
        .pack_a = plan.pack_a,
        .pack_b = plan.pack_in_task ? 2 : plan.pack_b,
        .sweeps = plan.sweeps,
        .parts = plan.parts,
        .task_panels = nacre_smaller(plan.task_panels, plan.panels),
    };
}

void nacre_product_describe_f32(const nacre_plan_op *step, char *text, size_t size) {
    const nacre_product_choice choice = nacre_product_choice_of(step);
    const nacre_product_plan plan = nacre_product_plan_of(step);
    nacre_pack_b pack_b = plan.pack_in_task ? NACRE_PACK_B_IN_TASK
                          : plan.pack_b     ? NACRE_PACK_B_BEFORE
                                            : NACRE_PACK_B_NO;
    char task[24] = "", sweep[24] = "";
    if (choice.task) snprintf(task, sizeof task, ", tasks of 2^%d", choice.task);
    if (choice.sweep) snprintf(sweep, sizeof sweep, ", sweeps of 2^%d", choice.sweep);
    if (plan.thin)
        snprintf(text, size, "thin");
    else
        snprintf(text, size, "%s%s%s, %s%s%s%s",
                 nacre_way_names[plan.turned ? NACRE_WAY_TURNED : NACRE_WAY_STRAIGHT],
                 plan.pack_a ? ", " : "", plan.pack_a ? nacre_pack_a_names[NACRE_PACK_A_YES] : "",
                 nacre_pack_b_names[pack_b], task, sweep,
                 nacre_product_is_rule(&choice) ? "" : " (tuned)");
}
