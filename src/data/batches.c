#include "data/batches.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/thread.h"
#include "data/dataset.h"

#include <stdio.h>

enum {
    MESSAGE_BYTES = 1024,
    VALID = 2, /* batches that stay as they are: the last one taken and the one before */
    DIRECT_BYTES = 1 << 20, /* batches of sets in memory up to this size are read when asked for */
};

/* Places of one size of batches. */
typedef struct ring {
    int64_t samples; /* of a batch */
    int64_t count;
    uint64_t taken; /* batches ever: the next one's place is taken % count */
    nacre_place *places;
} ring;

struct nacre_batches {
    nacre_loader_options options;
    int64_t count, batches, full;
    int64_t
        *order; /* of samples in this epoch; the thread reads it only between start and the end */
    int64_t ahead; /* batches read ahead at most; 0: there is no thread */
    ring rings[NACRE_BATCH_SIZES];

    bool threaded, started;
    nacre_os_thread thread;
    pthread_mutex_t mutex; /* guards all below, and the rings, while there is a thread */
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

static nacre_batch_size size_of(const nacre_batches *b, int64_t index) {
    return (index + 1) * b->full > b->count ? NACRE_BATCH_LAST : NACRE_BATCH_FULL;
}

/* Where batch `index` goes, index >= next_take. All of an epoch but its last one are full. */
static int64_t place_of(const nacre_batches *b, int64_t index) {
    nacre_batch_size size = size_of(b, index);
    const ring *r = &b->rings[size];
    uint64_t before = size == NACRE_BATCH_FULL ? (uint64_t)(index - b->next_take) : 0;
    return (int64_t)((r->taken + before) % (uint64_t)r->count);
}

/* Reads batch `index`. A failure's message is copied: the last error belongs to whichever thread this is. */
static nacre_status read_batch(const nacre_batches *b, int64_t index, nacre_place to,
                               char message[MESSAGE_BYTES]) {
    int64_t samples = b->rings[size_of(b, index)].samples;
    nacre_status status = nacre_dataset_read(b->options.set, b->order + index * b->full, samples,
                                             to.inputs, to.targets);
    if (status == NACRE_OK) return status;
    bool told = nacre_error_code() == status; /* a reader need not have set the last error */
    snprintf(message, MESSAGE_BYTES, "%s", told ? nacre_error_message() : "");
    if (!told)
        snprintf(message, MESSAGE_BYTES, "loader: reading batch %lld of the set '%s': %s",
                 (long long)index, nacre_dataset_name(b->options.set), nacre_status_string(status));
    return status;
}

static bool has_work(const nacre_batches *b) {
    return b->status == NACRE_OK && b->next_read < b->end && b->next_read - b->next_take < b->ahead;
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
        nacre_place to = b->rings[size_of(b, index)].places[place_of(b, index)];
        b->reading = true;
        pthread_mutex_unlock(&b->mutex);
        nacre_error_clear();
        nacre_status status = read_batch(b, index, to, message);
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
    unlock(b);
    if (b->threaded) pthread_cond_signal(&b->wanted);
    return NACRE_OK;
}

bool nacre_batches_turn(const nacre_batches *b, nacre_turn *out, nacre_status *status) {
    *status = NACRE_OK;
    if (!b->started) {
        *status = nacre_fail(NACRE_INVALID_STATE, "loader_next: call nacre_loader_start first");
        return false;
    }
    /* Only the caller's thread changes what is read here. */
    if (b->next_take >= b->batches) return false;
    nacre_batch_size size = size_of(b, b->next_take);
    const ring *r = &b->rings[size];
    *out = (nacre_turn){
        .index = b->next_take,
        .count = r->samples,
        .size = size,
        .place = place_of(b, b->next_take),
        .freed = (int64_t)((r->taken + (uint64_t)(r->count - VALID)) % (uint64_t)r->count)};
    return true;
}

/* The next batch, if it is not there yet: waits for the thread, or reads it. */
static nacre_status fill_next(nacre_batches *b) {
    if (b->threaded) {
        while (b->next_read == b->next_take && b->status == NACRE_OK)
            pthread_cond_wait(&b->done, &b->mutex);
    } else if (b->status == NACRE_OK && b->next_read == b->next_take) {
        const ring *r = &b->rings[size_of(b, b->next_take)];
        b->status = read_batch(b, b->next_take, r->places[place_of(b, b->next_take)], b->message);
        if (b->status == NACRE_OK) b->next_read++;
    }
    return b->next_read > b->next_take ? NACRE_OK : b->status;
}

nacre_status nacre_batches_take(nacre_batches *b) {
    lock(b);
    nacre_status status = fill_next(b);
    if (status == NACRE_OK) b->rings[size_of(b, b->next_take++)].taken++;
    unlock(b);
    if (status == NACRE_OK && b->threaded) {
        pthread_cond_signal(&b->wanted); /* unlocked: the thread does not run into the mutex */
    } else if (status != NACRE_OK) {
        /* The thread reads nothing more before the next start: its message stays as it is. */
        nacre_fail(status, "%s", b->message);
    }
    return status;
}

void nacre_batches_put(nacre_batches *b, nacre_batch_size size, int64_t index, nacre_place place) {
    lock(b);
    b->rings[size].places[index] = place;
    unlock(b);
}

/* ---- life ---- */

/* Not where waking the thread and fetching what it wrote to the cache of another core takes longer than reading. */
static bool worth_ahead(const nacre_batches *b) {
    const nacre_dataset *set = b->options.set;
    size_t direct = DIRECT_BYTES;
    return !set->in_memory || set->input_bytes + set->target_bytes > direct / (size_t)b->full;
}

static bool fits_memory(const nacre_batches *b) {
    size_t inputs, targets;
    const nacre_dataset *set = b->options.set;
    if (nacre_size_multiply(set->input_bytes, (size_t)b->full, &inputs) &&
        nacre_size_multiply(set->target_bytes, (size_t)b->full, &targets) &&
        inputs <= PTRDIFF_MAX && targets <= PTRDIFF_MAX)
        return true;
    nacre_fail(NACRE_OUT_OF_MEMORY,
               "loader: a batch of %lld samples exceeds memory; use a smaller one",
               (long long)b->full);
    return false;
}

static bool make_places(nacre_batches *b) {
    int64_t missing = b->batches * b->full - b->count; /* of the last batch; < 0: it is dropped */
    b->rings[NACRE_BATCH_FULL] = (ring){.samples = b->full, .count = b->ahead + VALID};
    if (missing > 0)
        b->rings[NACRE_BATCH_LAST] =
            (ring){.samples = b->full - missing, .count = (b->ahead > 0) + VALID};
    for (int size = 0; size < NACRE_BATCH_SIZES; size++) {
        ring *r = &b->rings[size];
        if (r->count > 0) r->places = nacre_alloc_zeroed((size_t)r->count, sizeof *r->places);
        if (r->count > 0 && !r->places) return false;
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
    if (b->ahead == 0) return true;
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
    b->ahead = worth_ahead(b) ? options->prefetch : 0;
    if (b->ahead > b->batches) b->ahead = b->batches;
    if (fits_memory(b) && make_order(b) && make_places(b) && start_thread(b)) return b;
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
    for (int size = 0; size < NACRE_BATCH_SIZES; size++) nacre_free(b->rings[size].places);
    nacre_free(b->order);
    nacre_free(b);
}

int64_t nacre_batches_per_epoch(const nacre_batches *b) { return b->batches; }

int64_t nacre_batches_samples(const nacre_batches *b, nacre_batch_size size) {
    return b->rings[size].samples;
}

int64_t nacre_batches_places(const nacre_batches *b, nacre_batch_size size) {
    return b->rings[size].count;
}
