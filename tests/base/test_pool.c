/* The worker pool. */
#define _DEFAULT_SOURCE

#include "child.h"
#include "emulated.h"
#include "support.h"

#include "base/memory.h"
#include "base/pool.h"

#include <nacre/system.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A child of this test starts threads of its own. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "die_after_fork=0"; }

enum { MOST = 1 << 20 };

/* Plain bytes: a race between two threads on one index would be seen by ThreadSanitizer too. */
static unsigned char hits[MOST];

static void hit(void *context, size_t index) {
    unsigned char *all = context;
    all[index]++;
}

static bool each_once(const unsigned char *all, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (all[i] != 1) return false;
    }
    return true;
}

static const int thread_counts[] = {1, 2, 7, 3};

static void every_index_runs_exactly_once(void **state) {
    (void)state;
    const size_t counts[] = {0, 1, 2, 3, 5, 6, 7, 8, 13, 100, 1023, 65537, MOST};
    for (size_t t = 0; t < sizeof thread_counts / sizeof *thread_counts; t++) {
        assert_int_equal(nacre_set_threads(thread_counts[t]), NACRE_OK);
        assert_int_equal(nacre_threads(), thread_counts[t]);
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            memset(hits, 0, counts[i] + 1 < MOST ? counts[i] + 1 : MOST);
            nacre_parallel(counts[i], hit, hits);
            assert_true(each_once(hits, counts[i]));
            assert_true(counts[i] == MOST || hits[counts[i]] == 0);
        }
    }
}

static void thousands_of_small_jobs_follow_each_other(void **state) {
    (void)state;
    for (size_t t = 0; t < sizeof thread_counts / sizeof *thread_counts; t++) {
        nacre_set_threads(thread_counts[t]);
        for (size_t job = 0; job < 3000; job++) {
            size_t count = 2 + job % 9;
            unsigned char local[16] = {0};
            nacre_parallel(count, hit, local);
            assert_true(each_once(local, count) && local[count] == 0);
        }
    }
}

/* Between two jobs the workers go to sleep: none may be missed. */
static void jobs_after_a_pause_wake_the_workers(void **state) {
    (void)state;
    nacre_set_threads(3);
    for (long pause_us = 0; pause_us < 200; pause_us += 3) {
        struct timespec pause = {.tv_nsec = pause_us * 1000};
        nanosleep(&pause, NULL);
        memset(hits, 0, 64);
        nacre_parallel(64, hit, hits);
        assert_true(each_once(hits, 64));
    }
}

typedef struct meeting {
    atomic_int here, met;
    int wanted;
} meeting;

/* Waits, up to ten seconds, until every thread of the pool is in this job at once. */
static void meet(void *context, size_t index) {
    (void)index;
    meeting *m = context;
    atomic_fetch_add(&m->here, 1);
    for (int i = 0; i < 10000 && atomic_load(&m->here) < m->wanted; i++) {
        struct timespec pause = {.tv_nsec = 1000000};
        nanosleep(&pause, NULL);
    }
    if (atomic_load(&m->here) >= m->wanted) atomic_fetch_add(&m->met, 1);
}

static void all_threads_work_at_the_same_time(void **state) {
    (void)state;
    for (size_t t = 0; t < sizeof thread_counts / sizeof *thread_counts; t++) {
        nacre_set_threads(thread_counts[t]);
        meeting m = {.wanted = thread_counts[t]};
        nacre_parallel((size_t)thread_counts[t], meet, &m);
        assert_int_equal(atomic_load(&m.met), thread_counts[t]);
    }
}

typedef struct nested_job {
    unsigned char (*rows)[16];
    atomic_int elsewhere;
} nested_job;

typedef struct row_job {
    unsigned char *row;
    pthread_t outer;
    nested_job *job;
} row_job;

static void inner(void *context, size_t index) {
    row_job *r = context;
    r->row[index]++;
    if (!pthread_equal(r->outer, pthread_self())) atomic_fetch_add(&r->job->elsewhere, 1);
}

static void outer(void *context, size_t index) {
    nested_job *job = context;
    row_job r = {.row = job->rows[index], .outer = pthread_self(), .job = job};
    nacre_parallel(16, inner, &r);
}

static void a_call_from_inside_a_task_runs_inline(void **state) {
    (void)state;
    nacre_set_threads(4);
    static unsigned char rows[100][16];
    nested_job job = {.rows = rows};
    nacre_parallel(100, outer, &job);
    for (int i = 0; i < 100; i++) assert_true(each_once(rows[i], 16));
    assert_int_equal(atomic_load(&job.elsewhere), 0);
    memset(rows, 0, sizeof rows);
    nacre_parallel(1, outer, &job);
    assert_true(each_once(rows[0], 16));
    assert_int_equal(atomic_load(&job.elsewhere), 0);
}

enum { CALLERS = 4, CALLER_JOBS = 500 };

static void *call_repeatedly(void *failed) {
    unsigned char local[64];
    for (int job = 0; job < CALLER_JOBS; job++) {
        memset(local, 0, sizeof local);
        nacre_parallel(sizeof local, hit, local);
        if (!each_once(local, sizeof local)) return failed;
    }
    return NULL;
}

static void several_threads_may_call_at_once(void **state) {
    (void)state;
    nacre_set_threads(3);
    pthread_t callers[CALLERS];
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&callers[i], NULL, call_repeatedly, hits), 0);
    for (int i = 0; i < CALLERS; i++) {
        void *failed = NULL;
        pthread_join(callers[i], &failed);
        assert_null(failed);
    }
}

/* Resizes while others compute: each call succeeds or says that an evaluation is running. */
static void resizing_under_load_is_safe(void **state) {
    (void)state;
    pthread_t caller;
    assert_int_equal(pthread_create(&caller, NULL, call_repeatedly, hits), 0);
    for (int i = 0; i < 200; i++) {
        nacre_status status = nacre_set_threads(1 + i % 4);
        assert_true(status == NACRE_OK || status == NACRE_INVALID_ARGUMENT);
    }
    void *failed = NULL;
    pthread_join(caller, &failed);
    assert_null(failed);
}

static void resize_inside(void *context, size_t index) {
    (void)index;
    if (nacre_set_threads(5) == NACRE_INVALID_ARGUMENT) atomic_fetch_add((atomic_int *)context, 1);
}

static void a_wrong_number_of_threads_is_refused(void **state) {
    (void)state;
    assert_int_equal(nacre_set_threads(2), NACRE_OK);
    assert_int_equal(nacre_set_threads(-1), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_set_threads(1025), NACRE_INVALID_ARGUMENT);
    assert_non_null(strstr(nacre_error_message(), "1025"));
    atomic_int refused = 0;
    nacre_parallel(8, resize_inside, &refused);
    assert_int_equal(atomic_load(&refused), 8);
    assert_int_equal(nacre_threads(), 2);
    assert_int_equal(nacre_set_threads(0), NACRE_OK);
    assert_in_range(nacre_threads(), 1, 1024);
}

static void hundreds_of_threads_start_and_end(void **state) {
    (void)state;
    assert_int_equal(nacre_set_threads(200), NACRE_OK);
    memset(hits, 0, 5000);
    nacre_parallel(5000, hit, hits);
    assert_true(each_once(hits, 5000));
    assert_int_equal(nacre_set_threads(2), NACRE_OK);
}

static void flush(void *context, size_t index) {
    volatile float tiny = 1e-38f, third = 1.0f / 3;
    ((float *)context)[index] = tiny * third;
}

static void every_task_runs_in_the_same_floating_point_mode(void **state) {
    (void)state;
#if defined(__x86_64__) || defined(__aarch64__)
    for (int threads = 1; threads <= 4; threads += 3) {
        nacre_set_threads(threads);
        static float results[1000];
        for (size_t i = 0; i < 1000; i++) results[i] = 1;
        nacre_parallel(1000, flush, results);
        for (size_t i = 0; i < 1000; i++) assert_true(results[i] == 0);
        nacre_parallel(1, flush, results);
        assert_true(results[0] == 0);
        flush(results, 0);
        assert_true(results[0] > 0);
    }
#endif
}

static void a_running_pool_allocates_nothing(void **state) {
    (void)state;
    nacre_set_threads(3);
    nacre_parallel(100, hit, hits);
    nacre_memory_stats before = nacre_memory();
    for (int i = 0; i < 100; i++) nacre_parallel(100, hit, hits);
    assert_int_equal(nacre_memory().allocations, before.allocations);
    assert_int_equal(nacre_memory().live_bytes, before.live_bytes);
}

static int parallel_works(void) {
    unsigned char local[100] = {0};
    nacre_parallel(100, hit, local);
    meeting m = {.wanted = nacre_threads()};
    nacre_parallel((size_t)m.wanted, meet, &m);
    return each_once(local, 100) && atomic_load(&m.met) == m.wanted ? 0 : 1;
}

static void a_forked_child_has_a_pool_of_its_own(void **state) {
    (void)state;
    if (is_emulated()) skip();
    nacre_set_threads(3);
    assert_int_equal(parallel_works(), 0);
    assert_int_equal(in_child(parallel_works), 0);
    assert_int_equal(parallel_works(), 0);
}

static atomic_bool forking_is_done;

static void *compute_until_forking_is_done(void *unused) {
    (void)unused;
    while (!atomic_load(&forking_is_done)) nacre_parallel(100, meet, &(meeting){.wanted = 0});
    return NULL;
}

static void a_child_forked_during_an_evaluation_can_compute(void **state) {
    (void)state;
    if (is_emulated()) skip();
    nacre_set_threads(2);
    pthread_t other;
    atomic_store(&forking_is_done, false);
    assert_int_equal(pthread_create(&other, NULL, compute_until_forking_is_done, NULL), 0);
    for (int i = 0; i < 10; i++) assert_int_equal(in_child(parallel_works), 0);
    atomic_store(&forking_is_done, true);
    pthread_join(other, NULL);
}

static int lines;
static char last_line[1024];

static void collect(void *user, const char *line) {
    (void)user;
    lines++;
    snprintf(last_line, sizeof last_line, "%s", line);
    nacre_threads(); /* a sink may use the library */
}

static int bad_number_is_ignored(void) {
    nacre_set_log(collect, NULL);
    int threads = nacre_threads();
    if (lines != 1 || !strstr(last_line, "NACRE_THREADS=")) return 1;
    if (threads < 1 || threads > 1024) return 2;
    if (parallel_works() != 0) return 3;
    return lines != 1;
}

static int number_is_three(void) { return nacre_threads() == 3 ? parallel_works() : 1; }

static int number_is_automatic(void) {
    int threads = nacre_threads();
    return nacre_set_threads(0) != NACRE_OK || nacre_threads() != threads;
}

static void the_environment_sets_the_number_of_threads(void **state) {
    (void)state;
    const char *bad[] = {"abc", "-1", "1025", "3x", "3.5", "99999999999999999999", " ", "0x10"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("NACRE_THREADS", bad[i], 1);
        if (in_child(bad_number_is_ignored) != 0) fail_msg("NACRE_THREADS='%s'", bad[i]);
    }
    setenv("NACRE_THREADS", "3", 1);
    assert_int_equal(in_child(number_is_three), 0);
    setenv("NACRE_THREADS", "0", 1);
    assert_int_equal(in_child(number_is_automatic), 0);
    setenv("NACRE_THREADS", "", 1);
    assert_int_equal(in_child(number_is_automatic), 0);
    unsetenv("NACRE_THREADS");
    assert_int_equal(in_child(number_is_automatic), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        /* First: the environment is read once. */
        cmocka_unit_test(the_environment_sets_the_number_of_threads),
        cmocka_unit_test(every_index_runs_exactly_once),
        cmocka_unit_test(thousands_of_small_jobs_follow_each_other),
        cmocka_unit_test(jobs_after_a_pause_wake_the_workers),
        cmocka_unit_test(all_threads_work_at_the_same_time),
        cmocka_unit_test(a_call_from_inside_a_task_runs_inline),
        cmocka_unit_test(several_threads_may_call_at_once),
        cmocka_unit_test(resizing_under_load_is_safe),
        cmocka_unit_test(a_wrong_number_of_threads_is_refused),
        cmocka_unit_test(hundreds_of_threads_start_and_end),
        cmocka_unit_test(every_task_runs_in_the_same_floating_point_mode),
        cmocka_unit_test(a_running_pool_allocates_nothing),
        cmocka_unit_test(a_forked_child_has_a_pool_of_its_own),
        cmocka_unit_test(a_child_forked_during_an_evaluation_can_compute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
