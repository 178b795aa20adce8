/* What the folder's files share: option structs of any age, and image sets kept as bytes. */
#ifndef NACRE_DATA_DATASET_H
#define NACRE_DATA_DATASET_H

#include <nacre/data.h>

struct nacre_dataset {
    nacre_dataset_options options;    /* name is a copy */
    size_t input_bytes, target_bytes; /* of one sample */
    bool in_memory;                   /* reading a sample is little more than copying it */
};

/* Copies what both sides know of an options struct, which begins with its size; the rest is zero. false
   (last error set, naming `what`) when it is NULL or its size was not set. */
bool nacre_data_options_take(void *to, size_t size, const void *from, const char *what);

/* Bytes of one element block of that shape, checked: `what` names it in the message. A shape's extents
   must be positive and leave room for the batch axis. */
nacre_status nacre_sample_bytes(const nacre_shape *shape, nacre_dtype dtype, const char *what,
                                size_t *bytes);

/* Grey images and their classes in memory as bytes; inputs are read as [height, width] f32. */
typedef struct nacre_images {
    uint8_t *pixels; /* [count, height, width]; owned */
    uint8_t *labels; /* [count]; owned */
    int64_t count, height, width, classes;
    bool one_hot;     /* targets [classes] f32, else i64 */
    bool channel;     /* [1, height, width], else [height, width] */
    double mean, std; /* p / 255 becomes (p / 255 - mean) / std; std 0: stays */
    const char *name;
} nacre_images;

/* NULL on error. Takes pixels and labels (from nacre_alloc) even when it fails. */
nacre_dataset *nacre_dataset_from_images(const nacre_images *images);

/* Drawn digits. Sample i of (seed, split) is always the same. */
typedef enum nacre_digits_split {
    NACRE_DIGITS_TRAIN = 0,
    NACRE_DIGITS_TEST = 1,
} nacre_digits_split;
enum { NACRE_DIGIT_SIDE = 28 };
nacre_status nacre_digits_draw(int64_t count, uint64_t seed, nacre_digits_split split,
                               nacre_images *out);

#endif
