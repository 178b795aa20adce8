/* MNIST: where its four files are looked for, and what they must hold. */
#define _POSIX_C_SOURCE 200809L

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "data/dataset.h"
#include "data/download.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILES = 4, SIDE = 28, CLASSES = 10, FOLDER_BYTES = sizeof((nacre_mnist *)0)->folder };

enum { TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS };

/* Some unpackers turn a dash into a dot; packed or not is told by a file's content. */
enum { FORMS = 4, PATH_BYTES = FOLDER_BYTES + 32 };
static const char *const file_names[FILES][FORMS] = {
    {"train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", "train-images.idx3-ubyte",
     "train-images.idx3-ubyte.gz"},
    {"train-labels-idx1-ubyte", "train-labels-idx1-ubyte.gz", "train-labels.idx1-ubyte",
     "train-labels.idx1-ubyte.gz"},
    {"t10k-images-idx3-ubyte", "t10k-images-idx3-ubyte.gz", "t10k-images.idx3-ubyte",
     "t10k-images.idx3-ubyte.gz"},
    {"t10k-labels-idx1-ubyte", "t10k-labels-idx1-ubyte.gz", "t10k-labels.idx1-ubyte",
     "t10k-labels.idx1-ubyte.gz"},
};

/* A folder that holds some of the four files. */
typedef struct place {
    char folder[FOLDER_BYTES];
    const char *name[FILES]; /* NULL: absent */
    int found;
} place;

/* ---- looking ---- */

/* Of any kind: a folder in the place of a file is then refused by name, not taken for absent. */
static bool exists(const char *path) {
    struct stat status;
    return stat(path, &status) == 0;
}

static bool is_folder(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* base, less the slashes at its end, + below, such as DIR and "/mnist"; false if that is too long. */
static bool join(char folder[FOLDER_BYTES], const char *base, const char *below) {
    size_t kept = strlen(base);
    if (kept >= FOLDER_BYTES) return false;
    while (kept > 0 && base[kept - 1] == '/' && (kept > 1 || *below)) kept--;
    int length = snprintf(folder, FOLDER_BYTES, "%.*s%s", (int)kept, base, below);
    return length > 0 && length < FOLDER_BYTES;
}

static void look_in(place *p) {
    char path[PATH_BYTES];
    p->found = 0;
    for (int f = 0; f < FILES; f++) {
        p->name[f] = NULL;
        for (int form = 0; form < FORMS && !p->name[f]; form++) {
            snprintf(path, sizeof path, "%s/%s", p->folder, file_names[f][form]);
            if (exists(path)) p->name[f] = file_names[f][form];
        }
        p->found += p->name[f] != NULL;
    }
}

static const char *first_missing(const place *p) {
    for (int f = 0; f < FILES; f++) {
        if (!p->name[f]) return file_names[f][0];
    }
    return "";
}

/* A folder that was named: all four files are in it or in its mnist folder, or that is an error.
   `who` names it: ".folder" or "NACRE_DATA". */
static nacre_status look_in_named(const char *named, const char *who, place *p) {
    if (strlen(named) + sizeof "/mnist" > FOLDER_BYTES)
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "mnist: %s: the path has %zu characters, at most %zu", who, strlen(named),
                          FOLDER_BYTES - sizeof "/mnist");
    if (!is_folder(named))
        return nacre_fail(NACRE_NOT_FOUND,
                          "%s: no such data folder (%s); name the one that holds the MNIST files",
                          named, who);
    join(p->folder, named, "/mnist");
    look_in(p);
    if (p->found == 0) {
        join(p->folder, named, "");
        look_in(p);
    }
    if (p->found == FILES) return NACRE_OK;
    if (p->found == 0)
        return nacre_fail(
            NACRE_NOT_FOUND,
            "%s: the data folder (%s) holds no MNIST files; put %s[.gz] and the other three "
            "in it or in its folder mnist",
            named, who, file_names[0][0]);
    return nacre_fail(NACRE_NOT_FOUND,
                      "%s: %s[.gz] is missing beside the other MNIST files; put it there",
                      p->folder, first_missing(p));
}

/* $variable/nacre, or ~/below/nacre. The XDG base directory specification has relative paths ignored. */
static bool xdg_folder(char folder[FOLDER_BYTES], const char *variable, const char *below) {
    const char *base = getenv(variable);
    if (base && base[0] == '/') return join(folder, base, "/nacre");
    char under[64];
    const char *home = getenv("HOME");
    if (!home || home[0] != '/') return false;
    snprintf(under, sizeof under, "%s/nacre", below);
    return join(folder, home, under);
}

static bool cache_folder(char folder[FOLDER_BYTES]) {
    return xdg_folder(folder, "XDG_CACHE_HOME", "/.cache");
}

/* The usual places. Some of the files without the others are left alone, which the log says. */
static bool look_around(place *p) {
    char base[3][FOLDER_BYTES] = {"./data", "", ""};
    bool known[3] = {true, xdg_folder(base[1], "XDG_DATA_HOME", "/.local/share"),
                     cache_folder(base[2])};
    for (int i = 0; i < 6; i++) {
        if (!known[i / 2] || !join(p->folder, base[i / 2], i % 2 ? "" : "/mnist")) continue;
        look_in(p);
        if (p->found == FILES) return true;
        if (p->found > 0)
            nacre_log("%s: not used: %s[.gz] is missing beside the other MNIST files", p->folder,
                      first_missing(p));
    }
    return false;
}

/* ---- reading ---- */

static nacre_status check_images(const char *path, const nacre_idx *idx) {
    if (idx->ndim != 3)
        return nacre_fail(NACRE_BAD_FILE,
                          "%s: %d dimensions, expected 3 (images, rows, columns); put "
                          "the file of the images there",
                          path, idx->ndim);
    if (idx->dims[0] == 0)
        return nacre_fail(NACRE_BAD_FILE, "%s: holds no images; download the file again", path);
    if (idx->dims[1] != SIDE || idx->dims[2] != SIDE)
        return nacre_fail(
            NACRE_BAD_FILE,
            "%s: images of %lldx%lld pixels, MNIST's are %dx%d; scale them to that, or "
            "read them with nacre_idx_load",
            path, (long long)idx->dims[1], (long long)idx->dims[2], SIDE, SIDE);
    return NACRE_OK;
}

static nacre_status check_labels(const char *path, const nacre_idx *idx, const char *images_path,
                                 int64_t images) {
    if (idx->ndim != 1)
        return nacre_fail(NACRE_BAD_FILE,
                          "%s: %d dimensions, expected 1; put the file of the labels there", path,
                          idx->ndim);
    if (idx->dims[0] != images)
        return nacre_fail(NACRE_BAD_FILE,
                          "%s: %lld labels for the %lld images of %s; the two files do not "
                          "belong together, download both again",
                          path, (long long)idx->dims[0], (long long)images, images_path);
    for (int64_t i = 0; i < images; i++) {
        if (idx->data[i] >= CLASSES)
            return nacre_fail(NACRE_BAD_FILE,
                              "%s: label %d of sample %lld is not a digit; the file is "
                              "damaged, download it again",
                              path, idx->data[i], (long long)i);
    }
    return NACRE_OK;
}

/* Images and labels of one split, checked; the caller owns both arrays. */
static nacre_status load_split(const place *p, int images_file, int labels_file,
                               nacre_images *out) {
    char images_path[PATH_BYTES], labels_path[PATH_BYTES];
    snprintf(images_path, sizeof images_path, "%s/%s", p->folder, p->name[images_file]);
    snprintf(labels_path, sizeof labels_path, "%s/%s", p->folder, p->name[labels_file]);
    nacre_idx images = {0}, labels = {0};
    nacre_status status = nacre_idx_load(images_path, &images);
    if (status == NACRE_OK) status = check_images(images_path, &images);
    if (status == NACRE_OK) status = nacre_idx_load(labels_path, &labels);
    if (status == NACRE_OK)
        status = check_labels(labels_path, &labels, images_path, images.dims[0]);
    if (status != NACRE_OK) {
        nacre_idx_free(&images);
        nacre_idx_free(&labels);
        return status;
    }
    *out = (nacre_images){.pixels = images.data,
                          .labels = labels.data,
                          .count = images.dims[0],
                          .height = SIDE,
                          .width = SIDE,
                          .classes = CLASSES,
                          .name = "mnist"};
    return NACRE_OK;
}

/* ---- opening ---- */

static nacre_dataset *make_set(nacre_images *images, const nacre_mnist_options *o) {
    images->one_hot = o->one_hot;
    images->channel = o->channel;
    images->mean = o->mean;
    images->std = o->std;
    return nacre_dataset_from_images(images);
}

static nacre_status finish(nacre_mnist *out) {
    if (out->train && out->test) return NACRE_OK;
    nacre_mnist_close(out);
    return nacre_error_code();
}

static nacre_status open_place(const place *p, const nacre_mnist_options *o, nacre_mnist *out) {
    nacre_images train, test;
    nacre_status status = load_split(p, TRAIN_IMAGES, TRAIN_LABELS, &train);
    if (status != NACRE_OK) return status;
    out->train = make_set(&train, o);
    if (!out->train) return finish(out);
    status = load_split(p, TEST_IMAGES, TEST_LABELS, &test);
    if (status != NACRE_OK) {
        nacre_mnist_close(out);
        return status;
    }
    out->test = make_set(&test, o);
    memcpy(out->folder, p->folder, sizeof out->folder);
    return finish(out);
}

static nacre_status open_procedural(const nacre_mnist_options *o, nacre_mnist *out) {
    uint64_t seed = o->seed ? o->seed : 1;
    nacre_images train, test;
    nacre_status status = nacre_digits_draw(o->procedural_train ? o->procedural_train : 20000, seed,
                                            NACRE_DIGITS_TRAIN, &train);
    if (status != NACRE_OK) return status;
    out->procedural = true;
    out->train = make_set(&train, o);
    if (!out->train) return finish(out);
    status = nacre_digits_draw(o->procedural_test ? o->procedural_test : 4000, seed,
                               NACRE_DIGITS_TEST, &test);
    if (status != NACRE_OK) {
        nacre_mnist_close(out);
        return status;
    }
    out->test = make_set(&test, o);
    return finish(out);
}

/* Not found anywhere: the network, and failing that drawn digits. */
static nacre_status open_elsewhere(const nacre_mnist_options *o, place *p, nacre_mnist *out) {
    char reason[NACRE_DOWNLOAD_REASON] = "downloading was switched off";
    char cache[FOLDER_BYTES];
    if (!o->no_download) {
        nacre_status status = NACRE_NOT_FOUND;
        if (cache_folder(cache) && join(p->folder, cache, "/mnist"))
            status = nacre_download_mnist(p->folder, reason);
        else
            snprintf(reason, sizeof reason, "neither HOME nor XDG_CACHE_HOME says where to put it");
        if (status == NACRE_CANCELLED)
            return nacre_fail(status, "mnist: the download was cancelled");
        if (status == NACRE_OK) {
            look_in(p);
            if (p->found == FILES) return open_place(p, o, out);
            snprintf(reason, sizeof reason, "another program removed the files again");
        }
    }
    nacre_log(
        "warning: MNIST was not found and not downloaded (%s): using drawn digits instead; for the "
        "real ones put the four files in ./data/mnist or set NACRE_DATA to their folder",
        reason);
    return open_procedural(o, out);
}

nacre_status nacre_mnist_open(const nacre_mnist_options *options, nacre_mnist *out) {
    nacre_mnist_options o = {0};
    if (!out) return nacre_fail(NACRE_INVALID_ARGUMENT, "mnist_open: out is NULL");
    *out = (nacre_mnist){0};
    if (options && !nacre_data_options_take(&o, sizeof o, options, "mnist_open"))
        return NACRE_INVALID_ARGUMENT;
    if (!isfinite(o.mean) || !isfinite(o.std) || o.std < 0)
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "mnist_open: mean %g and std %g; finite, std at least 0", o.mean, o.std);
    if (o.procedural_train < 0 || o.procedural_test < 0)
        return nacre_fail(NACRE_INVALID_ARGUMENT, "mnist_open: procedural_%s is negative",
                          o.procedural_train < 0 ? "train" : "test");
    if (o.procedural && o.folder)
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "mnist_open: .folder and .procedural exclude each other");
    if (o.procedural) return open_procedural(&o, out);
    place p;
    const char *named = o.folder, *variable = getenv("NACRE_DATA");
    if (!named && variable && *variable) named = variable;
    if (named) {
        nacre_status status = look_in_named(named, o.folder ? ".folder" : "NACRE_DATA", &p);
        return status == NACRE_OK ? open_place(&p, &o, out) : status;
    }
    return look_around(&p) ? open_place(&p, &o, out) : open_elsewhere(&o, &p, out);
}

void nacre_mnist_close(nacre_mnist *mnist) {
    if (!mnist) return;
    nacre_dataset_free(mnist->train);
    nacre_dataset_free(mnist->test);
    *mnist = (nacre_mnist){0};
}
