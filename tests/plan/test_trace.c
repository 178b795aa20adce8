/* Traces: what was evaluated while one was on, as spans that nest and do not overlap. */
#include "support.h"

#include "base/memory.h"
#include "io/file.h"
#include "io/json.h"

#include <math.h>
#include <nacre/nacre.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MOST_ROWS = 16 };

static char path[256];

static int make_path(void **state) {
    (void)state;
    snprintf(path, sizeof path, "nacre-trace-%ld.json", (long)getpid());
    return nacre_set_threads(2) != NACRE_OK;
}

static int remove_path(void **state) {
    (void)state;
    unlink(path);
    return 0;
}

static nacre_json_document *read_trace(void) {
    void *text;
    size_t size;
    assert_int_equal(nacre_file_read(path, (size_t)1 << 28, &text, &size), NACRE_OK);
    nacre_json_document *document = nacre_json_parse(text, size, path);
    nacre_free(text);
    assert_non_null(document);
    return document;
}

static double number(const nacre_json *object, const char *key) {
    const nacre_json *node = nacre_json_member(object, key);
    assert_non_null(node);
    assert_int_equal(node->kind, NACRE_JSON_NUMBER);
    return node->number;
}

static const char *name_of(const nacre_json *event) {
    return nacre_json_member(event, "name")->string;
}

static bool is_span(const nacre_json *event) {
    return strcmp(nacre_json_member(event, "ph")->string, "X") == 0;
}

static const nacre_json *first_event(const nacre_json_document *document) {
    return nacre_json_member(nacre_json_root(document), "traceEvents")->first;
}

static size_t count_named(const nacre_json_document *document, const char *name) {
    size_t count = 0;
    for (const nacre_json *e = first_event(document); e; e = e->next) {
        count += is_span(e) && strcmp(name_of(e), name) == 0;
    }
    return count;
}

/* A product large enough for the pool, and a sum of it. */
static double compute(nacre_tensor *a) { return nacre_item(nacre_sum(nacre_matmul(a, a))); }

static nacre_tensor *square(int64_t n) {
    nacre_tensor *a = nacre_rand(NACRE_SHAPE(n, n), .stream = 7);
    assert_int_equal(nacre_eval(a), NACRE_OK);
    return a;
}

static void every_step_of_a_traced_replay_is_named_and_no_other(void **state) {
    (void)state;
    nacre_tensor *a = square(128);
    compute(a); /* before: the cached plan is named when it is replayed */
    assert_int_equal(nacre_trace_begin(path), NACRE_OK);
    for (int i = 0; i < 5; i++) {
        compute(a);
    }
    assert_int_equal(nacre_trace_end(), NACRE_OK);
    compute(a);
    nacre_json_document *document = read_trace();
    assert_int_equal(count_named(document, "replay"), 5);
    assert_int_equal(count_named(document, "matmul"), 5);
    assert_int_equal(count_named(document, "sum"), 5);
    for (const nacre_json *e = first_event(document); e; e = e->next) {
        if (is_span(e) && strcmp(name_of(e), "matmul") == 0) {
            const nacre_json *args = nacre_json_member(e, "args");
            assert_string_equal(nacre_json_member(args, "shapes")->string,
                                "[128,128] x [128,128] -> [128,128]");
            assert_true(number(args, "flops") == 2.0 * 128 * 128 * 128);
            double rate = number(args, "flops") / number(e, "dur") * 1e-3;
            assert_true(fabs(number(args, "GFLOP/s") - rate) <= 1e-3 + 1e-3 * rate); /* rounded */
            assert_true(number(args, "GB/s") > 0);
        }
    }
    nacre_json_free(document);
}

/* Steps lie in their replay one after another, and a thread of the pool does one thing at a time. */
static void spans_nest_and_never_overlap(void **state) {
    (void)state;
    nacre_tensor *a = square(200);
    assert_int_equal(nacre_trace_begin(path), NACRE_OK);
    for (int i = 0; i < 20; i++) {
        compute(a);
    }
    assert_int_equal(nacre_trace_end(), NACRE_OK);
    nacre_json_document *document = read_trace();
    double end_of_row[MOST_ROWS] = {0}, replay_end = 0;
    size_t busy = 0;
    for (const nacre_json *e = first_event(document); e; e = e->next) {
        if (!is_span(e)) {
            continue;
        }
        int row = (int)number(e, "tid");
        double begin = number(e, "ts"), end = begin + number(e, "dur");
        assert_in_range(row, 1, MOST_ROWS - 1);
        if (strcmp(name_of(e), "replay") == 0) {
            assert_true(begin >= replay_end - 0.002);
            assert_true(end >=
                        end_of_row[row] - 0.002); /* its steps end before it, in microseconds */
            replay_end = end;
        } else {
            assert_true(begin >= end_of_row[row] - 0.002);
            assert_true(row != 1 || begin >= replay_end - 0.002);
            end_of_row[row] = end;
        }
        busy += strcmp(name_of(e), "busy") == 0;
    }
    assert_true(busy >= 20); /* the product is a parallel region */
    nacre_json_free(document);
}

static void the_ring_keeps_the_newest_and_says_what_it_dropped(void **state) {
    (void)state;
    nacre_tensor *a = square(2);
    assert_int_equal(nacre_trace_begin(path), NACRE_OK);
    for (int i = 0; i < 40000; i++) {
        nacre_scope scope = nacre_scope_begin();
        compute(a);
        nacre_scope_end(scope);
    }
    assert_int_equal(nacre_trace_end(), NACRE_OK);
    nacre_json_document *document = read_trace();
    const nacre_json *about = nacre_json_member(nacre_json_root(document), "otherData");
    assert_true(number(about, "events") == 65536);
    assert_true(number(about, "dropped_events") >= 40000.0 * 3 - 65536);
    nacre_json_free(document);
}

static void traced_results_have_the_same_bits(void **state) {
    (void)state;
    nacre_tensor *a = square(150);
    double plain = compute(a);
    assert_int_equal(nacre_trace_begin(path), NACRE_OK);
    double traced = compute(a);
    assert_int_equal(nacre_trace_end(), NACRE_OK);
    assert_memory_equal(&plain, &traced, sizeof plain);
}

static void misuse_is_refused_and_leaves_nothing(void **state) {
    (void)state;
    assert_int_equal(nacre_trace_begin(NULL), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_trace_begin(""), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_trace_end(), NACRE_INVALID_STATE);
    assert_int_equal(nacre_trace_begin("no-such-folder/trace.json"), NACRE_NOT_FOUND);
    assert_non_null(strstr(nacre_error_message(), "no-such-folder/trace.json"));
    assert_int_equal(nacre_trace_begin("."), NACRE_IO_ERROR);
    assert_int_equal(nacre_trace_begin(path), NACRE_OK);
    assert_int_equal(nacre_trace_begin(path), NACRE_INVALID_STATE);
    assert_int_equal(nacre_trace_end(), NACRE_OK); /* the first one goes on */
    nacre_json_document *document = read_trace();
    assert_int_equal(count_named(document, "replay"), 0);
    nacre_json_free(document);
}

static void a_full_disk_leaves_the_old_file(void **state) {
    (void)state;
    assert_int_equal(nacre_trace_begin(path), NACRE_OK);
    compute(square(16));
    assert_int_equal(nacre_trace_end(), NACRE_OK);
    assert_int_equal(nacre_trace_begin(path), NACRE_OK);
    nacre_file_fail_after(10);
    assert_int_equal(nacre_trace_end(), NACRE_IO_ERROR);
    nacre_file_fail_after(SIZE_MAX);
    nacre_json_document *document = read_trace();
    assert_true(count_named(document, "replay") > 0);
    nacre_json_free(document);
    assert_int_equal(nacre_trace_end(), NACRE_INVALID_STATE); /* a failed one has ended too */
}

static void memory_is_given_back_and_shortage_is_an_error(void **state) {
    (void)state;
    nacre_tensor *a = square(16);
    compute(a);
    size_t before = nacre_memory().live_blocks;
    for (uint64_t n = 1; n <= 3; n++) {
        nacre_memory_fail_at(n);
        nacre_status status = nacre_trace_begin(path);
        nacre_memory_fail_at(0);
        assert_int_equal(status, NACRE_OUT_OF_MEMORY);
        assert_int_equal(nacre_memory().live_blocks, before);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_step_of_a_traced_replay_is_named_and_no_other),
        cmocka_unit_test(spans_nest_and_never_overlap),
        cmocka_unit_test(the_ring_keeps_the_newest_and_says_what_it_dropped),
        cmocka_unit_test(traced_results_have_the_same_bits),
        cmocka_unit_test(misuse_is_refused_and_leaves_nothing),
        cmocka_unit_test(a_full_disk_leaves_the_old_file),
        cmocka_unit_test(memory_is_given_back_and_shortage_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
