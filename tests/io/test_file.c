/* Files: what the user had stays whole, whatever happens while the new version is written. */
#define _XOPEN_SOURCE 700

#include "support.h"

#include "base/memory.h"
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int entries(const char *folder) {
    DIR *open = opendir(folder);
    assert_non_null(open);
    int count = 0;
    while (readdir(open)) count++;
    closedir(open);
    return count - 2;
}

static void holds(const char *path, const char *expected) {
    size_t size;
    char *text = support_read(path, &size);
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(text, expected, size);
    free(text);
}

static void message_has(const char *part) {
    if (!strstr(nacre_error_message(), part)) {
        fail_msg("\"%s\" is not in \"%s\"", part, nacre_error_message());
    }
}

/* ---- reading ---- */

static void a_file_is_read_whole(void **state) {
    (void)state;
    const char *path = support_path(support_folder(), "file");
    static const char bytes[] = {'a', 0, 'b', '\n'};
    void *data;
    size_t size;
    support_write(path, bytes, sizeof bytes);
    assert_int_equal(nacre_file_read(path, sizeof bytes, &data, &size), NACRE_OK);
    assert_int_equal(size, sizeof bytes);
    assert_memory_equal(data, bytes, size);
    assert_int_equal(((char *)data)[size], 0);
    nacre_free(data);
    support_write(path, "", 0);
    assert_int_equal(nacre_file_read(path, 0, &data, &size), NACRE_OK);
    assert_int_equal(size, 0);
    assert_string_equal(data, "");
    nacre_free(data);
}

static void a_file_beyond_the_limit_is_not_loaded(void **state) {
    (void)state;
    const char *path = support_path(support_folder(), "large");
    support_write(path, "12345", 5);
    void *data;
    size_t size, live = nacre_memory().live_bytes;
    assert_int_equal(nacre_file_read(path, 4, &data, &size), NACRE_BAD_FILE);
    assert_null(data);
    message_has("large");
    message_has("at most 4");
    assert_int_equal(truncate(path, (off_t)1 << 40), 0);
    assert_int_equal(nacre_file_read(path, 1 << 20, &data, &size), NACRE_BAD_FILE);
    assert_int_equal(nacre_memory().live_bytes, live);
}

static void what_cannot_be_read_is_named(void **state) {
    (void)state;
    const char *folder = support_folder(), *path = support_path(folder, "missing");
    void *data;
    size_t size;
    assert_int_equal(nacre_file_read(path, 10, &data, &size), NACRE_NOT_FOUND);
    message_has(path);
    message_has(strerror(ENOENT));
    assert_int_equal(nacre_file_read(folder, 10, &data, &size), NACRE_IO_ERROR);
    message_has("is a folder");
    assert_int_equal(nacre_file_read("/dev/null", 10, &data, &size), NACRE_IO_ERROR);
    message_has("not a regular file");
    path = support_path(folder, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(nacre_file_read(path, 10, &data, &size),
                     NACRE_IO_ERROR); /* and does not hang */
    assert_int_equal(nacre_file_read("", 10, &data, &size), NACRE_NOT_FOUND);
}

static void parts_of_a_file_are_read_where_asked(void **state) {
    (void)state;
    const char *path = support_path(support_folder(), "parts");
    support_write(path, "0123456789", 10);
    nacre_input input;
    char part[8] = {0};
    assert_int_equal(nacre_input_open(path, &input), NACRE_OK);
    assert_int_equal(input.size, 10);
    assert_int_equal(nacre_input_read(&input, 7, part, 3), NACRE_OK);
    assert_string_equal(part, "789");
    assert_int_equal(nacre_input_read(&input, 10, part, 0), NACRE_OK);
    assert_int_equal(nacre_input_read(&input, 8, part, 3), NACRE_BAD_FILE);
    message_has("1 bytes too early");
    nacre_input_close(&input);
    nacre_input_close(&input);
}

/* ---- writing ---- */

static void a_written_file_replaces_the_old_one(void **state) {
    (void)state;
    const char *folder = support_folder(), *path = support_path(folder, "out");
    assert_int_equal(nacre_file_write(path, "first", 5), NACRE_OK);
    holds(path, "first");
    assert_int_equal(nacre_file_write(path, "2nd", 3), NACRE_OK);
    holds(path, "2nd");
    assert_int_equal(nacre_file_write(path, NULL, 0), NACRE_OK);
    holds(path, "");
    assert_int_equal(entries(folder), 1);
}

static void a_name_without_a_folder_is_in_the_current_one(void **state) {
    (void)state;
    const char *folder = support_folder();
    int before = open(".", O_RDONLY);
    assert_true(before >= 0);
    assert_int_equal(chdir(folder), 0);
    nacre_status status = nacre_file_write("here", "x", 1);
    assert_int_equal(fchdir(before), 0);
    close(before);
    assert_int_equal(status, NACRE_OK);
    holds(support_path(folder, "here"), "x");
}

static void a_file_is_not_there_before_its_commit(void **state) {
    (void)state;
    const char *folder = support_folder(), *path = support_path(folder, "late");
    nacre_atomic_file *file;
    assert_int_equal(nacre_atomic_open(path, &file), NACRE_OK);
    assert_int_equal(nacre_atomic_write(file, "abc", 3), NACRE_OK);
    assert_int_equal(nacre_atomic_write(file, "def", 3), NACRE_OK);
    assert_false(support_exists(path));
    assert_int_equal(nacre_atomic_commit(file), NACRE_OK);
    holds(path, "abcdef");

    assert_int_equal(nacre_atomic_open(path, &file), NACRE_OK);
    assert_int_equal(nacre_atomic_write(file, "lost", 4), NACRE_OK);
    nacre_atomic_abandon(file);
    holds(path, "abcdef");
    assert_int_equal(entries(folder), 1);
    nacre_atomic_abandon(NULL);
}

static void two_writers_of_one_name_do_not_mix(void **state) {
    (void)state;
    const char *folder = support_folder(), *path = support_path(folder, "both");
    nacre_atomic_file *a, *b;
    assert_int_equal(nacre_atomic_open(path, &a), NACRE_OK);
    assert_int_equal(nacre_atomic_open(path, &b), NACRE_OK);
    assert_int_equal(nacre_atomic_write(a, "aaaa", 4), NACRE_OK);
    assert_int_equal(nacre_atomic_write(b, "bb", 2), NACRE_OK);
    assert_int_equal(nacre_atomic_commit(b), NACRE_OK);
    holds(path, "bb");
    assert_int_equal(nacre_atomic_commit(a), NACRE_OK);
    holds(path, "aaaa");
    assert_int_equal(entries(folder), 1);
}

static void a_full_disk_leaves_the_old_file_whole(void **state) {
    (void)state;
    const char *folder = support_folder(), *path = support_path(folder, "precious");
    support_write(path, "precious", 8);
    for (size_t room = 0; room < 10; room++) {
        nacre_file_fail_after(room);
        assert_int_equal(nacre_file_write(path, "0123456789", 10), NACRE_IO_ERROR);
        nacre_file_fail_after(SIZE_MAX);
        message_has(path);
        message_has(strerror(ENOSPC));
        holds(path, "precious");
        assert_int_equal(entries(folder), 1);
    }
    nacre_file_fail_after(10);
    assert_int_equal(nacre_file_write(path, "0123456789", 10), NACRE_OK);
    nacre_file_fail_after(SIZE_MAX);
    holds(path, "0123456789");
}

static void a_failed_write_is_never_committed(void **state) {
    (void)state;
    const char *folder = support_folder(), *path = support_path(folder, "half");
    nacre_atomic_file *file;
    assert_int_equal(nacre_atomic_open(path, &file), NACRE_OK);
    nacre_file_fail_after(2);
    assert_int_equal(nacre_atomic_write(file, "abcd", 4), NACRE_IO_ERROR);
    nacre_file_fail_after(SIZE_MAX);
    assert_int_equal(nacre_atomic_write(file, "efgh", 4), NACRE_IO_ERROR);
    assert_int_equal(nacre_atomic_commit(file), NACRE_IO_ERROR);
    assert_int_equal(entries(folder), 0);
}

static void short_memory_leaves_the_old_file_whole(void **state) {
    (void)state;
    const char *folder = support_folder(), *path = support_path(folder, "kept");
    support_write(path, "kept", 4);
    size_t live = nacre_memory().live_bytes;
    nacre_status status = NACRE_OUT_OF_MEMORY;
    uint64_t n = 1;
    for (; status != NACRE_OK; n++) {
        assert_true(n < 50);
        holds(path, "kept");
        nacre_memory_fail_at(n);
        status = nacre_file_write(path, "new", 3);
        nacre_memory_fail_at(0);
        assert_true(status == NACRE_OK || status == NACRE_OUT_OF_MEMORY);
        assert_int_equal(nacre_memory().live_bytes, live);
        assert_int_equal(entries(folder), 1);
    }
    assert_true(n > 3);
    holds(path, "new");
    void *data = NULL;
    size_t size;
    nacre_memory_fail_at(1);
    assert_int_equal(nacre_file_read(path, 10, &data, &size), NACRE_OUT_OF_MEMORY);
    nacre_memory_fail_at(0);
    assert_null(data);
}

static void permissions_follow_the_umask(void **state) {
    (void)state;
    const char *path = support_path(support_folder(), "mode");
    struct stat status;
    mode_t before = umask(027);
    nacre_status written = nacre_file_write(path, "x", 1);
    umask(before);
    assert_int_equal(written, NACRE_OK);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
}

static void a_symbolic_link_stays_a_link(void **state) {
    (void)state;
    const char *folder = support_folder(), *path = support_path(folder, "link");
    assert_int_equal(nacre_make_folders(support_path(folder, "elsewhere")), NACRE_OK);
    const char *target = support_path(folder, "elsewhere/target");
    support_write(target, "old", 3);
    assert_int_equal(symlink("elsewhere/target", path), 0);
    assert_int_equal(nacre_file_write(path, "new", 3), NACRE_OK);
    struct stat status;
    assert_int_equal(lstat(path, &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    holds(target, "new");
    assert_int_equal(entries(folder), 2);
    assert_int_equal(unlink(target), 0);
    assert_int_equal(nacre_file_write(path, "new", 3), NACRE_NOT_FOUND); /* leads nowhere */
    message_has(path);
}

static void what_cannot_be_replaced_is_left_alone(void **state) {
    (void)state;
    const char *folder = support_folder();
    assert_int_equal(nacre_file_write(folder, "x", 1), NACRE_IO_ERROR);
    message_has("is a folder");
    assert_int_equal(nacre_file_write("/dev/null", "x", 1), NACRE_IO_ERROR);
    struct stat status;
    assert_int_equal(stat("/dev/null", &status), 0);
    assert_true(S_ISCHR(status.st_mode));
    assert_int_equal(nacre_file_write("", "x", 1), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_file_write(support_path(folder, "new/"), "x", 1),
                     NACRE_INVALID_ARGUMENT);
    const char *path = support_path(folder, "no/such/file");
    assert_int_equal(nacre_file_write(path, "x", 1), NACRE_NOT_FOUND);
    message_has(path);
    message_has("folder");
    assert_int_equal(entries(folder), 0);
}

static void the_longest_names_can_be_written(void **state) {
    (void)state;
    char name[256];
    memset(name, 'n', 255);
    name[255] = '\0';
    const char *path = support_path(support_folder(), name);
    assert_int_equal(nacre_file_write(path, "x", 1), NACRE_OK);
    holds(path, "x");
}

/* ---- folders ---- */

static void folders_are_made_with_those_above(void **state) {
    (void)state;
    const char *folder = support_folder(), *deep = support_path(folder, "a/b//c/");
    assert_int_equal(nacre_make_folders(deep), NACRE_OK);
    assert_int_equal(nacre_make_folders(deep), NACRE_OK);
    assert_true(support_exists(support_path(folder, "a/b/c")));
    assert_int_equal(nacre_make_folders("/"), NACRE_OK);
    assert_int_equal(nacre_make_folders("."), NACRE_OK);
    assert_int_equal(nacre_make_folders(""), NACRE_INVALID_ARGUMENT);
    support_write(support_path(folder, "file"), "x", 1);
    assert_int_equal(nacre_make_folders(support_path(folder, "file")), NACRE_IO_ERROR);
    message_has("is a file");
    assert_int_equal(nacre_make_folders(support_path(folder, "file/below")), NACRE_IO_ERROR);
    nacre_memory_fail_at(1);
    assert_int_equal(nacre_make_folders(deep), NACRE_OUT_OF_MEMORY);
    nacre_memory_fail_at(0);
}

static void a_folder_that_cannot_be_written_is_named(void **state) {
    (void)state;
    if (geteuid() == 0) {
        print_message("skipped: root may write everywhere\n");
        skip();
    }
    const char *folder = support_folder();
    assert_int_equal(chmod(folder, 0500), 0);
    const char *path = support_path(folder, "denied");
    assert_int_equal(nacre_file_write(path, "x", 1), NACRE_IO_ERROR);
    message_has(path);
    message_has(strerror(EACCES));
    assert_int_equal(nacre_make_folders(path), NACRE_IO_ERROR);
    message_has(strerror(EACCES));
    assert_int_equal(chmod(folder, 0700), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read_whole),
        cmocka_unit_test(a_file_beyond_the_limit_is_not_loaded),
        cmocka_unit_test(what_cannot_be_read_is_named),
        cmocka_unit_test(parts_of_a_file_are_read_where_asked),
        cmocka_unit_test(a_written_file_replaces_the_old_one),
        cmocka_unit_test(a_name_without_a_folder_is_in_the_current_one),
        cmocka_unit_test(a_file_is_not_there_before_its_commit),
        cmocka_unit_test(two_writers_of_one_name_do_not_mix),
        cmocka_unit_test(a_full_disk_leaves_the_old_file_whole),
        cmocka_unit_test(a_failed_write_is_never_committed),
        cmocka_unit_test(short_memory_leaves_the_old_file_whole),
        cmocka_unit_test(permissions_follow_the_umask),
        cmocka_unit_test(a_symbolic_link_stays_a_link),
        cmocka_unit_test(what_cannot_be_replaced_is_left_alone),
        cmocka_unit_test(the_longest_names_can_be_written),
        cmocka_unit_test(folders_are_made_with_those_above),
        cmocka_unit_test(a_folder_that_cannot_be_written_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
