/* nacre bench loader: samples a second out of the loader that training reads from, without training. */
#include "base/clock.h"
#include "base/error.h"
#include "cli/bench.h"
#include "cli/output.h"

#include <inttypes.h>
#include <nacre/data.h>
#include <nacre/system.h>

enum { DEFAULT_BATCH = 64, SLICES = 5, PREFETCH = 2 };

typedef struct throughput {
    int64_t samples, batches, epochs, set;
    double seconds, best; /* samples a second of the best slice */
} throughput;

/* Reads batches until `end`; an epoch that ends is followed by the next. */
static nacre_status read_until(nacre_loader *loader, uint64_t end, throughput *t) {
    nacre_status status = NACRE_OK;
    bool more = false;
    do {
        nacre_batch batch;
        nacre_scope scope = nacre_scope_begin();
        if (!more) {
            status = nacre_loader_start(loader, t->epochs++, 0);
        }
        more = status == NACRE_OK && nacre_loader_next(loader, &batch, &status);
        t->samples += more ? batch.count : 0;
        t->batches += more;
        nacre_scope_end(scope);
    } while (status == NACRE_OK && nacre_clock_ns() < end);
    return status;
}

static nacre_status measure(const nacre_dataset *set, int64_t batch, double seconds, int prefetch,
                            throughput *t) {
    *t = (throughput){.set = nacre_dataset_count(set)};
    nacre_loader_options options = {.size = sizeof options,
                                    .set = set,
                                    .batch_size = batch,
                                    .shuffle = true,
                                    .seed = 1,
                                    .prefetch = prefetch};
    nacre_loader *loader = nacre_loader_new(&options);
    nacre_status status = loader ? NACRE_OK : nacre_error_code();
    for (int i = 0; status == NACRE_OK && i < SLICES; i++) {
        int64_t before = t->samples;
        uint64_t begin = nacre_clock_ns();
        status = read_until(loader, begin + (uint64_t)(seconds / SLICES * 1e9), t);
        double taken = (double)(nacre_clock_ns() - begin) * 1e-9;
        double rate = (double)(t->samples - before) / taken;
        t->seconds += taken;
        t->best = rate > t->best ? rate : t->best;
    }
    nacre_loader_free(loader);
    return status;
}

static void append_json(int64_t batch, const throughput *direct, const throughput *ahead,
                        nacre_text *text) {
    nacre_text_append(text,
                      "{\"workload\":\"loader\",\"batch\":%" PRId64 ",\"set\":%" PRId64
                      ",\"batches\":%" PRId64,
                      batch, ahead->set, ahead->batches);
    nacre_cli_append_figure(text, "samples_per_s", ahead->best);
    nacre_cli_append_figure(text, "samples_per_s_mean", (double)ahead->samples / ahead->seconds);
    nacre_cli_append_figure(text, "samples_per_s_direct", direct->best);
    nacre_text_append(text, "}\n");
}

static void append_table(int64_t batch, const throughput *direct, const throughput *ahead,
                         nacre_text *text) {
    nacre_text_append(text,
                      "loader, %" PRId64 " images of 28 x 28 bytes, shuffled, batch %" PRId64
                      ": %" PRId64 " batches\n"
                      "as training reads  %.0f samples/s at best, %.0f on average\n"
                      "read when asked    %.0f samples/s at best\n",
                      ahead->set, batch, ahead->batches, ahead->best,
                      (double)ahead->samples / ahead->seconds, direct->best);
}

int nacre_cli_bench_loader(const nacre_cli_bench_values *values) {
    int64_t batch = values->batch_size ? values->batch_size : DEFAULT_BATCH;
    nacre_mnist_options options = {.size = sizeof options, .procedural = true};
    nacre_mnist mnist = {0};
    throughput direct, ahead;
    nacre_status status = nacre_mnist_open(&options, &mnist);
    if (status == NACRE_OK) {
        status = measure(mnist.train, batch, values->seconds / 2, 0, &direct);
    }
    if (status == NACRE_OK) {
        status = measure(mnist.train, batch, values->seconds / 2, PREFETCH, &ahead);
    }
    nacre_mnist_close(&mnist);
    if (status != NACRE_OK) {
        return nacre_cli_library_error();
    }
    nacre_text text = {0};
    (values->json ? append_json : append_table)(batch, &direct, &ahead, &text);
    return nacre_cli_print(&text);
}
