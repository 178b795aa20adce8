/* The counted allocator and the free lists of small blocks. */
#define _DEFAULT_SOURCE

#include "support.h"

#include "base/memory.h"

#include <pthread.h>
#include <string.h>

static nacre_memory_stats start;

static int remember(void **state) {
    (void)state;
    nacre_pool_trim();
    start = nacre_memory();
    return 0;
}

/* Every test gives back what it took. */
static int nothing_is_left(void **state) {
    (void)state;
    nacre_memory_fail_at(0);
    nacre_pool_trim();
    nacre_memory_stats now = nacre_memory();
    return now.live_bytes == start.live_bytes && now.live_blocks == start.live_blocks ? 0 : -1;
}

static bool aligned(const void *block) { return (uintptr_t)block % 64 == 0; }

static void every_byte_held_is_counted(void **state) {
    (void)state;
    unsigned char *a = nacre_alloc(1000), *b = nacre_alloc(1);
    nacre_memory_stats now = nacre_memory();
    assert_int_equal(now.allocations, start.allocations + 2);
    assert_int_equal(now.live_bytes, start.live_bytes + 1001);
    assert_int_equal(now.live_blocks, start.live_blocks + 2);
    assert_true(now.peak_bytes >= now.live_bytes);
    assert_true(aligned(a) && aligned(b));
    memset(a, 1, 1000);
    nacre_free(a);
    assert_int_equal(nacre_memory().live_bytes, start.live_bytes + 1);
    nacre_free(b);
    nacre_free(NULL);
    now = nacre_memory();
    assert_int_equal(now.live_bytes, start.live_bytes);
    assert_int_equal(now.live_blocks, start.live_blocks);
    assert_true(now.peak_bytes >= start.live_bytes + 1001);
}

static void an_empty_block_is_a_block(void **state) {
    (void)state;
    void *a = nacre_alloc(0), *b = nacre_alloc(0), *c = nacre_alloc_zeroed(0, 8);
    assert_true(a && b && c && a != b);
    assert_int_equal(nacre_memory().live_blocks, start.live_blocks + 3);
    a = nacre_realloc(a, 10);
    a = nacre_realloc(a, 0);
    assert_non_null(a);
    nacre_free(a);
    nacre_free(b);
    nacre_free(c);
}

static void zeroed_memory_is_zero(void **state) {
    (void)state;
    for (int round = 0; round < 2; round++) {
        unsigned char *block = nacre_alloc_zeroed(37, 11);
        for (size_t i = 0; i < 37 * 11; i++) assert_int_equal(block[i], 0);
        memset(block, 0xff, 37 * 11);
        nacre_free(block);
    }
}

static void impossible_sizes_are_refused_with_a_message(void **state) {
    (void)state;
    nacre_error_clear();
    assert_null(nacre_alloc(SIZE_MAX));
    assert_int_equal(nacre_error_code(), NACRE_OUT_OF_MEMORY);
    assert_non_null(strstr(nacre_error_message(), "18446744073709551615 bytes"));
    nacre_error_clear();
    assert_null(nacre_alloc_zeroed(SIZE_MAX / 2, 3));
    assert_int_equal(nacre_error_code(), NACRE_OUT_OF_MEMORY);
    assert_null(nacre_pool_take(SIZE_MAX));
    assert_null(nacre_alloc(SIZE_MAX - 63));
    void *block = nacre_alloc(5);
    assert_null(nacre_realloc(block, SIZE_MAX));
    nacre_free(block);
}

static void overflow_of_sizes_is_seen(void **state) {
    (void)state;
    size_t out = 0;
    assert_true(nacre_size_multiply(1u << 20, 1u << 20, &out) && out == (size_t)1 << 40);
    assert_true(nacre_size_multiply(SIZE_MAX, 0, &out) && out == 0);
    assert_true(nacre_size_multiply(SIZE_MAX, 1, &out) && out == SIZE_MAX);
    assert_false(nacre_size_multiply(SIZE_MAX / 2 + 1, 2, &out));
    assert_true(nacre_size_add(SIZE_MAX, 0, &out) && out == SIZE_MAX);
    assert_false(nacre_size_add(SIZE_MAX, 1, &out));
}

static void a_grown_block_keeps_its_contents(void **state) {
    (void)state;
    unsigned char *block = NULL;
    size_t size = 0;
    for (size_t next = 1; next < 100000; next = next * 2 + 1) {
        block = nacre_realloc(block, next);
        assert_true(aligned(block));
        for (size_t i = 0; i < size; i++) assert_int_equal(block[i], (unsigned char)i);
        for (size_t i = size; i < next; i++) block[i] = (unsigned char)i;
        size = next;
        assert_int_equal(nacre_memory().live_bytes, start.live_bytes + size);
    }
    uint64_t allocations = nacre_memory().allocations;
    while (size > 0) {
        size -= size / 3 + 1;
        block = nacre_realloc(block, size);
        for (size_t i = 0; i < size; i++) assert_int_equal(block[i], (unsigned char)i);
        assert_int_equal(nacre_memory().live_bytes, start.live_bytes + size);
        assert_int_equal(nacre_memory().live_blocks, start.live_blocks + 1);
    }
    assert_int_equal(nacre_memory().allocations, allocations);
    nacre_free(block);
}

static void a_block_that_shrank_can_grow_again(void **state) {
    (void)state;
    unsigned char *block = nacre_alloc(100);
    memset(block, 7, 100);
    block = nacre_realloc(block, 60);
    block = nacre_realloc(block, 90);
    assert_int_equal(nacre_memory().live_bytes, start.live_bytes + 90);
    for (int i = 0; i < 60; i++) assert_int_equal(block[i], 7);
    nacre_free(block);
}

static void the_nth_allocation_fails_once(void **state) {
    (void)state;
    nacre_memory_fail_at(3);
    void *a = nacre_alloc(1), *b = nacre_pool_take(8);
    assert_true(a && b);
    nacre_error_clear();
    assert_null(nacre_alloc_zeroed(2, 4));
    assert_int_equal(nacre_error_code(), NACRE_OUT_OF_MEMORY);
    void *c = nacre_alloc(4);
    assert_non_null(c);
    nacre_memory_fail_at(1);
    nacre_memory_fail_at(0);
    void *d = nacre_alloc(4);
    assert_non_null(d);
    nacre_free(a);
    nacre_pool_give(b, 8);
    nacre_free(c);
    nacre_free(d);
}

static void a_failed_growth_leaves_the_block(void **state) {
    (void)state;
    unsigned char *block = nacre_alloc(10);
    memset(block, 9, 10);
    nacre_memory_fail_at(1);
    assert_null(nacre_realloc(block, 20));
    for (int i = 0; i < 10; i++) assert_int_equal(block[i], 9);
    assert_int_equal(nacre_memory().live_bytes, start.live_bytes + 10);
    nacre_free(block);
}

static void a_copied_string_is_equal(void **state) {
    (void)state;
    char *copy = nacre_strdup("encoder.0.weight"), *empty = nacre_strdup("");
    assert_string_equal(copy, "encoder.0.weight");
    assert_string_equal(empty, "");
    nacre_free(copy);
    nacre_free(empty);
    nacre_memory_fail_at(1);
    assert_null(nacre_strdup("x"));
}

static const size_t sizes[] = {0,    1,    63,   64,   65,    200,     1024,         1025,
                               1280, 1281, 2048, 5000, 65537, 1 << 20, (1 << 20) + 1};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void pooled_blocks_hold_what_was_asked_for(void **state) {
    (void)state;
    for (int round = 0; round < 3; round++) {
        unsigned char *blocks[SIZES];
        for (size_t i = 0; i < SIZES; i++) {
            blocks[i] = nacre_pool_take(sizes[i]);
            assert_true(aligned(blocks[i]));
            memset(blocks[i], (int)i, sizes[i]);
        }
        for (size_t i = 0; i < SIZES; i++) {
            for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(blocks[i][k], i);
            nacre_pool_give(blocks[i], sizes[i]);
        }
    }
    nacre_pool_give(NULL, 8);
}

static void a_steady_state_calls_no_allocator(void **state) {
    (void)state;
    enum { RECORDS = 1000 };
    static void *records[RECORDS];
    uint64_t allocations = 0;
    for (int step = 0; step < 20; step++) {
        if (step == 2) allocations = nacre_memory().allocations;
        for (size_t i = 0; i < RECORDS; i++) records[i] = nacre_pool_take(40 + i % 300);
        for (size_t i = 0; i < RECORDS; i++) nacre_pool_give(records[i], 40 + i % 300);
    }
    assert_int_equal(nacre_memory().allocations, allocations);
}

/* One thread takes, another gives: the blocks must find their way back. */
enum { HANDED = 500, ROUNDS = 40 };
static void *handed[HANDED];

static void *give_all(void *unused) {
    (void)unused;
    for (size_t i = 0; i < HANDED; i++) nacre_pool_give(handed[i], 100);
    return NULL;
}

static void blocks_may_be_given_back_on_another_thread(void **state) {
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < HANDED; i++) {
            handed[i] = nacre_pool_take(100);
            memset(handed[i], round, 100);
        }
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, give_all, NULL), 0);
        pthread_join(thread, NULL);
        /* What the thread still kept was released when it ended. */
        assert_true(nacre_memory().live_blocks <= start.live_blocks + HANDED + 64);
    }
}

static void *take_and_give(void *argument) {
    size_t seed = (size_t)(uintptr_t)argument;
    for (size_t i = 0; i < 20000; i++) {
        size_t size = (i * 37 + seed) % 3000;
        unsigned char *block = nacre_pool_take(size);
        if (!block) return handed;
        if (size) block[size - 1] = block[0] = (unsigned char)seed;
        nacre_pool_give(block, size);
    }
    return NULL;
}

static void threads_share_the_lists_safely(void **state) {
    (void)state;
    pthread_t others[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&others[i], NULL, take_and_give, (void *)i), 0);
    for (size_t i = 0; i < 4; i++) {
        void *failed = NULL;
        pthread_join(others[i], &failed);
        assert_null(failed);
    }
}

static void large_blocks_are_not_hoarded(void **state) {
    (void)state;
    enum { BLOCKS = 40, BYTES = 1 << 20 };
    void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) blocks[i] = nacre_pool_take(BYTES);
    for (size_t i = 0; i < BLOCKS; i++) nacre_pool_give(blocks[i], BYTES);
    assert_true(nacre_memory().live_bytes <= start.live_bytes + 8 * (size_t)BYTES);
}

static void failures_do_not_depend_on_what_the_lists_hold(void **state) {
    (void)state;
    nacre_pool_give(nacre_pool_take(100), 100);
    nacre_memory_fail_at(1);
    assert_null(nacre_pool_take(100));
    void *block = nacre_pool_take(100);
    assert_non_null(block);
    nacre_pool_give(block, 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_byte_held_is_counted, remember, nothing_is_left),
        cmocka_unit_test_setup_teardown(an_empty_block_is_a_block, remember, nothing_is_left),
        cmocka_unit_test_setup_teardown(zeroed_memory_is_zero, remember, nothing_is_left),
        cmocka_unit_test_setup_teardown(impossible_sizes_are_refused_with_a_message, remember,
                                        nothing_is_left),
        cmocka_unit_test_setup_teardown(overflow_of_sizes_is_seen, remember, nothing_is_left),
        cmocka_unit_test_setup_teardown(a_grown_block_keeps_its_contents, remember,
                                        nothing_is_left),
        cmocka_unit_test_setup_teardown(a_block_that_shrank_can_grow_again, remember,
                                        nothing_is_left),
        cmocka_unit_test_setup_teardown(the_nth_allocation_fails_once, remember, nothing_is_left),
        cmocka_unit_test_setup_teardown(a_failed_growth_leaves_the_block, remember,
                                        nothing_is_left),
        cmocka_unit_test_setup_teardown(a_copied_string_is_equal, remember, nothing_is_left),
        cmocka_unit_test_setup_teardown(pooled_blocks_hold_what_was_asked_for, remember,
                                        nothing_is_left),
        cmocka_unit_test_setup_teardown(a_steady_state_calls_no_allocator, remember,
                                        nothing_is_left),
        cmocka_unit_test_setup_teardown(blocks_may_be_given_back_on_another_thread, remember,
                                        nothing_is_left),
        cmocka_unit_test_setup_teardown(threads_share_the_lists_safely, remember, nothing_is_left),
        cmocka_unit_test_setup_teardown(large_blocks_are_not_hoarded, remember, nothing_is_left),
        cmocka_unit_test_setup_teardown(failures_do_not_depend_on_what_the_lists_hold, remember,
                                        nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
