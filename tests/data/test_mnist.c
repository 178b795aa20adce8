/* MNIST: found where it is, refused when it is damaged, read as documented. */
#define _XOPEN_SOURCE 700

#include <nacre/data.h>
#include <nacre/system.h>

#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIXELS = 784, TRAIN = 7, TEST = 3 };

static const char *const names[4] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                     "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};

/* ---- small files of the right form ---- */

static size_t put_header(uint8_t *to, int ndim, const uint32_t *dims) {
    const uint8_t magic[4] = {0, 0, 8, (uint8_t)ndim};
    memcpy(to, magic, 4);
    for (int i = 0; i < 4 * ndim; i++) to[4 + i] = (uint8_t)(dims[i / 4] >> (24 - 8 * (i % 4)));
    return 4 + 4 * (size_t)ndim;
}

static void write_images(const char *path, uint32_t count, uint32_t side) {
    static uint8_t bytes[16 + 16 * 29 * 29];
    size_t at = put_header(bytes, 3, (uint32_t[]){count, side, side});
    size_t size = at + (size_t)count * side * side;
    for (size_t i = at; i < size; i++) bytes[i] = (uint8_t)((i - at) % 251);
    support_write(path, bytes, size);
}

static void write_labels(const char *path, uint32_t count, uint8_t first) {
    uint8_t bytes[64];
    size_t at = put_header(bytes, 1, &count);
    for (uint32_t i = 0; i < count; i++) bytes[at + i] = (uint8_t)(i == 0 ? first : i % 10);
    support_write(path, bytes, at + count);
}

/* A folder with four good files. */
static void fill(const char *folder) {
    mkdir(folder, 0755);
    write_images(support_path(folder, names[0]), TRAIN, 28);
    write_labels(support_path(folder, names[1]), TRAIN, 0);
    write_images(support_path(folder, names[2]), TEST, 28);
    write_labels(support_path(folder, names[3]), TEST, 9);
}

static nacre_mnist_options in(const char *folder) {
    return (nacre_mnist_options){
        .size = sizeof(nacre_mnist_options), .folder = folder, .no_download = true};
}

static void expect_open(const char *folder, const char *found) {
    nacre_mnist mnist;
    nacre_mnist_options options = in(folder);
    nacre_status status = nacre_mnist_open(&options, &mnist);
    if (status != NACRE_OK) fail_msg("%s", nacre_error_message());
    assert_string_equal(mnist.folder, found);
    assert_false(mnist.procedural);
    assert_int_equal(nacre_dataset_count(mnist.train), TRAIN);
    assert_int_equal(nacre_dataset_count(mnist.test), TEST);
    nacre_mnist_close(&mnist);
    assert_null(mnist.train);
}

static void expect_refused(const char *folder, nacre_status status, const char *file,
                           const char *what) {
    nacre_mnist mnist;
    nacre_mnist_options options = in(folder);
    size_t live = nacre_memory().live_bytes;
    assert_int_equal(nacre_mnist_open(&options, &mnist), status);
    const char *message = nacre_error_message();
    if (!strstr(message, file) || !strstr(message, what) || strchr(message, '\n'))
        fail_msg("'%s' names not '%s' and '%s' in one line", message, file, what);
    assert_null(mnist.train);
    assert_null(mnist.test);
    assert_int_equal(nacre_memory().live_bytes, live);
}

/* ---- an environment without data ---- */

static char *kept_data;
static char start_folder[4096];

/* Nothing is found: an empty working folder, empty XDG folders, no NACRE_DATA. */
static int bare(void **state) {
    (void)state;
    const char *home = support_folder(), *data = getenv("NACRE_DATA");
    kept_data = data ? strdup(data) : NULL;
    unsetenv("NACRE_DATA");
    setenv("HOME", home, 1);
    setenv("XDG_DATA_HOME", support_path(home, "share"), 1);
    setenv("XDG_CACHE_HOME", support_path(home, "cache"), 1);
    return getcwd(start_folder, sizeof start_folder) ? chdir(home) : -1;
}

static int restore(void **state) {
    (void)state;
    if (kept_data) setenv("NACRE_DATA", kept_data, 1);
    free(kept_data);
    kept_data = NULL;
    return chdir(start_folder);
}

static void make_below(const char *folder, const char *a, const char *b) {
    mkdir(support_path(folder, a), 0755);
    fill(support_path(support_path(folder, a), b));
}

/* ---- where it is found ---- */

static void a_named_folder_is_used_itself_or_its_mnist_folder(void **state) {
    (void)state;
    const char *folder = support_folder();
    fill(folder);
    expect_open(folder, folder);
    expect_open(support_path(folder, "/"), folder); /* messages join it with one slash */
    fill(support_path(folder, "mnist"));            /* goes first */
    expect_open(folder, support_path(folder, "mnist"));
}

static void a_channel_axis_changes_the_shape_alone(void **state) {
    (void)state;
    fill("channel");
    static float plain[TRAIN * PIXELS], other[TRAIN * PIXELS];
    int64_t labels[TRAIN], indices[TRAIN];
    for (int i = 0; i < TRAIN; i++) indices[i] = i;
    for (int channel = 0; channel < 2; channel++) {
        nacre_mnist mnist;
        nacre_mnist_options options = in("channel");
        options.channel = channel;
        assert_int_equal(nacre_mnist_open(&options, &mnist), NACRE_OK);
        nacre_shape shape = nacre_dataset_input_shape(mnist.test);
        assert_int_equal(shape.ndim, 2 + channel);
        assert_int_equal(shape.dims[0], channel ? 1 : 28);
        assert_int_equal(shape.dims[channel + 1], 28);
        assert_int_equal(
            nacre_dataset_read(mnist.train, indices, TRAIN, channel ? other : plain, labels),
            NACRE_OK);
        nacre_mnist_close(&mnist);
    }
    assert_memory_equal(plain, other, sizeof plain);
}

static void other_spellings_of_the_files_are_found(void **state) {
    (void)state;
    const char *folder = support_folder();
    fill(folder);
    assert_int_equal(
        rename(support_path(folder, names[0]), support_path(folder, "train-images.idx3-ubyte")), 0);
    assert_int_equal(
        rename(support_path(folder, names[3]), support_path(folder, "t10k-labels-idx1-ubyte.gz")),
        0);
    expect_open(folder, folder); /* content, not the name, says whether a file is packed */
}

static void the_variable_is_used_unless_a_folder_is_given(void **state) {
    (void)state;
    const char *variable = support_folder(), *given = support_folder();
    fill(variable);
    fill(given);
    setenv("NACRE_DATA", variable, 1);
    expect_open(NULL, variable);
    expect_open(given, given);
    unsetenv("NACRE_DATA");
}

static void the_usual_places_are_tried_in_order(void **state) {
    (void)state;
    const char *home = getenv("HOME");
    const char *cache = support_path(home, "cache"), *share = support_path(home, "share");
    mkdir(cache, 0755), mkdir(share, 0755), mkdir("data", 0755);
    make_below(cache, "nacre", "mnist");
    expect_open(NULL, support_path(home, "cache/nacre/mnist"));
    make_below(share, "nacre", "");
    expect_open(NULL, support_path(home, "share/nacre"));
    fill("data");
    expect_open(NULL, "./data");
    fill("data/mnist");
    expect_open(NULL, "./data/mnist");
}

static void the_home_folder_stands_in_for_unset_xdg_variables(void **state) {
    (void)state;
    const char *home = getenv("HOME");
    unsetenv("XDG_DATA_HOME");
    setenv("XDG_CACHE_HOME", "relative/is/ignored", 1);
    mkdir(support_path(home, ".cache"), 0755);
    make_below(support_path(home, ".cache"), "nacre", "mnist");
    expect_open(NULL, support_path(home, ".cache/nacre/mnist"));
    mkdir(support_path(home, ".local"), 0755), mkdir(support_path(home, ".local/share"), 0755);
    make_below(support_path(home, ".local/share"), "nacre", "mnist");
    expect_open(NULL, support_path(home, ".local/share/nacre/mnist"));
}

/* ---- a named folder never falls through ---- */

static void a_missing_or_empty_named_folder_is_an_error(void **state) {
    (void)state;
    fill("data"); /* would be found otherwise */
    const char *folder = support_folder();
    expect_refused(support_path(folder, "absent"), NACRE_NOT_FOUND, "absent",
                   "no such data folder");
    expect_refused("", NACRE_NOT_FOUND, ".folder", "no such data folder");
    expect_refused(folder, NACRE_NOT_FOUND, folder, "no MNIST files");
    setenv("NACRE_DATA", folder, 1);
    expect_refused(NULL, NACRE_NOT_FOUND, "NACRE_DATA", "no MNIST files");
    setenv("NACRE_DATA", "", 1); /* empty is unset */
    expect_open(NULL, "./data");
    unsetenv("NACRE_DATA");
    char *long_path = malloc(3000);
    memset(long_path, 'x', 3000);
    long_path[2999] = '\0';
    expect_refused(long_path, NACRE_INVALID_ARGUMENT, ".folder", "2999");
    free(long_path);
}

static void a_missing_file_is_named(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        const char *folder = support_folder();
        fill(folder);
        remove(support_path(folder, names[i]));
        expect_refused(folder, NACRE_NOT_FOUND, folder, names[i]);
    }
}

static void a_folder_in_the_place_of_a_file_is_not_called_missing(void **state) {
    (void)state;
    const char *folder = support_folder();
    fill(folder);
    remove(support_path(folder, names[0]));
    mkdir(support_path(folder, names[0]), 0755);
    expect_refused(folder, NACRE_BAD_FILE, names[0], "is a folder");
}

/* ---- damaged files ---- */

static void files_that_do_not_fit_are_refused_by_name(void **state) {
    (void)state;
    const char *folder = support_folder();
    const char *images = support_path(folder, names[0]), *labels = support_path(folder, names[3]);
    fill(folder);
    write_images(images, TRAIN - 1, 28);
    expect_refused(folder, NACRE_BAD_FILE, names[1], "7 labels for the 6 images");
    write_images(images, 0, 28);
    expect_refused(folder, NACRE_BAD_FILE, names[0], "no images");
    write_images(images, TRAIN, 29);
    expect_refused(folder, NACRE_BAD_FILE, names[0], "29x29");
    write_labels(images, TRAIN, 0);
    expect_refused(folder, NACRE_BAD_FILE, names[0], "1 dimensions");
    write_images(images, TRAIN, 28);
    write_labels(labels, TEST, 10);
    expect_refused(folder, NACRE_BAD_FILE, names[3], "label 10 of sample 0");
    write_images(labels, TEST, 28);
    expect_refused(folder, NACRE_BAD_FILE, names[3], "3 dimensions");
    write_labels(labels, TEST, 3);
    expect_open(folder, folder);
}

/* The file's first bytes, and then the file cut or lengthened. */
static void damage(const char *path, const void *begin, size_t size, long length) {
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fwrite(begin, 1, size, file), size);
    fclose(file);
    if (length >= 0) assert_int_equal(truncate(path, length), 0);
}

static void damaged_files_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        int file;
        const char *begin;
        size_t size;
        long length; /* -1: stays */
        const char *what;
    } cases[] = {
        {0, "", 0, 0, "header"},
        {0, "", 0, 1000, "truncated"},
        {0, "", 0, 16 + TRAIN * PIXELS + 5, "5 bytes after the end"},
        {0, "\x89PNG", 4, -1, "not an idx file"},
        {2, "\0\0\x08\3\x80\0\0\0", 8, -1, "2147483648"},
        {2, "\0\0\x08\3\x7f\xff\xff\xff\x7f\xff\xff\xff\x7f\xff\xff\xff", 16, -1,
         "more than memory"},
        {3, "", 0, 10, "truncated"},
        {1, "\0\0\x0c\1", 4, -1, "i32"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *folder = support_folder();
        fill(folder);
        damage(support_path(folder, names[cases[i].file]), cases[i].begin, cases[i].size,
               cases[i].length);
        nacre_status status =
            strcmp(cases[i].what, "i32") == 0 ? NACRE_UNSUPPORTED : NACRE_BAD_FILE;
        expect_refused(folder, status, names[cases[i].file], cases[i].what);
    }
}

static void a_packed_file_cut_in_the_middle_is_refused_by_name(void **state) {
    (void)state;
    const char *data = support_data("mnist");
    const char *folder = support_folder();
    char packed[64];
    for (int i = 0; i < 4; i++) {
        snprintf(packed, sizeof packed, "%s.gz", names[i]);
        assert_int_equal(symlink(support_path(data, packed), support_path(folder, packed)), 0);
    }
    size_t size;
    char *bytes = support_read(support_path(folder, packed), &size);
    assert_int_equal(unlink(support_path(folder, packed)), 0);
    support_write(support_path(folder, packed), bytes, size / 2);
    free(bytes);
    nacre_mnist mnist;
    nacre_mnist_options options = in(folder);
    nacre_status status = nacre_mnist_open(&options, &mnist);
    if (status == NACRE_UNSUPPORTED) skip(); /* no zlib */
    assert_int_equal(status, NACRE_BAD_FILE);
    assert_non_null(strstr(nacre_error_message(), packed));
    assert_non_null(strstr(nacre_error_message(), "cut off"));
}

static void half_a_set_in_a_usual_place_is_left_alone(void **state) {
    (void)state;
    mkdir("data", 0755);
    write_images("data/train-images-idx3-ubyte", TRAIN, 28);
    nacre_mnist mnist;
    nacre_mnist_options options = in(NULL);
    options.procedural_train = options.procedural_test = 10;
    assert_int_equal(nacre_mnist_open(&options, &mnist), NACRE_OK);
    assert_true(mnist.procedural);
    nacre_mnist_close(&mnist);
    fill("data"); /* complete but damaged is another matter */
    write_labels("data/train-labels-idx1-ubyte", TRAIN, 77);
    expect_refused(NULL, NACRE_BAD_FILE, "./data/train-labels-idx1-ubyte", "label 77");
}

/* ---- what a sample is ---- */

static void pixels_and_labels_are_those_of_the_files(void **state) {
    (void)state;
    const char *folder = support_folder();
    fill(folder);
    nacre_mnist mnist;
    nacre_mnist_options options = in(folder);
    static float plain[2 * PIXELS], scaled[2 * PIXELS];
    const int64_t indices[2] = {6, 1};
    int64_t labels[2];
    assert_int_equal(nacre_mnist_open(&options, &mnist), NACRE_OK);
    assert_string_equal(nacre_dataset_name(mnist.train), "mnist");
    assert_int_equal(nacre_dataset_classes(mnist.train), 10);
    assert_int_equal(nacre_dataset_read(mnist.train, indices, 2, plain, labels), NACRE_OK);
    for (int64_t i = 0; i < 2 * PIXELS; i++)
        assert_true(plain[i] ==
                    (float)((indices[i / PIXELS] * PIXELS + i % PIXELS) % 251) / 255.0f);
    assert_true(labels[0] == 6 && labels[1] == 1);
    nacre_mnist_close(&mnist);

    options.mean = 0.1307, options.std = 0.3081, options.one_hot = true;
    float hot[20];
    assert_int_equal(nacre_mnist_open(&options, &mnist), NACRE_OK);
    assert_int_equal(nacre_dataset_read(mnist.train, indices, 2, scaled, hot), NACRE_OK);
    for (int i = 0; i < 2 * PIXELS; i++) assert_true(scaled[i] == (plain[i] - 0.1307f) / 0.3081f);
    for (int i = 0; i < 20; i++) assert_true(hot[i] == (float)(i == 6 || i == 11));
    nacre_mnist_close(&mnist);
}

static void senseless_options_are_refused(void **state) {
    (void)state;
    nacre_mnist mnist;
    nacre_mnist_options options = in(NULL);
    options.std = -1;
    assert_int_equal(nacre_mnist_open(&options, &mnist), NACRE_INVALID_ARGUMENT);
    options.std = 0, options.mean = NAN;
    assert_int_equal(nacre_mnist_open(&options, &mnist), NACRE_INVALID_ARGUMENT);
    options.mean = 0, options.procedural_test = -4;
    assert_int_equal(nacre_mnist_open(&options, &mnist), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_mnist_open(&(nacre_mnist_options){0}, &mnist), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_mnist_open(NULL, NULL), NACRE_INVALID_ARGUMENT);
    nacre_mnist_close(NULL);
}

static void every_failed_allocation_is_an_error_and_leaks_nothing(void **state) {
    (void)state;
    const char *folder = support_folder();
    fill(folder);
    nacre_mnist mnist;
    nacre_mnist_options named = in(folder), drawn = in(NULL);
    drawn.procedural_train = drawn.procedural_test = 10;
    for (int way = 0; way < 2; way++) {
        const nacre_mnist_options *options = way ? &drawn : &named;
        assert_int_equal(nacre_mnist_open(options, &mnist), NACRE_OK); /* the pool is up */
        nacre_mnist_close(&mnist);
        size_t live = nacre_memory().live_bytes;
        for (uint64_t n = 1;; n++) {
            nacre_memory_fail_at(n);
            nacre_status status = nacre_mnist_open(options, &mnist);
            nacre_memory_fail_at(0);
            if (status == NACRE_OK) {
                assert_true(n > 8);
                nacre_mnist_close(&mnist);
                break;
            }
            assert_int_equal(status, NACRE_OUT_OF_MEMORY);
            assert_int_equal(nacre_memory().live_bytes, live);
        }
    }
}

static void mnist_itself_is_read(void **state) {
    (void)state;
    const char *folder = support_data("mnist");
    nacre_mnist mnist;
    nacre_mnist_options options = in(folder);
    nacre_status status = nacre_mnist_open(&options, &mnist);
    if (status == NACRE_UNSUPPORTED) skip(); /* no zlib */
    assert_int_equal(status, NACRE_OK);
    assert_int_equal(nacre_dataset_count(mnist.train), 60000);
    assert_int_equal(nacre_dataset_count(mnist.test), 10000);
    static float inputs[PIXELS];
    int64_t labels[5];
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < 60000; i++) {
        nacre_dataset_read(mnist.train, &i, 1, inputs, labels);
        for (int p = 0; p < PIXELS; p++) {
            sum += (double)inputs[p];
            squares += (double)inputs[p] * (double)inputs[p];
        }
    }
    double count = 60000.0 * PIXELS, mean = sum / count;
    assert_true(fabs(mean - 0.1307) < 5e-5); /* the figures that everybody normalises with */
    assert_true(fabs(sqrt(squares / count - mean * mean) - 0.3081) < 5e-5);
    nacre_mnist_close(&mnist);
}

#define BARE(test) cmocka_unit_test_setup_teardown(test, bare, restore)

int main(void) {
    const struct CMUnitTest tests[] = {
        BARE(a_named_folder_is_used_itself_or_its_mnist_folder),
        BARE(a_channel_axis_changes_the_shape_alone),
        BARE(other_spellings_of_the_files_are_found),
        BARE(the_variable_is_used_unless_a_folder_is_given),
        BARE(the_usual_places_are_tried_in_order),
        BARE(the_home_folder_stands_in_for_unset_xdg_variables),
        BARE(a_missing_or_empty_named_folder_is_an_error),
        BARE(a_missing_file_is_named),
        BARE(a_folder_in_the_place_of_a_file_is_not_called_missing),
        BARE(files_that_do_not_fit_are_refused_by_name),
        BARE(damaged_files_are_refused_by_name),
        cmocka_unit_test(a_packed_file_cut_in_the_middle_is_refused_by_name),
        BARE(half_a_set_in_a_usual_place_is_left_alone),
        BARE(pixels_and_labels_are_those_of_the_files),
        BARE(senseless_options_are_refused),
        BARE(every_failed_allocation_is_an_error_and_leaks_nothing),
        cmocka_unit_test(mnist_itself_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
