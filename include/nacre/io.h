/* Files: state dictionaries in safetensors, pictures. */
#ifndef NACRE_IO_H
#define NACRE_IO_H

#include <nacre/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A named list of tensors with string metadata. Owns copies of the names and a reference to each
   tensor. Order of insertion is kept. */
typedef struct nacre_state_dict nacre_state_dict;

NACRE_API nacre_state_dict *nacre_state_dict_new(void); /* NULL when memory is short */
NACRE_API void nacre_state_dict_free(nacre_state_dict *dict);
/* A name given twice is NACRE_INVALID_ARGUMENT. */
NACRE_API nacre_status nacre_state_dict_add(nacre_state_dict *dict, const char *name,
                                            nacre_tensor *tensor);
NACRE_API size_t nacre_state_dict_count(const nacre_state_dict *dict);
NACRE_API const char *nacre_state_dict_name(const nacre_state_dict *dict, size_t index);
NACRE_API nacre_tensor *nacre_state_dict_tensor(const nacre_state_dict *dict, size_t index);
NACRE_API nacre_tensor *nacre_state_dict_find(const nacre_state_dict *dict, const char *name);
/* Metadata: replaces an existing key. */
NACRE_API nacre_status nacre_state_dict_set_metadata(nacre_state_dict *dict, const char *key,
                                                     const char *value);
NACRE_API const char *nacre_state_dict_metadata(const nacre_state_dict *dict, const char *key);

/* Writes a .safetensors file atomically: a temporary name beside it, synced, renamed. Either the old
   file or the whole new one is there afterwards. Data is aligned to 64 bytes within the file. */
NACRE_API nacre_status nacre_state_dict_save(const nacre_state_dict *dict, const char *path);

/* Reads a .safetensors file; every size is checked before anything is allocated. Unknown dtypes are
   NACRE_UNSUPPORTED naming the tensor. NULL on error. */
NACRE_API nacre_state_dict *nacre_state_dict_load(const char *path);

/* A grey picture of width x height floats in [0, 1], row by row, 0 black. */
typedef struct nacre_image {
    int width, height;
    float *pixels;
} nacre_image;
/* PGM (P2, P5, 8 and 16 bit) always; PNG (grey, palette, RGB, alpha over white, 16 bit, interlaced)
   when built with libpng, else NACRE_UNSUPPORTED naming the package. At most 16384 x 16384. */
NACRE_API nacre_status nacre_image_load(const char *path, nacre_image *out);
NACRE_API void nacre_image_free(nacre_image *image);

#ifdef __cplusplus
}
#endif
#endif
