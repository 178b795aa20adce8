/* Tuning tables in files: what was written reads back, and what is no table is refused with its line. */
#define _XOPEN_SOURCE 700

#include "support.h"

#include "base/cpu.h"
#include "base/memory.h"
#include "io/file.h"
#include "io/tuning.h"

#include <nacre/system.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const nacre_tuning_entry some[] = {
    {{1, 1, 64, 128, 784, 1, 784, 1, 1, 784, 1}, {.way = NACRE_WAY_TURNED, .task = 17}},
    {{1, 2, 64, 128, 784, 1, 784, 1, 1, 784, 1}, {.pack_b = NACRE_PACK_B_IN_TASK, .sweep = 20}},
    {{2, 1, 0, 1, 1, 9, -3, 0, 7, -1, 0}, {.way = NACRE_WAY_STRAIGHT, .pack_a = NACRE_PACK_A_YES}},
    {{3, 7, 5, 6, 7, 8, 9, 1, 2, 3, 0}, {.pack_b = NACRE_PACK_B_BEFORE, .task = 12, .sweep = 26}},
};
enum { SOME = sizeof some / sizeof *some };

static nacre_tuning_table table_of_some(void) {
    nacre_tuning_table table = {0};
    for (int i = SOME - 1; i >= 0; i--) assert_int_equal(nacre_tuning_put(&table, &some[i]), 0);
    return table;
}

static void use_some(void) {
    nacre_tuning_table table = table_of_some();
    nacre_tuning_use(&table);
}

static void check_some_in_force(void) {
    nacre_tuning_table table;
    assert_int_equal(nacre_tuning_copy(&table), NACRE_OK);
    assert_int_equal(table.count, SOME);
    for (int i = 0; i < SOME; i++) {
        assert_memory_equal(&table.entries[i].key, &some[i].key, sizeof some[i].key);
        assert_memory_equal(&table.entries[i].choice, &some[i].choice, sizeof some[i].choice);
    }
    nacre_tuning_free(&table);
}

static void a_table_reads_back_as_it_was_written(void **state) {
    (void)state;
    const char *path = support_path(support_folder(), "round-trip.txt");
    use_some();
    assert_int_equal(nacre_tuning_save(path), NACRE_OK);
    nacre_tuning_clear();
    assert_int_equal(nacre_tuning_count(), 0);
    assert_int_equal(nacre_tuning_load(path), NACRE_OK);
    check_some_in_force();
    nacre_tuning_clear();
    assert_int_equal(nacre_tuning_save(path), NACRE_OK);
    use_some();
    assert_int_equal(nacre_tuning_load(path), NACRE_OK);
    assert_int_equal(nacre_tuning_count(), 0);
}

#define ENTRY "avx2 1 64 128 784 1 784 1 1 784 1 turned - task 17 -\n"

static const struct bad {
    const char *before, *after; /* around the CPU's name; NULL: the text is all there is */
    const char *message;
} bad_tables[] = {
    {"", NULL, "line 1: the file was cut"},
    {"# mine\n", NULL, "line 1: the file was cut"},
    {"nacre tun", NULL, "line 1: the file was cut"},
    {"nacre tun\n", NULL, "line 1: not \"nacre tuning 1\""},
    {"\n", NULL, "line 1: not \"nacre tuning 1\""},
    {"nacre tuning 2\ncpu ", "\nend 0\n", "line 1: not \"nacre tuning 1\""},
    {"{\"json\": 1}", NULL, "line 1: not"},
    {"nacre tuning 1", NULL, "line 1: the file was cut"},
    {"nacre tuning 1\nc", NULL, "line 2: the file was cut"},
    {"nacre tuning 1\ncpu ", NULL, "line 2: the file was cut"},
    {"nacre tuning 1\ncpu \n", NULL, "line 2: tuned on another CPU"},
    {"nacre tuning 1\nend 0\n", NULL, "line 2: no \"cpu\""},
    {"nacre tuning 1\ncpu PDP-11/70\nend 0\n", NULL, "line 2: tuned on another CPU"},
    {"nacre tuning 1\ncpu ", "!\nend 0\n", "line 2: tuned on another CPU"},
    {"nacre tuning 1\ncpu ", "\n", "line 2: the file was cut"},
    {"nacre tuning 1\ncpu ", "\n" ENTRY, "line 3: the file was cut"},
    {"nacre tuning 1\ncpu ", "\n" ENTRY "end", "line 4: the entries are not as many"},
    {"nacre tuning 1\ncpu ", "\n" ENTRY "end 2\n", "line 4: the entries are not as many"},
    {"nacre tuning 1\ncpu ", "\n" ENTRY "end 1\n\n", "line 5: something after"},
    {"nacre tuning 1\ncpu ", "\n" ENTRY "end 1\n" ENTRY, "line 5: something after"},
    {"nacre tuning 1\ncpu ", "\n" ENTRY ENTRY "end 2\n", "line 4: the same shape twice"},
    {"nacre tuning 1\ncpu ", "\n\nend 0\n", "line 3: no level"},
    {"nacre tuning 1\ncpu ", "\nsse9 1 64 128", "line 3: no level"},
    {"nacre tuning 1\ncpu ", "\navx2 0 64 128", "line 3: no threads"},
    {"nacre tuning 1\ncpu ", "\navx2 1025 64 128", "line 3: no threads"},
    {"nacre tuning 1\ncpu ", "\navx2 1 -1 128", "line 3: no m"},
    {"nacre tuning 1\ncpu ", "\navx2 1 64  128", "line 3: no n"},
    {"nacre tuning 1\ncpu ", "\navx2 1 64 1e3 784", "line 3: no n"},
    {"nacre tuning 1\ncpu ", "\navx2 1 64 128 99999999999999999999 1", "line 3: no k"},
    {"nacre tuning 1\ncpu ", "\navx2 1 64 128 281474976710657 1", "line 3: no k"},
    {"nacre tuning 1\ncpu ", "\navx2 1 64 128 784 1 - 1", "line 3: no a_row"},
    {"nacre tuning 1\ncpu ", "\navx2 1 64 128 784 1 784 1 1 784 2 turned", "line 3: no shared_b"},
    {"nacre tuning 1\ncpu ", "\navx2 1 64 128 784 1 784 1 1 784 1", "line 3: no way"},
    {"nacre tuning 1\ncpu ", "\navx2 1 64 128 784 1 784 1 1 784 1 Turned -", "line 3: no way"},
    {"nacre tuning 1\ncpu ", "\navx2 1 64 128 784 1 784 1 1 784 1 - no -", "line 3: no pack_a"},
    {"nacre tuning 1\ncpu ", "\navx2 1 64 128 784 1 784 1 1 784 1 - - yes", "line 3: no pack_b"},
    {"nacre tuning 1\ncpu ", "\navx2 1 64 128 784 1 784 1 1 784 1 - - - 11 -", "line 3: no task"},
    {"nacre tuning 1\ncpu ", "\navx2 1 64 128 784 1 784 1 1 784 1 - - - 0 -", "line 3: no task"},
    {"nacre tuning 1\ncpu ", "\navx2 1 64 128 784 1 784 1 1 784 1 - - - - 27", "line 3: no sweep"},
    {"nacre tuning 1\ncpu ", "\navx2 1 64 128 784 1 784 1 1 784 1 - - - - -\n", "chooses nothing"},
    {"nacre tuning 1\ncpu ", "\navx2 1 64 128 784 1 784 1 1 784 1 - - - 17 - x\n", "more columns"},
    {"nacre tuning 1\ncpu ", "\navx2 1 64 128 784 1 784 1 1 784 1 - - - 17 - \r\n", "more columns"},
};

static void what_is_no_table_is_refused_and_nothing_lost(void **state) {
    (void)state;
    const char *path = support_path(support_folder(), "bad.txt");
    char model[NACRE_CPU_MODEL_BYTES], text[512];
    nacre_cpu_model(model);
    use_some();
    for (size_t i = 0; i < sizeof bad_tables / sizeof *bad_tables; i++) {
        const struct bad *bad = &bad_tables[i];
        snprintf(text, sizeof text, "%s%s%s", bad->before, bad->after ? model : "",
                 bad->after ? bad->after : "");
        support_write(path, text, strlen(text));
        assert_int_equal(nacre_tuning_load(path), NACRE_BAD_FILE);
        const char *message = nacre_error_message();
        if (!strstr(message, bad->message) || !strstr(message, path) || strchr(message, '\n'))
            fail_msg("table %zu: \"%s\" is not in \"%s\"", i, bad->message, message);
        check_some_in_force();
    }
    nacre_tuning_clear();
}

static void every_prefix_of_a_table_is_refused(void **state) {
    (void)state;
    nacre_tuning_table table = table_of_some(), read;
    nacre_text text = {0};
    nacre_tuning_append(&table, "mine", &text);
    nacre_tuning_free(&table);
    assert_false(text.failed);
    size_t head = strlen("nacre tuning 1\ncpu mine\n");
    /* Without the last newline it is still whole. */
    for (size_t size = 0; size < text.length - 1; size++) {
        assert_int_equal(nacre_tuning_parse(text.bytes, size, "prefix", "mine", &read),
                         NACRE_BAD_FILE);
        assert_null(read.entries);
        if (size < head) assert_non_null(strstr(nacre_error_message(), "the file was cut"));
    }
    assert_int_equal(nacre_tuning_parse(text.bytes, text.length - 1, "whole", "mine", &read),
                     NACRE_OK);
    nacre_tuning_free(&read);
    nacre_text_free(&text);
}

static void comments_are_for_people(void **state) {
    (void)state;
    const char *text = "# mine\nnacre tuning 1\n#\ncpu mine\n# x\n" ENTRY "# y\nend 1\n# z";
    nacre_tuning_table table;
    assert_int_equal(nacre_tuning_parse(text, strlen(text), "commented", "mine", &table), NACRE_OK);
    assert_int_equal(table.count, 1);
    assert_int_equal(table.entries[0].choice.task, 17);
    nacre_tuning_free(&table);
}

static void a_table_that_is_too_large_is_refused(void **state) {
    (void)state;
    const char *path = support_path(support_folder(), "large.txt");
    size_t size = ((size_t)1 << 20) + 1;
    char *bytes = calloc(1, size);
    assert_non_null(bytes);
    support_write(path, bytes, size);
    free(bytes);
    assert_int_equal(nacre_tuning_load(path), NACRE_BAD_FILE);
    assert_int_equal(nacre_tuning_load(support_path(support_folder(), "none")), NACRE_NOT_FOUND);
    assert_int_equal(nacre_tuning_load(support_folder()), NACRE_IO_ERROR);
}

static void the_usual_place_follows_the_environment(void **state) {
    (void)state;
    const char *folder = support_folder(), *named = support_path(folder, "named.txt");
    char path[NACRE_TUNING_PATH_BYTES];
    unsetenv("NACRE_TUNING");
    setenv("HOME", folder, 1);
    setenv("XDG_DATA_HOME", "relative", 1);
    nacre_tuning_path(path);
    assert_int_equal(
        strncmp(path, support_path(folder, ".local/share/nacre/tuning/"), strlen(folder) + 27), 0);
    setenv("XDG_DATA_HOME", support_path(folder, "data"), 1);
    nacre_tuning_path(path);
    assert_int_equal(strncmp(path, support_path(folder, "data/nacre/tuning/"), strlen(folder) + 19),
                     0);
    assert_string_equal(path + strlen(path) - 4, ".txt");

    use_some();
    assert_int_equal(nacre_tuning_load(NULL), NACRE_OK); /* none there: empty */
    assert_int_equal(nacre_tuning_count(), 0);
    use_some();
    assert_int_equal(nacre_tuning_save(NULL), NACRE_OK);
    assert_true(support_exists(path));
    nacre_tuning_clear();
    assert_int_equal(nacre_tuning_load(NULL), NACRE_OK);
    check_some_in_force();

    setenv("NACRE_TUNING", "off", 1);
    assert_int_equal(nacre_tuning_save(NULL), NACRE_INVALID_STATE);
    assert_int_equal(nacre_tuning_load(NULL), NACRE_OK);
    assert_int_equal(nacre_tuning_count(), 0);
    setenv("NACRE_TUNING", named, 1);
    assert_int_equal(nacre_tuning_load(NULL), NACRE_NOT_FOUND);
    assert_int_equal(nacre_tuning_save(NULL), NACRE_OK);
    assert_int_equal(nacre_tuning_load(NULL), NACRE_OK);
    unsetenv("NACRE_TUNING");
    unsetenv("XDG_DATA_HOME");
    unsetenv("HOME");
    assert_int_equal(nacre_tuning_save(NULL), NACRE_INVALID_STATE);
    assert_int_equal(nacre_tuning_load(NULL), NACRE_OK);
}

static void short_memory_and_a_full_disk_lose_nothing(void **state) {
    (void)state;
    const char *path = support_path(support_folder(), "kept.txt");
    use_some();
    assert_int_equal(nacre_tuning_save(path), NACRE_OK);
    char *before = support_read(path, NULL);
    for (uint64_t n = 1;; n++) {
        nacre_memory_fail_at(n);
        nacre_status status = nacre_tuning_load(path);
        nacre_memory_fail_at(0);
        check_some_in_force();
        if (status == NACRE_OK) break;
        assert_int_equal(status, NACRE_OUT_OF_MEMORY);
    }
    nacre_tuning_clear();
    for (uint64_t n = 1;; n++) {
        nacre_memory_fail_at(n);
        nacre_status status = nacre_tuning_save(support_path(support_folder(), "empty.txt"));
        nacre_memory_fail_at(0);
        if (status == NACRE_OK) break;
        assert_int_equal(status, NACRE_OUT_OF_MEMORY);
    }
    nacre_file_fail_after(10);
    assert_int_equal(nacre_tuning_save(path), NACRE_IO_ERROR);
    nacre_file_fail_after(SIZE_MAX);
    char *after = support_read(path, NULL);
    assert_string_equal(after, before);
    free(after);
    free(before);
}

static void a_choice_is_described_in_words(void **state) {
    (void)state;
    nacre_text text = {0};
    nacre_tuning_describe(&(nacre_product_choice){0}, &text);
    nacre_text_append(&text, "; ");
    nacre_tuning_describe(&some[0].choice, &text);
    nacre_text_append(&text, "; ");
    nacre_tuning_describe(&some[1].choice, &text);
    assert_string_equal(text.bytes, "as the rules say; turned, tasks of 2^17; "
                                    "B packed in its task, sweeps of 2^20");
    nacre_text_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_reads_back_as_it_was_written),
        cmocka_unit_test(what_is_no_table_is_refused_and_nothing_lost),
        cmocka_unit_test(every_prefix_of_a_table_is_refused),
        cmocka_unit_test(comments_are_for_people),
        cmocka_unit_test(a_table_that_is_too_large_is_refused),
        cmocka_unit_test(the_usual_place_follows_the_environment),
        cmocka_unit_test(short_memory_and_a_full_disk_lose_nothing),
        cmocka_unit_test(a_choice_is_described_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
