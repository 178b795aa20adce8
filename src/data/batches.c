#include "data/batches.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/thread.h"
#include "data/dataset.h"

#include <stdio.h>

enum { MESSAGE_BYTES = 1024 };

typedef struct slot {
    void *inputs, *targets;
} slot;

struct nacre_batches {
    nacre_loader_options options;
    int64_t count, batches, full;
    int64_t
        *order;  /* of samples in this epoch; the thread reads it only between start and the end */
    slot *slots; /* batch i is in slots[i % slot_count] */
    int64_t slot_count;

    bool threaded, started;
    nacre_os_thread thread;
    pthread_mutex_t mutex; /* guards all below while there is a thread */
    pthread_cond_t wanted; /* there may be something to read */
    pthread_cond_t done;   /* a read has ended */
    bool quit, reading;
    int64_t next_read, next_take, end; /* batches [next_take, next_read) are filled */
    nacre_status status;               /* of the first read that failed: that of batch next_read */
    char message[MESSAGE_BYTES];
};

/* ---- order ---- */

void nacre_shuffled_order(int64_t *order, int64_t count, uint64_t seed, int64_t epoch) {
    uint64_t stream = nacre_random_stream("loader shuffle");
    for (int64_t i = 0; i < count; i++) {
        uint64_t bound = (uint64_t)i + 1;
        int64_t j = (int64_t)nacre_random_below(seed, stream, (uint64_t)epoch, (uint64_t)i, bound);
        order[i] = order[j];
        order[j] = i;
    }
}

/* ---- reading ---- */

static int64_t batch_count(const nacre_batches *b, int64_t index) {
    int64_t left = b->count - index * b->full;
    return left < b->full ? left : b->full;
}

/* Reads batch `index` into its slot. A failure's message is copied: the last error belongs to whichever
   thread this is. */
static nacre_status read_batch(const nacre_batches *b, int64_t index, char message[MESSAGE_BYTES]) {
    const slot *to = &b->slots[index % b->slot_count];
    nacre_status status = nacre_dataset_read(b->options.set, b->order + index * b->full,
                                             batch_count(b, index), to->inputs, to->targets);
    if (status == NACRE_OK) return status;
    bool told = nacre_error_code() == status; /* a reader need not have set the last error */
    snprintf(message, MESSAGE_BYTES, "%s", told ? nacre_error_message() : "");
    if (!told)
        snprintf(message, MESSAGE_BYTES, "loader: reading batch %lld of the set '%s': %s",
                 (long long)index, nacre_dataset_name(b->options.set), nacre_status_string(status));
    return status;
}

static bool has_work(const nacre_batches *b) {
    return b->status == NACRE_OK && b->next_read < b->end &&
           b->next_read - b->next_take < b->slot_count;
}

static void *run(void *argument) {
    nacre_batches *b = argument;
    char message[MESSAGE_BYTES] = "";
    pthread_mutex_lock(&b->mutex);
    while (!b->quit) {
        if (!has_work(b)) {
            pthread_cond_wait(&b->wanted, &b->mutex);
            continue;
        }
        int64_t index = b->next_read;
        b->reading = true;
        pthread_mutex_unlock(&b->mutex);
        nacre_error_clear();
        nacre_status status = read_batch(b, index, message);
        pthread_mutex_lock(&b->mutex);
        b->reading = false;
        b->status = status;
        if (status == NACRE_OK)
            b->next_read++;
        else
            snprintf(b->message, sizeof b->message, "%s", message);
        pthread_cond_signal(&b->done);
    }
    pthread_mutex_unlock(&b->mutex);
    return NULL;
}

static void lock(nacre_batches *b) {
    if (b->threaded) pthread_mutex_lock(&b->mutex);
}

static void unlock(nacre_batches *b) {
    if (b->threaded) pthread_mutex_unlock(&b->mutex);
}

nacre_status nacre_batches_start(nacre_batches *b, int64_t epoch, int64_t first) {
    if (epoch < 0)
        return nacre_fail(NACRE_OUT_OF_RANGE, "loader_start: epoch %lld; they count from 0",
                          (long long)epoch);
    if (first < 0 || first > b->batches)
        return nacre_fail(NACRE_OUT_OF_RANGE, "loader_start: batch %lld of an epoch of %lld",
                          (long long)first, (long long)b->batches);
    lock(b);
    b->end = b->next_read; /* nothing more of the epoch before */
    while (b->reading) pthread_cond_wait(&b->done, &b->mutex);
    if (b->options.shuffle) nacre_shuffled_order(b->order, b->count, b->options.seed, epoch);
    b->started = true;
    b->status = NACRE_OK;
    b->next_read = b->next_take = first;
    b->end = b->batches;
    if (b->threaded) pthread_cond_signal(&b->wanted);
    unlock(b);
    return NACRE_OK;
}

bool nacre_batches_take(nacre_batches *b, nacre_filled *out, nacre_status *status) {
    *status = NACRE_OK;
    if (!b->started) {
        *status = nacre_fail(NACRE_INVALID_STATE, "loader_next: call nacre_loader_start first");
        return false;
    }
    lock(b);
    bool more = b->next_take < b->end;
    if (more && b->threaded) {
        while (b->next_read == b->next_take && b->status == NACRE_OK)
            pthread_cond_wait(&b->done, &b->mutex);
    } else if (more && b->status == NACRE_OK && b->next_read == b->next_take) {
        b->status = read_batch(b, b->next_take, b->message);
        if (b->status == NACRE_OK) b->next_read++;
    }
    bool filled = more && b->next_read > b->next_take;
    if (more && !filled) *status = b->status;
    unlock(b);
    if (filled) {
        const slot *from = &b->slots[b->next_take % b->slot_count];
        *out =
            (nacre_filled){b->next_take, batch_count(b, b->next_take), from->inputs, from->targets};
    } else if (*status != NACRE_OK) {
        /* The thread reads nothing more before the next start: its message stays as it is. */
        nacre_fail(*status, "%s", b->message);
    }
    return filled;
}

void nacre_batches_give(nacre_batches *b) {
    lock(b);
    b->next_take++;
    if (b->threaded) pthread_cond_signal(&b->wanted);
    unlock(b);
}

/* ---- life ---- */

static bool make_slots(nacre_batches *b) {
    size_t inputs, targets;
    const nacre_dataset *set = b->options.set;
    b->slots = nacre_alloc_zeroed((size_t)b->slot_count, sizeof *b->slots);
    if (!b->slots) return false;
    if (!nacre_size_multiply(set->input_bytes, (size_t)b->full, &inputs) ||
        !nacre_size_multiply(set->target_bytes, (size_t)b->full, &targets)) {
        nacre_fail(NACRE_OUT_OF_MEMORY,
                   "loader: a batch of %lld samples exceeds memory; use a smaller one",
                   (long long)b->full);
        return false;
    }
    for (int64_t i = 0; i < b->slot_count; i++) {
        b->slots[i].inputs = nacre_alloc(inputs);
        b->slots[i].targets = nacre_alloc(targets);
        if (!b->slots[i].inputs || !b->slots[i].targets) return false;
    }
    return true;
}

static bool make_order(nacre_batches *b) {
    size_t bytes;
    if (!nacre_size_multiply((size_t)b->count, sizeof *b->order, &bytes)) {
        nacre_fail(NACRE_OUT_OF_MEMORY, "loader: a set of %lld samples exceeds memory",
                   (long long)b->count);
        return false;
    }
    b->order = nacre_alloc(bytes);
    for (int64_t i = 0; b->order && i < b->count; i++) b->order[i] = i;
    return b->order != NULL;
}

static bool start_thread(nacre_batches *b) {
    if (b->options.prefetch == 0) return true;
    pthread_mutex_init(&b->mutex, NULL);
    pthread_cond_init(&b->wanted, NULL);
    pthread_cond_init(&b->done, NULL);
    b->threaded = nacre_thread_start(&b->thread, run, b);
    if (b->threaded) return true;
    nacre_fail(NACRE_OUT_OF_MEMORY, "loader: the system starts no thread; use .prefetch = 0");
    return false;
}

nacre_batches *nacre_batches_new(const nacre_loader_options *options) {
    nacre_batches *b = nacre_alloc_zeroed(1, sizeof *b);
    if (!b) return NULL;
    b->options = *options;
    b->count = nacre_dataset_count(options->set);
    b->full = options->batch_size < b->count ? options->batch_size : b->count;
    bool partial = b->count % b->full != 0 && !options->drop_last;
    b->batches = b->count / b->full + partial;
    b->slot_count = options->prefetch < 1 ? 1 : options->prefetch;
    if (b->slot_count > b->batches) b->slot_count = b->batches;
    if (make_slots(b) && make_order(b) && start_thread(b)) return b;
    nacre_batches_free(b);
    return NULL;
}

void nacre_batches_free(nacre_batches *b) {
    if (!b) return;
    if (b->threaded) {
        pthread_mutex_lock(&b->mutex);
        b->quit = true;
        pthread_cond_signal(&b->wanted);
        pthread_mutex_unlock(&b->mutex);
        nacre_thread_join(b->thread);
        pthread_cond_destroy(&b->done);
        pthread_cond_destroy(&b->wanted);
        pthread_mutex_destroy(&b->mutex);
    }
    for (int64_t i = 0; b->slots && i < b->slot_count; i++) {
        nacre_free(b->slots[i].inputs);
        nacre_free(b->slots[i].targets);
    }
    nacre_free(b->slots);
    nacre_free(b->order);
    nacre_free(b);
}

int64_t nacre_batches_per_epoch(const nacre_batches *b) { return b->batches; }

int64_t nacre_batches_full_size(const nacre_batches *b) { return b->full; }
