/* Reading a set batch by batch into plain memory, ahead of its use if wanted. Knows no tensors, so its
   thread touches none. */
#ifndef NACRE_DATA_BATCHES_H
#define NACRE_DATA_BATCHES_H

#include <nacre/data.h>

typedef struct nacre_batches nacre_batches;

/* A batch in memory that belongs to the reader. */
typedef struct nacre_filled {
    int64_t index, count;
    void *inputs, *targets;
} nacre_filled;

/* NULL on error. The options are complete and copied. */
nacre_batches *nacre_batches_new(const nacre_loader_options *options);
void nacre_batches_free(nacre_batches *b); /* NULL is fine; also in the middle of an epoch */
int64_t nacre_batches_per_epoch(const nacre_batches *b);
int64_t nacre_batches_full_size(const nacre_batches *b); /* samples in all batches but the last */

/* Order of samples in an epoch: Fisher-Yates (Knuth, The Art of Computer Programming 2, algorithm P)
   with draws that are a function of (seed, epoch). */
void nacre_shuffled_order(int64_t *order, int64_t count, uint64_t seed, int64_t epoch);

nacre_status nacre_batches_start(nacre_batches *b, int64_t epoch, int64_t first);
/* The next batch, valid until it is given back; false at the end, and on an error, which *status says.
   An error stays until the next start. */
bool nacre_batches_take(nacre_batches *b, nacre_filled *out, nacre_status *status);
void nacre_batches_give(nacre_batches *b);

#endif
