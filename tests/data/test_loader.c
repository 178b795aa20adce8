/* Loaders: every sample once per epoch, in an order that seed and epoch decide, in memory that is
   reused; errors of a reader arrive; stopping anywhere is clean. */
#include <nacre/data.h>
#include <nacre/ops.h>
#include <nacre/system.h>

#include "data/batches.h"
#include "support.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ---- a set whose sample i is [i, -i] with target i, and which fails where told ---- */

typedef struct numbers {
    int64_t fail_at; /* sample; -1: none */
    bool silent;     /* fail without setting the last error */
    atomic_int reads;
} numbers;

static nacre_status read_numbers(void *user, const int64_t *indices, int64_t n, void *inputs,
                                 void *targets) {
    numbers *set = user;
    float *in = inputs;
    int64_t *out = targets;
    atomic_fetch_add(&set->reads, 1);
    for (int64_t i = 0; i < n; i++) {
        if (indices[i] == set->fail_at) {
            float value;
            if (!set->silent) return nacre_dataset_read(NULL, NULL, 0, &value, &value);
            return NACRE_IO_ERROR;
        }
        in[2 * i] = (float)indices[i];
        in[2 * i + 1] = -(float)indices[i];
        out[i] = indices[i];
    }
    return NACRE_OK;
}

static nacre_dataset *numbers_set(numbers *user, int64_t count) {
    *user = (numbers){.fail_at = -1};
    nacre_dataset *set =
        nacre_dataset_create(.count = count, .input_shape = {1, {2}}, .read = read_numbers,
                             .user = user, .name = "numbers");
    assert_non_null(set);
    return set;
}

static nacre_loader *loader_of(const nacre_dataset *set, int64_t batch, int prefetch) {
    nacre_loader *loader = nacre_loader_create(set, .batch_size = batch, .shuffle = true, .seed = 5,
                                               .prefetch = prefetch);
    if (!loader) fail_msg("%s", nacre_error_message());
    return loader;
}

/* Reads the rest of an epoch: the samples in their order. Returns how many. */
static int64_t drain(nacre_loader *loader, int64_t first, int64_t *samples) {
    nacre_batch batch;
    nacre_status status;
    int64_t n = 0, index = first;
    while (nacre_loader_next(loader, &batch, &status)) {
        assert_int_equal(status, NACRE_OK);
        assert_int_equal(batch.index, index++);
        assert_int_equal(nacre_size(batch.inputs, 0), batch.count);
        assert_int_equal(nacre_size(batch.inputs, 1), 2);
        assert_int_equal(nacre_ndim(batch.targets), 1);
        const float *in = nacre_data(batch.inputs);
        const int64_t *out = nacre_data(batch.targets);
        for (int64_t i = 0; i < batch.count; i++) {
            assert_true(in[2 * i] == (float)out[i] && in[2 * i + 1] == -(float)out[i]);
            samples[n++] = out[i];
        }
    }
    assert_int_equal(status, NACRE_OK);
    return n;
}

/* ---- order ---- */

static void every_epoch_holds_every_sample_once_in_an_order_of_its_own(void **state) {
    (void)state;
    enum { COUNT = 101 };
    numbers user;
    nacre_dataset *set = numbers_set(&user, COUNT);
    int64_t samples[3][COUNT];
    for (int prefetch = 0; prefetch < 4; prefetch++) {
        nacre_loader *loader = loader_of(set, 8, prefetch);
        assert_int_equal(nacre_loader_batches(loader), 13);
        for (int epoch = 0; epoch < 3; epoch++) {
            int seen[COUNT] = {0};
            assert_int_equal(nacre_loader_start(loader, epoch, 0), NACRE_OK);
            assert_int_equal(drain(loader, 0, samples[epoch]), COUNT);
            for (int i = 0; i < COUNT; i++) seen[samples[epoch][i]]++;
            for (int i = 0; i < COUNT; i++) assert_int_equal(seen[i], 1);
        }
        assert_memory_not_equal(samples[0], samples[1], sizeof samples[0]);
        assert_memory_not_equal(samples[1], samples[2], sizeof samples[0]);
        nacre_loader_free(loader);
    }
    nacre_dataset_free(set);
}

static void the_order_does_not_depend_on_batch_size_or_reading_ahead(void **state) {
    (void)state;
    enum { COUNT = 50 };
    numbers user;
    nacre_dataset *set = numbers_set(&user, COUNT);
    int64_t expected[COUNT], samples[COUNT];
    nacre_shuffled_order(expected, COUNT, 5, 3);
    for (int64_t batch = 1; batch < 60; batch += 7) {
        for (int prefetch = 0; prefetch < 3; prefetch++) {
            nacre_loader *loader = loader_of(set, batch, prefetch);
            assert_int_equal(nacre_loader_start(loader, 3, 0), NACRE_OK);
            assert_int_equal(drain(loader, 0, samples), COUNT);
            assert_memory_equal(samples, expected, sizeof samples);
            nacre_loader_free(loader);
        }
    }
    nacre_dataset_free(set);
}

static void a_resumed_epoch_goes_on_with_the_same_batches(void **state) {
    (void)state;
    enum { COUNT = 47, BATCH = 5 };
    numbers user;
    nacre_dataset *set = numbers_set(&user, COUNT);
    int64_t expected[COUNT], samples[COUNT];
    nacre_shuffled_order(expected, COUNT, 5, 2);
    for (int prefetch = 0; prefetch < 3; prefetch += 2) {
        for (int64_t first = 0; first <= 10; first++) {
            nacre_loader *loader = loader_of(set, BATCH, prefetch);
            assert_int_equal(nacre_loader_start(loader, 2, first), NACRE_OK);
            int64_t left = COUNT - first * BATCH < 0 ? 0 : COUNT - first * BATCH;
            assert_int_equal(drain(loader, first, samples), left);
            assert_memory_equal(samples, expected + (COUNT - left), (size_t)left * sizeof *samples);
            nacre_loader_free(loader);
        }
    }
    nacre_dataset_free(set);
}

/* Of all 24 orders of four samples each comes up about as often: chi-squared, 23 degrees of freedom. */
static void shuffling_favours_no_order(void **state) {
    (void)state;
    enum { DRAWS = 24000 };
    static int count[256];
    for (int epoch = 0; epoch < DRAWS; epoch++) {
        int64_t order[4];
        nacre_shuffled_order(order, 4, 1, epoch);
        count[order[0] << 6 | order[1] << 4 | order[2] << 2 | order[3]]++;
    }
    double chi = 0;
    int kinds = 0;
    for (int i = 0; i < 256; i++) {
        kinds += count[i] > 0;
        if (count[i] > 0) chi += pow(count[i] - DRAWS / 24.0, 2) / (DRAWS / 24.0);
    }
    assert_int_equal(kinds, 24);
    assert_true(chi < 49.7); /* exceeded once in a thousand */
}

static void without_shuffling_the_set_comes_in_order(void **state) {
    (void)state;
    numbers user;
    nacre_dataset *set = numbers_set(&user, 10);
    nacre_loader *loader = nacre_loader_create(set, .batch_size = 4);
    int64_t samples[10];
    for (int epoch = 0; epoch < 2; epoch++) {
        nacre_loader_start(loader, epoch, 0);
        assert_int_equal(drain(loader, 0, samples), 10);
        for (int i = 0; i < 10; i++) assert_int_equal(samples[i], i);
    }
    nacre_loader_free(loader);
    nacre_dataset_free(set);
}

/* ---- sizes ---- */

static void the_last_smaller_batch_comes_unless_it_is_dropped(void **state) {
    (void)state;
    static const struct {
        int64_t count, batch;
        bool drop;
        int64_t batches, last;
    } cases[] = {{10, 4, false, 3, 2}, {10, 4, true, 2, 4},        {8, 4, false, 2, 4},
                 {8, 4, true, 2, 4},   {1, 1, false, 1, 1},        {1, 64, true, 1, 1},
                 {5, 7, false, 1, 5},  {5, 7, true, 1, 5},         {5, 1, false, 5, 1},
                 {9, 5, false, 2, 4},  {3, INT64_MAX, false, 1, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int prefetch = 0; prefetch < 6; prefetch += 5) {
            numbers user;
            nacre_dataset *set = numbers_set(&user, cases[i].count);
            nacre_loader *loader =
                nacre_loader_create(set, .batch_size = cases[i].batch, .drop_last = cases[i].drop,
                                    .prefetch = prefetch);
            assert_int_equal(nacre_loader_batches(loader), cases[i].batches);
            nacre_batch batch;
            nacre_status status;
            nacre_loader_start(loader, 0, 0);
            for (int64_t k = 0; k < cases[i].batches; k++)
                assert_true(nacre_loader_next(loader, &batch, &status));
            assert_int_equal(batch.count, cases[i].last);
            assert_int_equal(nacre_size(batch.targets, 0), cases[i].last);
            assert_false(nacre_loader_next(loader, &batch, &status));
            assert_false(nacre_loader_next(loader, &batch, NULL)); /* and stays at the end */
            assert_int_equal(status, NACRE_OK);
            assert_null(batch.inputs);
            nacre_loader_free(loader);
            nacre_dataset_free(set);
        }
    }
}

/* ---- memory ---- */

static void a_batch_stays_valid_while_the_next_one_is_used(void **state) {
    (void)state;
    numbers user;
    nacre_dataset *set = numbers_set(&user, 10);
    nacre_loader *loader = nacre_loader_create(set, .batch_size = 3, .prefetch = 2);
    nacre_batch before, batch;
    nacre_loader_start(loader, 0, 0);
    assert_true(nacre_loader_next(loader, &before, NULL));
    while (nacre_loader_next(loader, &batch, NULL)) {
        assert_true(((const int64_t *)nacre_data(before.targets))[0] == before.index * 3);
        assert_true(((const int64_t *)nacre_data(batch.targets))[0] == batch.index * 3);
        before = batch;
    }
    nacre_loader_free(loader);
    nacre_dataset_free(set);
}

/* Also the smaller last batch, which comes once an epoch, and also where epochs are begun anew while the thread
   reads. */
static void a_batch_stays_valid_over_starts(void **state) {
    (void)state;
    enum { COUNT = 11, BATCH = 4 };
    numbers user;
    nacre_dataset *set = numbers_set(&user, COUNT);
    for (int prefetch = 0; prefetch < 4; prefetch++) {
        nacre_loader *loader = loader_of(set, BATCH, prefetch);
        int64_t before[COUNT], order[COUNT];
        nacre_batch last = {0}, batch;
        for (int epoch = 0; epoch < 60; epoch++) {
            const int64_t first = epoch % 5 == 4 ? 1 : 2;
            assert_int_equal(nacre_loader_start(loader, epoch, first), NACRE_OK);
            assert_true(nacre_loader_next(loader, &batch, NULL));
            nacre_shuffled_order(order, COUNT, 5, epoch);
            if (last.targets)
                assert_memory_equal(nacre_data(last.targets), before + last.index * BATCH,
                                    (size_t)last.count * sizeof *before);
            assert_memory_equal(nacre_data(batch.targets), order + first * BATCH,
                                (size_t)batch.count * sizeof *order);
            memcpy(before, order, sizeof before);
            last = batch;
        }
        nacre_loader_free(loader);
    }
    nacre_dataset_free(set);
}

/* What was recorded on a batch and is computed only after its memory was wanted again. */
static void what_was_recorded_on_a_batch_is_computed_from_it(void **state) {
    (void)state;
    enum { COUNT = 23, BATCH = 4, BATCHES = 6 };
    numbers user;
    nacre_dataset *set = numbers_set(&user, COUNT);
    int64_t order[COUNT];
    nacre_shuffled_order(order, COUNT, 5, 0);
    for (int prefetch = 0; prefetch < 4; prefetch++) {
        nacre_loader *loader = loader_of(set, BATCH, prefetch);
        nacre_scope scope = nacre_scope_begin();
        nacre_tensor *doubled[BATCHES];
        nacre_batch batch;
        nacre_loader_start(loader, 0, 0);
        for (int i = 0; i < BATCHES; i++) {
            assert_true(nacre_loader_next(loader, &batch, NULL));
            doubled[i] = nacre_add(batch.targets, batch.targets);
        }
        for (int i = 0; i < COUNT; i++) {
            const int64_t *values = nacre_data(doubled[i / BATCH]);
            assert_int_equal(values[i % BATCH], 2 * order[i]);
        }
        nacre_scope_end(scope);
        nacre_loader_free(loader);
    }
    nacre_dataset_free(set);
}

/* Small batches of a set in memory are read when asked for, large ones ahead: the same ones. */
static void sets_in_memory_come_alike_however_they_are_read(void **state) {
    (void)state;
    enum { COUNT = 90, WIDTH = 6000 };
    float *inputs = malloc(COUNT * WIDTH * sizeof *inputs);
    int64_t targets[COUNT], order[COUNT];
    assert_non_null(inputs);
    for (int i = 0; i < COUNT; i++) {
        targets[i] = i;
        for (int k = 0; k < WIDTH; k++) inputs[i * WIDTH + k] = (float)(i * WIDTH + k);
    }
    nacre_dataset *all =
        nacre_dataset_from_arrays(&(nacre_arrays_options){.size = sizeof(nacre_arrays_options),
                                                          .inputs = inputs,
                                                          .input_shape = {1, {WIDTH}},
                                                          .targets = targets,
                                                          .count = COUNT,
                                                          .borrow = true});
    nacre_dataset *set = nacre_dataset_head(all, COUNT - 3);
    nacre_shuffled_order(order, COUNT - 3, 5, 1);
    for (int64_t size = 1; size <= 64; size *= 4) { /* 64 samples: 1.5 MB */
        for (int prefetch = 0; prefetch < 4; prefetch += 3) {
            nacre_loader *loader = loader_of(set, size, prefetch);
            nacre_batch batch;
            int64_t at = 0;
            nacre_loader_start(loader, 1, 0);
            while (nacre_loader_next(loader, &batch, NULL)) {
                const float *rows = nacre_data(batch.inputs);
                for (int64_t i = 0; i < batch.count; i++, at++)
                    assert_memory_equal(rows + i * WIDTH, inputs + order[at] * WIDTH,
                                        WIDTH * sizeof *rows);
                assert_memory_equal(nacre_data(batch.targets), order + at - batch.count,
                                    (size_t)batch.count * sizeof *order);
            }
            assert_int_equal(at, COUNT - 3);
            nacre_loader_free(loader);
        }
    }
    nacre_dataset_free(set);
    nacre_dataset_free(all);
    free(inputs);
}

static void a_steady_state_allocates_nothing(void **state) {
    (void)state;
    numbers user;
    nacre_dataset *set = numbers_set(&user, 23);
    for (int prefetch = 0; prefetch < 3; prefetch++) {
        nacre_loader *loader = loader_of(set, 4, prefetch);
        int64_t samples[23];
        uint64_t allocations = 0;
        size_t live = 0;
        for (int epoch = 0; epoch < 10; epoch++) {
            nacre_scope scope = nacre_scope_begin();
            nacre_loader_start(loader, epoch, 0);
            drain(loader, 0, samples);
            nacre_scope_end(scope);
            if (epoch == 0)
                allocations = nacre_memory().allocations, live = nacre_memory().live_bytes;
        }
        assert_int_equal(nacre_memory().allocations, allocations);
        assert_int_equal(nacre_memory().live_bytes, live);
        nacre_loader_free(loader);
    }
    nacre_dataset_free(set);
}

static void a_loader_frees_all_it_made(void **state) {
    (void)state;
    numbers user;
    int64_t samples[23];
    size_t live = 0;
    for (int round = 0; round < 3; round++) {
        nacre_dataset *set = numbers_set(&user, 23);
        nacre_loader *loader = loader_of(set, 4, 2);
        for (int epoch = 0; epoch < 2; epoch++) {
            nacre_loader_start(loader, epoch, 0);
            drain(loader, 0, samples);
        }
        nacre_loader_free(loader);
        nacre_dataset_free(set);
        if (round > 0) assert_int_equal(nacre_memory().live_bytes, live);
        live = nacre_memory().live_bytes; /* the first round fills the thread's free lists */
    }
}

/* ---- stopping, starting again, errors ---- */

static void a_loader_can_be_left_or_restarted_anywhere(void **state) {
    (void)state;
    enum { COUNT = 40 };
    numbers user;
    nacre_dataset *set = numbers_set(&user, COUNT);
    int64_t samples[COUNT], expected[COUNT];
    for (int prefetch = 0; prefetch < 5; prefetch += 2) {
        for (int taken = 0; taken < 6; taken++) {
            nacre_loader *loader = loader_of(set, 6, prefetch);
            nacre_batch batch;
            for (int epoch = 0; epoch < 3; epoch++) {
                nacre_loader_start(loader, epoch, 0);
                for (int i = 0; i < taken; i++)
                    assert_true(nacre_loader_next(loader, &batch, NULL));
            }
            nacre_loader_start(loader, 9, 0);
            assert_int_equal(drain(loader, 0, samples), COUNT);
            nacre_shuffled_order(expected, COUNT, 5, 9);
            assert_memory_equal(samples, expected, sizeof samples);
            nacre_loader_start(loader, 10, 0);
            for (int i = 0; i < taken; i++) nacre_loader_next(loader, &batch, NULL);
            nacre_loader_free(loader); /* in the middle of an epoch */
        }
        nacre_loader_free(loader_of(set, 6, prefetch)); /* never started */
    }
    nacre_dataset_free(set);
}

static void an_error_of_the_reader_reaches_the_caller(void **state) {
    (void)state;
    for (int prefetch = 0; prefetch < 4; prefetch++) {
        for (int silent = 0; silent < 2; silent++) {
            numbers user;
            nacre_dataset *set = numbers_set(&user, 20);
            user.fail_at = 13, user.silent = silent;
            nacre_loader *loader = nacre_loader_create(set, .batch_size = 4, .prefetch = prefetch);
            nacre_batch batch;
            nacre_status status;
            nacre_loader_start(loader, 0, 0);
            for (int i = 0; i < 3; i++) /* the batches before the bad one come whole */
                assert_true(nacre_loader_next(loader, &batch, &status));
            for (int again = 0; again < 2; again++) {
                nacre_error_clear();
                assert_false(nacre_loader_next(loader, &batch, &status));
                assert_int_equal(status, silent ? NACRE_IO_ERROR : NACRE_INVALID_ARGUMENT);
                assert_int_equal(nacre_error_code(), status);
                const char *expected = silent ? "batch 3 of the set 'numbers'" : "the set is NULL";
                assert_non_null(strstr(nacre_error_message(), expected));
            }
            user.fail_at = -1;
            int64_t samples[20];
            nacre_loader_start(loader, 1, 0); /* a new start tries again */
            assert_int_equal(drain(loader, 0, samples), 20);
            nacre_loader_free(loader);
            nacre_dataset_free(set);
        }
    }
}

static void a_loader_that_reads_ahead_reads_no_more_than_asked(void **state) {
    (void)state;
    numbers user;
    nacre_dataset *set = numbers_set(&user, 100);
    nacre_loader *loader = loader_of(set, 10, 3);
    nacre_batch batch;
    nacre_loader_start(loader, 0, 0);
    assert_true(nacre_loader_next(loader, &batch, NULL));
    assert_true(nacre_loader_next(loader, &batch, NULL));
    nacre_loader_free(loader);
    assert_in_range(atomic_load(&user.reads), 2, 5);
    nacre_dataset_free(set);
}

static void senseless_options_are_refused(void **state) {
    (void)state;
    numbers user;
    nacre_dataset *set = numbers_set(&user, 10);
    assert_null(nacre_loader_create(NULL, .batch_size = 1));
    assert_null(nacre_loader_create(set, .batch_size = 0));
    assert_non_null(strstr(nacre_error_message(), ".batch_size is 0"));
    assert_null(nacre_loader_create(set, .batch_size = -1));
    assert_null(nacre_loader_create(set, .batch_size = 1, .prefetch = -1));
    assert_null(nacre_loader_create(set, .batch_size = 1, .prefetch = 1 << 20));
    assert_null(nacre_loader_new(NULL));
    assert_null(nacre_loader_new(&(nacre_loader_options){.set = set, .batch_size = 1}));
    nacre_loader *loader = nacre_loader_create(set, .batch_size = 4);
    nacre_batch batch;
    nacre_status status;
    assert_false(nacre_loader_next(loader, &batch, &status));
    assert_int_equal(status, NACRE_INVALID_STATE);
    assert_int_equal(nacre_loader_start(loader, -1, 0), NACRE_OUT_OF_RANGE);
    assert_int_equal(nacre_loader_start(loader, 0, -1), NACRE_OUT_OF_RANGE);
    assert_int_equal(nacre_loader_start(loader, 0, 4), NACRE_OUT_OF_RANGE);
    assert_int_equal(nacre_loader_start(NULL, 0, 0), NACRE_INVALID_ARGUMENT);
    assert_false(nacre_loader_next(NULL, &batch, &status));
    assert_false(nacre_loader_next(loader, NULL, &status));
    assert_int_equal(status, NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_loader_batches(NULL), 0);
    nacre_loader_free(loader);
    nacre_loader_free(NULL);
    nacre_dataset_free(set);
}

static void every_failed_allocation_is_an_error_and_leaks_nothing(void **state) {
    (void)state;
    numbers user;
    nacre_dataset *set = numbers_set(&user, 7);
    int64_t samples[7];
    nacre_loader *warm = loader_of(set, 4, 2);
    nacre_loader_start(warm, 0, 0);
    drain(warm, 0, samples);
    nacre_loader_free(warm);
    size_t live = nacre_memory().live_bytes;
    for (uint64_t n = 1;; n++) {
        nacre_status status = NACRE_OK;
        nacre_batch batch;
        nacre_memory_fail_at(n);
        nacre_loader *loader =
            nacre_loader_create(set, .batch_size = 4, .shuffle = true, .prefetch = 2);
        bool started = loader && nacre_loader_start(loader, 0, 0) == NACRE_OK;
        int batches = 0;
        while (started && nacre_loader_next(loader, &batch, &status)) batches++;
        nacre_memory_fail_at(0);
        if (started && status != NACRE_OK) {
            assert_int_equal(status, NACRE_OUT_OF_MEMORY);
            while (
                nacre_loader_next(loader, &batch, &status)) /* memory is back: nothing was lost */
                batches++;
            assert_int_equal(batches, 2);
        }
        nacre_loader_free(loader);
        assert_int_equal(nacre_memory().live_bytes, live);
        if (loader && batches == 2 && status == NACRE_OK && n > 20) break;
        if (!loader) assert_int_equal(nacre_error_code(), NACRE_OUT_OF_MEMORY);
    }
    nacre_dataset_free(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_epoch_holds_every_sample_once_in_an_order_of_its_own),
        cmocka_unit_test(the_order_does_not_depend_on_batch_size_or_reading_ahead),
        cmocka_unit_test(a_resumed_epoch_goes_on_with_the_same_batches),
        cmocka_unit_test(shuffling_favours_no_order),
        cmocka_unit_test(without_shuffling_the_set_comes_in_order),
        cmocka_unit_test(the_last_smaller_batch_comes_unless_it_is_dropped),
        cmocka_unit_test(a_batch_stays_valid_while_the_next_one_is_used),
        cmocka_unit_test(a_batch_stays_valid_over_starts),
        cmocka_unit_test(what_was_recorded_on_a_batch_is_computed_from_it),
        cmocka_unit_test(sets_in_memory_come_alike_however_they_are_read),
        cmocka_unit_test(a_steady_state_allocates_nothing),
        cmocka_unit_test(a_loader_frees_all_it_made),
        cmocka_unit_test(a_loader_can_be_left_or_restarted_anywhere),
        cmocka_unit_test(an_error_of_the_reader_reaches_the_caller),
        cmocka_unit_test(a_loader_that_reads_ahead_reads_no_more_than_asked),
        cmocka_unit_test(senseless_options_are_refused),
        cmocka_unit_test(every_failed_allocation_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
