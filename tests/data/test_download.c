/* Downloads, against a local server with bad habits: what is kept is what was published, or nothing. */
#define _XOPEN_SOURCE 700

#include "data/download.h"

#include "data/sha256.h"
#include "support.h"

#include <nacre/data.h>
#include <nacre/system.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ONE = 100000, TWO = 10 };

static struct {
    pid_t process;
    int input; /* the server ends when this is closed */
    int port;
    const char *folder; /* that it serves */
} server;

static uint8_t one[ONE], two[TWO];
static char one_hash[65], two_hash[65];
static nacre_download_file files[] = {{"one", ONE, one_hash}, {"two", TWO, two_hash}};
static char reason[NACRE_DOWNLOAD_REASON];
static int silence_ms = 6000;

static void make_file(const char *name, uint8_t *bytes, size_t size, char hash[65]) {
    nacre_sha256 sum;
    nacre_sha256_begin(&sum);
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(i * i / 7);
    nacre_sha256_add(&sum, bytes, size);
    nacre_sha256_end(&sum, hash);
    support_write(support_path(server.folder, name), bytes, size);
}

static void run_server(int input, int output) {
    const char *source = getenv("NACRE_SOURCE");
    char script[4096];
    snprintf(script, sizeof script, "%s/tests/data/http_server.py", source ? source : ".");
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    execlp("python3", "python3", script, server.folder, (char *)NULL);
    _exit(127);
}

static int start_server(void **state) {
    (void)state;
    int input[2], output[2];
    setenv("no_proxy", "127.0.0.1", 1);
    server.folder = support_folder();
    make_file("one", one, ONE, one_hash);
    make_file("two", two, TWO, two_hash);
    if (pipe(input) != 0 || pipe(output) != 0) return -1;
    server.process = fork();
    if (server.process == 0) {
        close(input[1]);
        run_server(input[0], output[1]);
    }
    close(input[0]);
    close(output[1]);
    server.input = input[1];
    char line[32] = "";
    ssize_t got = read(output[0], line, sizeof line - 1);
    close(output[0]);
    server.port = got > 0 ? atoi(line) : 0;
    return 0;
}

static int stop_server(void **state) {
    (void)state;
    close(server.input);
    waitpid(server.process, NULL, 0);
    return 0;
}

/* Downloads both files from the mirrors with these habits, separated by spaces. */
static nacre_status download(const char *habits, const char *folder) {
    static char urls[4][64];
    const char *mirrors[4];
    size_t count = 0;
    char words[128];
    if (server.port == 0 || nacre_download_missing()) {
        print_message("skipped: needs python3 and libcurl\n");
        skip();
    }
    remove(support_path(server.folder, "requests"));
    snprintf(words, sizeof words, "%s", habits);
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) {
        bool dead = strcmp(word, "dead") == 0; /* nobody listens on port 1 */
        snprintf(urls[count], sizeof urls[count], "http://127.0.0.1:%d/%s/", dead ? 1 : server.port,
                 word);
        mirrors[count] = urls[count];
        count++;
    }
    nacre_download d = {.what = "the test files",
                        .files = files,
                        .file_count = 2,
                        .mirrors = mirrors,
                        .mirror_count = count,
                        .connect_ms = 5000,
                        .stall_s = 1,
                        .silence_ms = silence_ms};
    nacre_error_clear();
    nacre_status status = nacre_download_run(&d, folder, reason);
    assert_int_equal(nacre_error_code(), NACRE_OK); /* the caller may have another way */
    return status;
}

static void expect_file(const char *folder, const char *name, const uint8_t *bytes, size_t size) {
    size_t found;
    char *text = support_read(support_path(folder, name), &found);
    assert_int_equal(found, size);
    assert_memory_equal(text, bytes, size);
    free(text);
}

static void expect_both(const char *folder) {
    expect_file(folder, "one", one, ONE);
    expect_file(folder, "two", two, TWO);
    assert_false(support_exists(support_path(folder, "one.part")));
    assert_false(support_exists(support_path(folder, "two.part")));
}

static void expect_nothing(const char *folder) {
    assert_false(support_exists(support_path(folder, "one")));
    assert_false(support_exists(support_path(folder, "one.part")));
}

/* How often `text` is among the requests. */
static int requests(const char *text) {
    int count = 0;
    const char *path = support_path(server.folder, "requests");
    if (!support_exists(path)) return 0;
    char *log = support_read(path, NULL);
    for (const char *at = log; (at = strstr(at, text)); at++) count++;
    free(log);
    return count;
}

static void files_arrive_whole_in_a_folder_that_is_made(void **state) {
    (void)state;
    const char *folder = support_path(support_folder(), "a/b/c");
    assert_int_equal(download("good", folder), NACRE_OK);
    expect_both(folder);
    assert_int_equal(requests("/good/"), 2);
    assert_int_equal(download("good", folder), NACRE_OK); /* what is there is not fetched again */
    assert_int_equal(requests("/good/"), 0);
}

static void a_damaged_file_is_replaced(void **state) {
    (void)state;
    const char *folder = support_folder();
    support_write(support_path(folder, "one"), "bad", 3);
    assert_int_equal(download("good", folder), NACRE_OK);
    expect_both(folder);
}

static void a_cut_connection_goes_on_where_it_stopped(void **state) {
    (void)state;
    const char *folder = support_folder();
    assert_int_equal(download("cut", folder), NACRE_OK);
    expect_both(folder);
    assert_int_equal(requests("bytes=30000-"), 1);
    assert_int_equal(requests("bytes=90000-"), 1);
}

static void an_interrupted_download_goes_on_the_next_time(void **state) {
    (void)state;
    const char *folder = support_folder();
    support_write(support_path(folder, "one.part"), one, 60000);
    assert_int_equal(download("good", folder), NACRE_OK);
    expect_both(folder);
    assert_int_equal(requests("bytes=60000-"), 1);

    folder = support_folder(); /* all bytes came, but the program ended before the renaming */
    support_write(support_path(folder, "one.part"), one, ONE);
    assert_int_equal(download("good", folder), NACRE_OK);
    expect_both(folder);
    assert_int_equal(requests("/one"), 0);
}

static void a_part_of_something_else_is_thrown_away(void **state) {
    (void)state;
    const char *folder = support_folder();
    support_write(support_path(folder, "one.part"), two, TWO - 1);
    assert_int_equal(download("good", folder), NACRE_OK);
    expect_both(folder);

    folder = support_folder();
    static uint8_t too_long[ONE + 1];
    support_write(support_path(folder, "one.part"), too_long, sizeof too_long);
    assert_int_equal(download("good", folder), NACRE_OK);
    expect_both(folder);
}

static void a_server_that_cannot_resume_is_asked_for_the_whole_file(void **state) {
    (void)state;
    const char *folder = support_folder();
    support_write(support_path(folder, "one.part"), one, 60000);
    assert_int_equal(download("no-range", folder), NACRE_OK);
    expect_both(folder);
}

static void wrong_bytes_are_never_kept(void **state) {
    (void)state;
    const char *folder = support_folder();
    assert_int_equal(download("wrong", folder), NACRE_IO_ERROR);
    assert_non_null(strstr(reason, "SHA-256"));
    expect_nothing(folder);
    assert_int_equal(download("long", folder), NACRE_IO_ERROR);
    assert_non_null(strstr(reason, "longer"));
    expect_nothing(folder);
    assert_int_equal(download("short", folder), NACRE_IO_ERROR);
    assert_non_null(strstr(reason, "shorter"));
    expect_nothing(folder);
}

static void the_next_mirror_is_tried(void **state) {
    (void)state;
    const char *folder = support_folder();
    assert_int_equal(download("absent wrong dead good", folder), NACRE_OK);
    expect_both(folder);
    assert_int_equal(requests("/two"),
                     1); /* the mirror that worked is asked first for the next file */
}

static void a_mirror_that_stalls_is_given_up(void **state) {
    (void)state;
    const char *folder = support_folder();
    assert_int_equal(download("silent stall good", folder), NACRE_OK);
    expect_both(folder);
}

static void redirections_are_followed_but_not_to_files_of_this_machine(void **state) {
    (void)state;
    const char *folder = support_folder();
    assert_int_equal(download("redirect", folder), NACRE_OK);
    expect_both(folder);
    folder = support_folder();
    assert_int_equal(download("to-file", folder), NACRE_IO_ERROR);
    expect_nothing(folder);
}

static void without_a_network_the_answer_comes_at_once(void **state) {
    (void)state;
    const char *folder = support_folder();
    assert_int_equal(download("dead dead", folder), NACRE_IO_ERROR);
    assert_non_null(strstr(reason, "127.0.0.1:1/"));
    assert_null(strchr(reason, '\n'));
    expect_nothing(folder);
    assert_int_equal(download("absent", folder), NACRE_IO_ERROR);
    assert_non_null(strstr(reason, "404"));
    expect_nothing(folder);
}

/* Each mirror has its own patience, yet an offline machine must not wait for all of them. */
static void silence_is_not_waited_for_mirror_after_mirror(void **state) {
    (void)state;
    const char *folder = support_folder();
    silence_ms = 100;
    nacre_status status = download("silent good", folder);
    silence_ms = 6000;
    assert_int_equal(status, NACRE_IO_ERROR);
    assert_int_equal(requests("/good/"), 0);
    expect_nothing(folder);
}

static void cancelling_stops_a_download(void **state) {
    (void)state;
    nacre_cancel(true);
    nacre_status status = download("good", support_folder());
    nacre_cancel(false);
    assert_int_equal(status, NACRE_CANCELLED);
}

/* A limit on the size of files stands in for a full disk: writing fails in the middle. */
static void a_full_disk_leaves_nothing_behind(void **state) {
    (void)state;
    const char *folder = support_folder();
    struct rlimit before, small;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = ONE / 2;
    setrlimit(RLIMIT_FSIZE, &small);
    nacre_status status = download("good good", folder);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, NACRE_IO_ERROR);
    assert_non_null(strstr(reason, folder));
    assert_int_equal(requests("/one"), 1); /* another mirror would not help */
    expect_nothing(folder);
}

static void a_folder_that_cannot_be_made_is_named(void **state) {
    (void)state;
    const char *folder = support_folder();
    support_write(support_path(folder, "file"), "", 0);
    assert_int_equal(download("good", support_path(folder, "file/below")), NACRE_IO_ERROR);
    assert_non_null(strstr(reason, "file/below"));
}

static int log_lines;
static char last_line[2048];

static void count_line(void *user, const char *line) {
    (void)user;
    log_lines++;
    snprintf(last_line, sizeof last_line, "%s", line);
}

/* Opens MNIST on a machine that has nothing but an empty home and the local server as mirror. */
static nacre_status open_from_server(const char *home, nacre_mnist *mnist) {
    char url[64], old[4096];
    const char *data = getenv("NACRE_DATA");
    char *kept = data ? strdup(data) : NULL;
    assert_non_null(getcwd(old, sizeof old));
    assert_int_equal(chdir(home), 0);
    unsetenv("NACRE_DATA");
    setenv("XDG_DATA_HOME", home, 1);
    setenv("XDG_CACHE_HOME", home, 1);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/good", server.port);
    setenv("NACRE_MNIST_URL", url, 1);
    log_lines = 0;
    nacre_set_log(count_line, NULL);
    nacre_mnist_options options = {
        .size = sizeof options, .procedural_train = 30, .procedural_test = 20};
    nacre_error_clear();
    nacre_status status = nacre_mnist_open(&options, mnist);
    nacre_set_log(NULL, NULL);
    if (kept) setenv("NACRE_DATA", kept, 1);
    free(kept);
    unsetenv("NACRE_MNIST_URL");
    assert_int_equal(chdir(old), 0);
    return status;
}

static void without_the_real_digits_drawn_ones_are_used_and_the_log_says_so(void **state) {
    (void)state;
    if (server.port == 0 || nacre_download_missing()) skip();
    const char *home = support_folder();
    support_write(support_path(server.folder, "train-images-idx3-ubyte.gz"), "<html>", 6);
    nacre_mnist mnist;
    assert_int_equal(open_from_server(home, &mnist), NACRE_OK);
    assert_int_equal(nacre_error_code(), NACRE_OK);
    assert_true(mnist.procedural);
    assert_string_equal(mnist.folder, "");
    assert_int_equal(nacre_dataset_count(mnist.train), 30);
    assert_int_equal(nacre_dataset_count(mnist.test), 20);
    assert_int_equal(log_lines, 2);
    assert_non_null(strstr(last_line, "drawn digits"));
    nacre_mnist_close(&mnist);
    assert_false(support_exists(support_path(home, "nacre/mnist/train-images-idx3-ubyte.gz.part")));
}

static void mnist_is_downloaded_into_the_cache_and_found_there_later(void **state) {
    (void)state;
    static const char *const names[] = {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
                                        "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"};
    const char *data = support_data("mnist");
    if (server.port == 0 || nacre_download_missing()) skip();
    for (int i = 0; i < 4; i++) {
        const char *served = support_path(server.folder, names[i]);
        remove(served);
        assert_int_equal(symlink(support_path(data, names[i]), served), 0);
    }
    remove(support_path(server.folder, "requests"));
    const char *home = support_folder();
    for (int round = 0; round < 2; round++) {
        nacre_mnist mnist;
        nacre_status status = open_from_server(home, &mnist);
        if (status == NACRE_UNSUPPORTED) skip(); /* no zlib */
        assert_int_equal(status, NACRE_OK);
        assert_false(mnist.procedural);
        assert_string_equal(mnist.folder, support_path(home, "nacre/mnist"));
        assert_int_equal(nacre_dataset_count(mnist.train), 60000);
        assert_int_equal(nacre_dataset_count(mnist.test), 10000);
        nacre_mnist_close(&mnist);
        assert_int_equal(requests("/good/"), 4);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_arrive_whole_in_a_folder_that_is_made),
        cmocka_unit_test(a_damaged_file_is_replaced),
        cmocka_unit_test(a_cut_connection_goes_on_where_it_stopped),
        cmocka_unit_test(an_interrupted_download_goes_on_the_next_time),
        cmocka_unit_test(a_part_of_something_else_is_thrown_away),
        cmocka_unit_test(a_server_that_cannot_resume_is_asked_for_the_whole_file),
        cmocka_unit_test(wrong_bytes_are_never_kept),
        cmocka_unit_test(the_next_mirror_is_tried),
        cmocka_unit_test(a_mirror_that_stalls_is_given_up),
        cmocka_unit_test(redirections_are_followed_but_not_to_files_of_this_machine),
        cmocka_unit_test(without_a_network_the_answer_comes_at_once),
        cmocka_unit_test(silence_is_not_waited_for_mirror_after_mirror),
        cmocka_unit_test(cancelling_stops_a_download),
        cmocka_unit_test(a_full_disk_leaves_nothing_behind),
        cmocka_unit_test(a_folder_that_cannot_be_made_is_named),
        cmocka_unit_test(without_the_real_digits_drawn_ones_are_used_and_the_log_says_so),
        cmocka_unit_test(mnist_is_downloaded_into_the_cache_and_found_there_later),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
