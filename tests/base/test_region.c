/* Regions: address space that grows in place. */
#define _DEFAULT_SOURCE

#include "child.h"
#include "emulated.h"
#include "support.h"

#include "base/memory.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { RESERVED = 1 << 30 };

static void a_region_grows_without_moving(void **state) {
    (void)state;
    nacre_memory_stats before = nacre_memory();
    nacre_region region;
    assert_int_equal(nacre_region_reserve(&region, RESERVED), NACRE_OK);
    assert_int_equal(region.committed, 0);
    assert_true(region.reserved >= RESERVED);
    assert_int_equal((uintptr_t)region.base % 64, 0);
    assert_int_equal(nacre_memory().live_bytes, before.live_bytes);
    unsigned char *base = region.base;
    size_t filled = 0;
    const size_t steps[] = {1, 2, 4095, 4096, 4097, 100000, 1 << 20, (1 << 20) + 1};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        assert_int_equal(nacre_region_grow(&region, steps[i]), NACRE_OK);
        assert_ptr_equal(region.base, base);
        assert_int_equal(region.committed, steps[i]);
        for (size_t k = 0; k < filled; k++) assert_int_equal(base[k], 5);
        for (size_t k = filled; k < steps[i]; k++) assert_int_equal(base[k], 0);
        memset(base, 5, steps[i]);
        filled = steps[i];
        assert_int_equal(nacre_memory().live_bytes, before.live_bytes + filled);
        assert_int_equal(nacre_memory().live_blocks, before.live_blocks + 1);
    }
    uint64_t allocations = nacre_memory().allocations;
    assert_int_equal(nacre_region_grow(&region, 10), NACRE_OK);
    assert_int_equal(region.committed, filled);
    assert_int_equal(nacre_memory().allocations, allocations);
    assert_true(nacre_memory().arena_bytes >= filled);
    nacre_region_release(&region);
    assert_int_equal(nacre_memory().live_bytes, before.live_bytes);
    assert_int_equal(nacre_memory().live_blocks, before.live_blocks);
    assert_null(region.base);
    nacre_region_release(&region);
}

static void the_largest_extent_is_remembered(void **state) {
    (void)state;
    nacre_region a, b;
    size_t high = nacre_memory().arena_bytes + 12345;
    assert_int_equal(nacre_region_reserve(&a, RESERVED), NACRE_OK);
    assert_int_equal(nacre_region_reserve(&b, RESERVED), NACRE_OK);
    assert_int_equal(nacre_region_grow(&a, high), NACRE_OK);
    assert_int_equal(nacre_region_grow(&b, 10), NACRE_OK);
    nacre_region_release(&a);
    nacre_region_release(&b);
    assert_int_equal(nacre_memory().arena_bytes, high);
}

static void growth_can_be_made_to_fail(void **state) {
    (void)state;
    nacre_region region;
    nacre_memory_fail_at(1);
    assert_int_equal(nacre_region_reserve(&region, RESERVED), NACRE_OUT_OF_MEMORY);
    assert_null(region.base);
    assert_int_equal(nacre_region_reserve(&region, RESERVED), NACRE_OK);
    assert_int_equal(nacre_region_grow(&region, 100), NACRE_OK);
    memset(region.base, 3, 100);
    nacre_memory_fail_at(1);
    nacre_error_clear();
    assert_int_equal(nacre_region_grow(&region, 1 << 20), NACRE_OUT_OF_MEMORY);
    assert_int_equal(nacre_error_code(), NACRE_OUT_OF_MEMORY);
    assert_int_equal(region.committed, 100);
    assert_int_equal(region.base[99], 3);
    assert_int_equal(nacre_region_grow(&region, 1 << 20), NACRE_OK);
    nacre_region_release(&region);
}

static void a_region_does_not_grow_beyond_its_reservation(void **state) {
    (void)state;
    nacre_region region;
    assert_int_equal(nacre_region_reserve(&region, 100000), NACRE_OK);
    assert_int_equal(nacre_region_grow(&region, region.reserved), NACRE_OK);
    region.base[region.reserved - 1] = 1;
    assert_int_equal(nacre_region_grow(&region, region.reserved + 1), NACRE_OUT_OF_MEMORY);
    assert_int_equal(nacre_region_grow(&region, SIZE_MAX), NACRE_OUT_OF_MEMORY);
    assert_null(strstr(nacre_error_message(), "ulimit")); /* all that was asked for is there */
    nacre_region_release(&region);
    assert_int_equal(nacre_region_reserve(&region, SIZE_MAX), NACRE_OUT_OF_MEMORY);
    assert_int_equal(nacre_region_reserve(&region, 0), NACRE_OK);
    nacre_region_release(&region);
}

/* Runs in a child whose address space is limited: 0 when all went well. */
static int reserve_under_a_limit(void) {
    struct rlimit limit = {.rlim_cur = (rlim_t)1 << 30, .rlim_max = (rlim_t)1 << 30};
    if (setrlimit(RLIMIT_AS, &limit) != 0) return 0;
    nacre_region region;
    if (nacre_region_reserve(&region, (size_t)64 << 30) != NACRE_OK) return 1;
    if (region.reserved < (size_t)64 << 20 || region.reserved > (size_t)512 << 20) return 2;
    if (nacre_region_grow(&region, 32 << 20) != NACRE_OK) return 3;
    memset(region.base, 1, 32 << 20);
    if (nacre_region_grow(&region, (size_t)2 << 30) != NACRE_OUT_OF_MEMORY) return 4;
    if (!strstr(nacre_error_message(), "ulimit -v")) return 6;
    void *beside = malloc(64 << 20);
    if (!beside) return 5;
    free(beside);
    nacre_region_release(&region);
    return 0;
}

static void a_limited_address_space_gives_a_smaller_region(void **state) {
    (void)state;
    if (SANITIZED || is_emulated()) skip(); /* a sanitizer needs terabytes for itself */
    assert_int_equal(in_child(reserve_under_a_limit), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_region_grows_without_moving),
        cmocka_unit_test(the_largest_extent_is_remembered),
        cmocka_unit_test(growth_can_be_made_to_fail),
        cmocka_unit_test(a_region_does_not_grow_beyond_its_reservation),
        cmocka_unit_test(a_limited_address_space_gives_a_smaller_region),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
