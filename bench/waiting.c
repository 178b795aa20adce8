/* How long training waits for its data, as one JSON object:

       waiting mnist|cifar10 [--threads N] [--seconds S]

   Trains the mlp on images of MNIST's shape in the set that nacre_mnist_open makes, or resnet20 on images of CIFAR-10's
   in a set of the program's own, through a loader as nacre_fit's: shuffled, two batches read ahead where the loader
   finds that it pays. What the images show does not matter to the time: they are made up. Waiting is the time in
   nacre_loader_start and nacre_loader_next; the share is that of the whole. */
#include "base/clock.h"
#include "base/memory.h"
#include "data/dataset.h"

#include <nacre/nacre.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The program's own workloads: one source, not in the library. */
#include "cli/workloads.c"

/* More bytes than a cache holds. */
enum { SAMPLES = 20000, PREFETCH = 2, WARM_UP = 20 };

typedef struct images {
    nacre_shape shape;
    size_t pixels;
    uint8_t *bytes; /* [SAMPLES, pixels] */
} images;

static const struct {
    const char *name, *workload;
    images set;
} sets[] = {
    {"mnist", "mlp", {.shape = {.ndim = 2, .dims = {28, 28}}, .pixels = 784}},
    {"cifar10", "resnet20", {.shape = {.ndim = 3, .dims = {3, 32, 32}}, .pixels = 3072}},
};

static nacre_status read_images(void *user, const int64_t *indices, int64_t n, void *inputs,
                                void *targets) {
    const images *set = user;
    float *out = inputs;
    int64_t *classes = targets;
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *in = set->bytes + (size_t)indices[i] * set->pixels;
        for (size_t k = 0; k < set->pixels; k++) {
            *out++ = (float)in[k] * (1.0F / 255);
        }
        classes[i] = indices[i] % 10;
    }
    return NACRE_OK;
}

static void free_images(void *user) {
    images *set = user;
    nacre_free(set->bytes);
}

/* Grey images as the library keeps them. */
static nacre_dataset *open_grey(const images *set) {
    uint8_t *labels = nacre_alloc(SAMPLES);
    if (!labels) {
        nacre_free(set->bytes);
        return NULL;
    }
    for (size_t i = 0; i < SAMPLES; i++) {
        labels[i] = (uint8_t)(i % 10);
    }
    return nacre_dataset_from_images(&(nacre_images){.pixels = set->bytes,
                                                     .labels = labels,
                                                     .count = SAMPLES,
                                                     .height = set->shape.dims[0],
                                                     .width = set->shape.dims[1],
                                                     .classes = 10,
                                                     .name = "made up"});
}

static nacre_dataset *open_set(images *set) {
    set->bytes = nacre_alloc(SAMPLES * set->pixels);
    if (!set->bytes) {
        return NULL;
    }
    for (size_t i = 0; i < SAMPLES * set->pixels; i++) {
        set->bytes[i] = (uint8_t)(i * 2654435761U >> 24);
    }
    if (set->shape.ndim == 2) {
        return open_grey(set);
    }
    return nacre_dataset_create(.count = SAMPLES, .input_shape = set->shape, .classes = 10,
                                .read = read_images, .destroy = free_images, .user = set,
                                .name = "made up");
}

typedef struct waits {
    int64_t steps;
    uint64_t waiting_ns, whole_ns;
} waits;

/* The next batch of this epoch, or the first of the next one. */
static nacre_status next_batch(nacre_loader *loader, int64_t *epoch, nacre_batch *batch) {
    nacre_status status = NACRE_OK;
    if (*epoch >= 0 && nacre_loader_next(loader, batch, &status)) {
        return status;
    }
    status = status ? status : nacre_loader_start(loader, ++*epoch, 0);
    if (status == NACRE_OK) {
        nacre_loader_next(loader, batch, &status);
    }
    return status;
}

static nacre_status train_from(nacre_cli_job *job, nacre_loader *loader, double seconds,
                               waits *out) {
    int64_t epoch = -1;
    uint64_t end = UINT64_MAX, start = 0, now = 0;
    nacre_status status = NACRE_OK;
    for (int64_t i = 0; status == NACRE_OK && now < end; i++) {
        nacre_scope scope = nacre_scope_begin();
        uint64_t begin = nacre_clock_ns(), came;
        if (i == WARM_UP) {
            *out = (waits){0};
            start = begin;
            end = begin + (uint64_t)(seconds * 1e9);
        }
        status = next_batch(loader, &epoch, &job->batch);
        came = nacre_clock_ns();
        status = status ? status : nacre_cli_job_run(job, NACRE_CLI_STEP, NULL);
        now = nacre_clock_ns();
        out->steps++;
        out->waiting_ns += came - begin;
        nacre_scope_end(scope);
    }
    out->whole_ns = now - start;
    return status;
}

static nacre_status measure(const char *workload, nacre_dataset *set, int threads, double seconds,
                            waits *out) {
    const nacre_cli_workload *used = nacre_cli_find_workload(workload);
    nacre_cli_job job = {0};
    nacre_status status = nacre_set_threads(threads);
    status = status ? status : nacre_cli_job_make(used, used->batch_size, 1, &job);
    if (status == NACRE_OK) {
        nacre_loader *loader =
            nacre_loader_create(set, .batch_size = used->batch_size, .shuffle = true,
                                .drop_last = true, .seed = 1, .prefetch = PREFETCH);
        status = loader ? train_from(&job, loader, seconds, out) : nacre_error_code();
        nacre_loader_free(loader);
    }
    nacre_cli_job_free(&job);
    return status;
}

static int run(size_t which, int threads, double seconds) {
    images made = sets[which].set;
    waits found = {0};
    nacre_dataset *set = open_set(&made);
    nacre_status status =
        set ? measure(sets[which].workload, set, threads, seconds, &found) : NACRE_OUT_OF_MEMORY;
    if (status != NACRE_OK) {
        fprintf(stderr, "waiting: %s\n", set ? nacre_error_message() : "no memory");
    } else {
        double steps = (double)found.steps;
        printf("{\"set\": \"%s\", \"workload\": \"%s\", \"threads\": %d, \"steps\": %lld, "
               "\"us_waiting\": %.3f, \"us_step\": %.3f, \"share\": %.5f}\n",
               sets[which].name, sets[which].workload, nacre_threads(), (long long)found.steps,
               (double)found.waiting_ns * 1e-3 / steps, (double)found.whole_ns * 1e-3 / steps,
               (double)found.waiting_ns / (double)found.whole_ns);
    }
    nacre_dataset_free(set);
    return status == NACRE_OK ? 0 : 1;
}

int main(int argc, char **argv) {
    enum { COUNT = sizeof sets / sizeof *sets };
    size_t which = COUNT;
    int threads = 1;
    double seconds = 1;
    for (size_t i = 0; argc > 1 && i < COUNT; i++) {
        which = strcmp(argv[1], sets[i].name) == 0 ? i : which;
    }
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc) {
            threads = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
            seconds = atof(argv[++i]);
        } else {
            threads = 0;
        }
    }
    if (which == COUNT || threads < 1 || !(seconds > 0 && seconds < 3600)) {
        fprintf(stderr, "usage: waiting mnist|cifar10 [--threads N] [--seconds S]\n");
        return 2;
    }
    return run(which, threads, seconds);
}
