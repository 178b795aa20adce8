/* rand of f32; every task starts at its own block of the stream. */
#include "backend/cpu/cpu.h"

#include "base/pool.h"
#include "base/random.h"
#include "ops/attrs.h"

/* A multiple of the elements of a block, some microseconds. */
enum { TASK_ELEMENTS = 8 << 10 };

typedef struct draw_job {
    const nacre_cpu_level *level;
    nacre_philox_start start;
    float *out;
    int64_t count;
} draw_job;

static void draw_task(void *context, size_t index) {
    const draw_job *j = context;
    int64_t first = (int64_t)index * TASK_ELEMENTS;
    j->level->random->uniform(nacre_smaller(TASK_ELEMENTS, j->count - first), j->start.key,
                              j->start.high, (uint64_t)first / 4, j->out + first);
}

static void run_rand(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    draw_job j = {.level = nacre_cpu_level_of(step),
                  .start = nacre_random_start((uint64_t)step->attrs[NACRE_RAND_SEED].i,
                                              (uint64_t)step->attrs[NACRE_RAND_STREAM].i,
                                              (uint64_t)step->attrs[NACRE_RAND_DRAW].i),
                  .out = step->out[0].data,
                  .count = nacre_shape_numel(&step->out[0].shape)};
    nacre_parallel((size_t)nacre_parts(j.count, TASK_ELEMENTS), draw_task, &j);
}

bool nacre_cpu_prepare_rand(nacre_plan_op *step) {
    if (step->out[0].dtype != NACRE_F32) return nacre_cpu_use_reference(step);
    return nacre_cpu_use(step, run_rand, 0, "philox");
}
