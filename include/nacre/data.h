/* Data: sets of samples, MNIST, and loaders that shuffle, batch and prefetch. */
#ifndef NACRE_DATA_H
#define NACRE_DATA_H

#include <nacre/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A set of samples: each is one input of a fixed shape and one target. Readers of other kinds of data
   fill this struct (see docs); nacre_dataset_free calls `destroy`. */
typedef struct nacre_dataset nacre_dataset;

typedef struct nacre_dataset_options {
    size_t size;
    int64_t count;            /* samples, at least 1: an empty set is an error */
    nacre_shape input_shape;  /* of one sample, without the batch axis */
    nacre_dtype input_dtype;  /* of what `read` writes; default f32 */
    nacre_shape target_shape; /* of one sample's target; ndim 0 for a class index */
    nacre_dtype target_dtype; /* default i64 */
    int64_t classes;          /* of class-index targets, else 0 */
    /* Writes samples indices[0..n) to inputs and targets, contiguous. Must be thread-safe: a prefetching
       loader calls it from its own thread. */
    nacre_status (*read)(void *user, const int64_t *indices, int64_t n, void *inputs,
                         void *targets);
    void (*destroy)(void *user); /* may be NULL */
    void *user;
    const char *name; /* "mnist", "procedural", ...; copied */
} nacre_dataset_options;

/* NULL on error. Takes ownership of `user` even when it fails. */
NACRE_API nacre_dataset *nacre_dataset_new(const nacre_dataset_options *options);
NACRE_API void nacre_dataset_free(nacre_dataset *set);
NACRE_API int64_t nacre_dataset_count(const nacre_dataset *set);
NACRE_API nacre_shape nacre_dataset_input_shape(const nacre_dataset *set);
NACRE_API int64_t nacre_dataset_classes(const nacre_dataset *set);
NACRE_API const char *nacre_dataset_name(const nacre_dataset *set);
NACRE_API nacre_status nacre_dataset_read(const nacre_dataset *set, const int64_t *indices,
                                          int64_t n, void *inputs, void *targets);

/* A set over two arrays [count, ...] in memory; copied unless .borrow. */
typedef struct nacre_arrays_options {
    size_t size;
    const void *inputs;
    nacre_shape input_shape; /* of one sample */
    nacre_dtype input_dtype;
    const void *targets;
    nacre_shape target_shape;
    nacre_dtype target_dtype;
    int64_t count;
    int64_t classes;
    bool borrow; /* the arrays outlive the set and stay unchanged */
} nacre_arrays_options;
NACRE_API nacre_dataset *nacre_dataset_from_arrays(const nacre_arrays_options *options);

/* The first `count` samples of a set (which must outlive it). */
NACRE_API nacre_dataset *nacre_dataset_head(const nacre_dataset *set, int64_t count);

typedef struct nacre_mnist_options {
    size_t size;
    const char *folder; /* given: used as FOLDER/mnist/ or FOLDER/, or an error */
    bool no_download;   /* do not try the network */
    bool one_hot;       /* targets [10] f32 instead of class indices */
    double mean, std;   /* pixels in [0, 1] become (p - mean) / std; std 0: left as they are */
    uint64_t seed;      /* of the procedural set, default 1 */
    int64_t procedural_train, procedural_test; /* default 20000 and 4000 */
    bool procedural; /* draw digits at once, wherever the real ones may be; .folder must be NULL */
    bool channel;    /* inputs of shape [1, 28, 28], as convolutions take them */
} nacre_mnist_options;

typedef struct nacre_mnist {
    nacre_dataset *train, *test;
    bool procedural;   /* drawn digits: the real ones were neither found nor downloaded */
    char folder[1024]; /* where the files are; "" if procedural */
} nacre_mnist;

/* MNIST: 28x28 grey pixels scaled to [0, 1], labels 0 to 9, kept in memory as bytes. Looked for in
   .folder, NACRE_DATA, ./data, $XDG_DATA_HOME/nacre, $XDG_CACHE_HOME/nacre, each as DIR/mnist/ and as DIR/, as
   raw idx files or .gz. A folder that was named (.folder or NACRE_DATA) never falls through: missing
   or bad is an error. Otherwise downloads to the XDG cache folder, and failing that draws digits by
   itself, saying so in the log. Inputs have shape [28, 28] unless .channel is set. */
NACRE_API nacre_status nacre_mnist_open(const nacre_mnist_options *options, nacre_mnist *out);
NACRE_API void nacre_mnist_close(nacre_mnist *mnist);

/* Drawn digits: strokes under random affine and elastic distortion, with noise; sample i of a seed is
   always the same. Inputs [28, 28] f32 in [0, 1]. */
NACRE_API nacre_dataset *nacre_procedural_digits(int64_t count, uint64_t seed, bool one_hot);

/* An idx array (MNIST's format), raw or gzip: magic, dtype, sizes and length are checked before
   anything is allocated. u8 data only here. */
typedef struct nacre_idx {
    int ndim;
    int64_t dims[NACRE_MAX_DIMS];
    uint8_t *data; /* free with nacre_idx_free */
    size_t bytes;
} nacre_idx;
NACRE_API nacre_status nacre_idx_load(const char *path, nacre_idx *out);
NACRE_API nacre_status nacre_idx_parse(const void *bytes, size_t size, const char *name,
                                       nacre_idx *out);
NACRE_API void nacre_idx_free(nacre_idx *idx);

/* ---- loader ---- */

typedef struct nacre_loader nacre_loader;

typedef struct nacre_loader_options {
    size_t size;
    const nacre_dataset *set; /* must outlive the loader */
    int64_t batch_size;       /* >= 1; larger than the set: one batch of all */
    bool shuffle;             /* Fisher-Yates, a function of (seed, epoch) */
    bool drop_last;           /* leave out a last batch smaller than batch_size */
    uint64_t seed;
    /* Batches read ahead by a thread of its own; 0: read when asked, as batches up to 1 MB of a set in memory always
       are (arrays, MNIST): waking the thread would take longer. */
    int prefetch;
} nacre_loader_options;

/* One batch. The tensors belong to the loader, which reuses their memory: they are valid until the
   second next call of nacre_loader_next, and steps in between allocate nothing. */
typedef struct nacre_batch {
    nacre_tensor *inputs;  /* [n, input shape] */
    nacre_tensor *targets; /* [n, target shape] */
    int64_t count;         /* n */
    int64_t index;         /* of the batch within its epoch, from 0 */
} nacre_batch;

NACRE_API nacre_loader *nacre_loader_new(const nacre_loader_options *options);
NACRE_API void nacre_loader_free(nacre_loader *loader);
NACRE_API int64_t nacre_loader_batches(const nacre_loader *loader); /* per epoch */
/* Starts epoch `epoch` (from 0) at batch `first`; the order of samples depends on nothing else. */
NACRE_API nacre_status nacre_loader_start(nacre_loader *loader, int64_t epoch, int64_t first);
/* true and the next batch; false at the end of the epoch or on error (then *status says so). */
NACRE_API bool nacre_loader_next(nacre_loader *loader, nacre_batch *out, nacre_status *status);

#ifndef __cplusplus
#define nacre_dataset_create(...)                                                                  \
    nacre_dataset_new(&(nacre_dataset_options){.size = sizeof(nacre_dataset_options), __VA_ARGS__})
#define nacre_loader_create(...)                                                                   \
    nacre_loader_new(                                                                              \
        &(nacre_loader_options){.size = sizeof(nacre_loader_options), .set = __VA_ARGS__})
#endif

#ifdef __cplusplus
}
#endif
#endif
