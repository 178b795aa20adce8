/* Reading a set batch by batch into memory that the caller gives, ahead of its use if wanted. Knows no tensors, so
   its thread touches none. */
#ifndef NACRE_DATA_BATCHES_H
#define NACRE_DATA_BATCHES_H

#include <nacre/data.h>

typedef struct nacre_batches nacre_batches;

/* Where a batch goes. */
typedef struct nacre_place {
    void *inputs, *targets;
} nacre_place;

/* Two sizes of batches, each with places of its own, used in turn. A batch that was taken keeps its place until the
   second next one is taken; so many more are read ahead. */
typedef enum nacre_batch_size { NACRE_BATCH_FULL, NACRE_BATCH_LAST } nacre_batch_size;
enum { NACRE_BATCH_SIZES = 2 };

/* The batch that comes next. */
typedef struct nacre_turn {
    int64_t index, count; /* of the batch within its epoch; its samples */
    nacre_batch_size size;
    int64_t place;
    /* The place that reading may use once this batch is taken: what was there is no longer valid. Without reading
       ahead, this batch's own. */
    int64_t freed;
} nacre_turn;

/* NULL on error. The options are complete and copied. */
nacre_batches *nacre_batches_new(const nacre_loader_options *options);
void nacre_batches_free(nacre_batches *b); /* NULL is fine; also in the middle of an epoch */
int64_t nacre_batches_per_epoch(const nacre_batches *b);

/* Samples of a batch of that size, and how many places it has: none where no such batch comes. */
int64_t nacre_batches_samples(const nacre_batches *b, nacre_batch_size size);
int64_t nacre_batches_places(const nacre_batches *b, nacre_batch_size size);
/* Every place has its memory before the first start; afterwards only the one that a turn frees gets another. */
void nacre_batches_put(nacre_batches *b, nacre_batch_size size, int64_t index, nacre_place place);

/* Order of samples in an epoch: Fisher-Yates (Knuth, The Art of Computer Programming 2, algorithm P)
   with draws that are a function of (seed, epoch). */
void nacre_shuffled_order(int64_t *order, int64_t count, uint64_t seed, int64_t epoch);

nacre_status nacre_batches_start(nacre_batches *b, int64_t epoch, int64_t first);
/* What comes next; false at the end, and before the first start, which *status says. Changes nothing. */
bool nacre_batches_turn(const nacre_batches *b, nacre_turn *out, nacre_status *status);
/* Takes it: it is in its place then. An error stays until the next start. */
nacre_status nacre_batches_take(nacre_batches *b);

#endif
