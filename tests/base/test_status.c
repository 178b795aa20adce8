/* Status texts, the thread's last error, the abort policy. */
#define _DEFAULT_SOURCE

#include "child.h"
#include "support.h"

#include "base/error.h"
#include "base/log.h"

#include <nacre/system.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void every_status_has_its_text(void **state) {
    (void)state;
#define CHECK(name, value, text)                                                                   \
    assert_string_equal(nacre_status_string(name), text);                                          \
    assert_int_equal((int)name, value);
    NACRE_STATUS_TABLE(CHECK)
#undef CHECK
    assert_string_equal(nacre_status_string((nacre_status)-1), "unknown status");
    assert_string_equal(nacre_status_string((nacre_status)1000), "unknown status");
}

static void an_error_is_kept_until_it_is_cleared(void **state) {
    (void)state;
    nacre_error_clear();
    assert_int_equal(nacre_error_code(), NACRE_OK);
    assert_string_equal(nacre_error_message(), "");
    assert_int_equal(nacre_fail(NACRE_SHAPE_MISMATCH, "add: a is [%d]", 3), NACRE_SHAPE_MISMATCH);
    assert_int_equal(nacre_error_code(), NACRE_SHAPE_MISMATCH);
    assert_string_equal(nacre_error_message(), "add: a is [3]");
    nacre_error_clear();
    assert_int_equal(nacre_error_code(), NACRE_OK);
    assert_string_equal(nacre_error_message(), "");
}

static void a_message_names_the_callers_line(void **state) {
    (void)state;
    nacre_fail_at(NACRE_NOT_FOUND, "/home/me/train.c", 42, "no %s", "weight");
    assert_string_equal(nacre_error_message(), "no weight (train.c:42)");
    nacre_fail_at(NACRE_NOT_FOUND, "C:\\me\\train.c", 7, "no weight");
    assert_string_equal(nacre_error_message(), "no weight (train.c:7)");
    nacre_fail_at(NACRE_NOT_FOUND, "train.c", 1, "no weight");
    assert_string_equal(nacre_error_message(), "no weight (train.c:1)");
    nacre_fail_at(NACRE_NOT_FOUND, NULL, 1, "no weight");
    assert_string_equal(nacre_error_message(), "no weight");
    nacre_fail_at(NACRE_NOT_FOUND, "Embedding", 0, "no weight");
    assert_string_equal(nacre_error_message(), "no weight (Embedding)");
}

static void a_messages_place_is_found_again(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t place;
    } cases[] = {{"no weight (train.c:42)", 9},
                 {"add: a (2) (my file.c:7)", 10},
                 {"no weight", 9},
                 {"", 0},
                 {")", 1},
                 {"a (b)", 5},
                 {"a (b:)", 6},
                 {"a (b:c)", 7},
                 {"at :1)", 6},
                 {"(train.c:1)", 11}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(nacre_error_place(cases[i].text), cases[i].place);
    }
}

static void a_message_is_one_line_whatever_a_file_is_called(void **state) {
    (void)state;
    nacre_fail(NACRE_IO_ERROR, "%s: cannot read", "a\nb\x1b[31m");
    assert_string_equal(nacre_error_message(), "a?b?[31m: cannot read");
}

static void a_long_message_is_cut_but_keeps_the_callers_line(void **state) {
    (void)state;
    char name[5000];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    nacre_fail_at(NACRE_IO_ERROR, "train.c", 42, "%s", name);
    const char *message = nacre_error_message();
    assert_in_range(strlen(message), 500, 1023);
    assert_non_null(strstr(message, "x... (train.c:42)"));
    nacre_fail_at(NACRE_IO_ERROR, name, 42, "short");
    assert_string_equal(nacre_error_message(), "short");
}

static void a_message_may_quote_the_one_before(void **state) {
    (void)state;
    nacre_fail(NACRE_IO_ERROR, "disk full");
    nacre_fail(NACRE_BAD_FILE, "saving: %s", nacre_error_message());
    assert_string_equal(nacre_error_message(), "saving: disk full");
}

static void *fail_elsewhere(void *good) {
    if (nacre_error_code() != NACRE_OK) return NULL;
    nacre_fail(NACRE_INTERNAL, "elsewhere");
    return nacre_error_code() == NACRE_INTERNAL ? good : NULL;
}

static void each_thread_has_its_own_error(void **state) {
    (void)state;
    nacre_fail(NACRE_IO_ERROR, "here");
    pthread_t thread;
    int good = 0;
    void *result = NULL;
    assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, &good), 0);
    pthread_join(thread, &result);
    assert_non_null(result);
    assert_string_equal(nacre_error_message(), "here");
}

static void the_abort_policy_prints_the_message_and_aborts(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        nacre_on_error(NACRE_ABORT);
        nacre_fail(NACRE_NUMERICAL, "loss is NaN");
        _exit(0);
    }
    close(ends[1]);
    char text[4096];
    size_t used = 0;
    for (ssize_t got; (got = read(ends[0], text + used, sizeof text - 1 - used)) > 0;)
        used += (size_t)got;
    text[used] = '\0';
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    assert_int_not_equal(status, 0);
    assert_int_equal(strncmp(text, "nacre: loss is NaN\n", 19), 0);
    nacre_on_error(NACRE_RETURN);
    assert_int_equal(nacre_fail(NACRE_NUMERICAL, "loss is NaN"), NACRE_NUMERICAL);
}

static void the_version_is_the_headers(void **state) {
    (void)state;
    assert_string_equal(nacre_version(), NACRE_VERSION_STRING);
}

typedef struct lines {
    int count;
    char last[2000];
} lines;

static void collect(void *user, const char *line) {
    lines *l = user;
    l->count++;
    snprintf(l->last, sizeof l->last, "%s", line);
    if (l->count == 1) nacre_log("from inside the sink");
    nacre_set_log(collect, user);
}

static void log_lines_go_to_the_programs_sink(void **state) {
    (void)state;
    lines seen = {0};
    nacre_set_log(collect, &seen);
    nacre_log("%d records\nin two lines", 7);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.last, "7 records in two lines");
    char name[3000];
    memset(name, 'y', sizeof name);
    name[sizeof name - 1] = '\0';
    nacre_log("%s", name);
    assert_int_equal(seen.count, 2);
    assert_int_equal(strlen(seen.last), 1023);
    nacre_set_log(NULL, NULL);
    nacre_log("to stderr");
    assert_int_equal(seen.count, 2);
}

static int log_is_heard(void) {
    lines seen = {0};
    nacre_set_log(collect, &seen);
    nacre_log("one");
    return seen.count == 1 ? 0 : 1;
}

static void a_forked_child_can_log(void **state) {
    (void)state;
    assert_int_equal(in_child(log_is_heard), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_its_text),
        cmocka_unit_test(an_error_is_kept_until_it_is_cleared),
        cmocka_unit_test(a_message_names_the_callers_line),
        cmocka_unit_test(a_messages_place_is_found_again),
        cmocka_unit_test(a_message_is_one_line_whatever_a_file_is_called),
        cmocka_unit_test(a_long_message_is_cut_but_keeps_the_callers_line),
        cmocka_unit_test(a_message_may_quote_the_one_before),
        cmocka_unit_test(each_thread_has_its_own_error),
        cmocka_unit_test(the_abort_policy_prints_the_message_and_aborts),
        cmocka_unit_test(the_version_is_the_headers),
        cmocka_unit_test(log_lines_go_to_the_programs_sink),
        cmocka_unit_test(a_forked_child_can_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
