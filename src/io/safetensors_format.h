/* The safetensors format, without tensors: what a header says, checked, and a header from what
   it is to say. Format: https://github.com/huggingface/safetensors (README, "Format"): the
   header's length as 8 bytes little-endian, the header as a JSON object, the data. */
#ifndef NACRE_IO_SAFETENSORS_FORMAT_H
#define NACRE_IO_SAFETENSORS_FORMAT_H

#include "io/json.h"
#include "io/text.h"

#include <nacre/tensor.h>

enum {
    NACRE_SAFETENSORS_PREFIX = 8,               /* bytes of the length */
    NACRE_SAFETENSORS_HEADER_LIMIT = 100000000, /* the format's own limit */
    NACRE_SAFETENSORS_ALIGNMENT = 64,           /* of the data within files we write */
};

typedef struct nacre_safetensors_entry {
    const char *name;
    nacre_dtype dtype;
    nacre_shape shape;
    uint64_t begin, end; /* bytes from the beginning of the data */
} nacre_safetensors_entry;

typedef struct nacre_safetensors_pair {
    const char *key, *value;
} nacre_safetensors_pair;

typedef struct nacre_safetensors_header {
    nacre_safetensors_entry *entries; /* in the header's order */
    size_t count;
    nacre_safetensors_pair *metadata;
    size_t metadata_count;
    nacre_json_document *document; /* owns the strings */
} nacre_safetensors_header;

/* Length of the header from a file's first bytes (as many of the 8 as there are), checked
   against the size of the file. `what` names the file in messages, here and below. */
nacre_status nacre_safetensors_header_length(const unsigned char *bytes, uint64_t file_size,
                                             const char *what, size_t *out);

/* Checks all of a header: every entry's dtype, shape and offsets fit each other, and the entries
   cover the `data_size` bytes that follow the header exactly, without overlap or gap.
   NACRE_UNSUPPORTED for a dtype or a number of axes that Nacre does not have, naming the tensor. */
nacre_status nacre_safetensors_parse(const char *json, size_t length, uint64_t data_size,
                                     const char *what, nacre_safetensors_header *out);
void nacre_safetensors_header_free(nacre_safetensors_header *header);

/* Assigns begin and end of each entry: larger elements first, so that every tensor is aligned to
   its element, else in the order given. order[i] is the entry whose data comes i-th. */
nacre_status nacre_safetensors_place(nacre_safetensors_entry *entries, size_t count, size_t *order);

/* The file up to its data: length and header, padded with spaces to a multiple of 64 bytes.
   Appends to `out`, which must be empty. */
nacre_status nacre_safetensors_build(const nacre_safetensors_entry *entries, size_t count,
                                     const nacre_safetensors_pair *metadata, size_t metadata_count,
                                     nacre_text *out);

/* A bool's byte is 0 or 1: NACRE_BAD_FILE, naming the tensor, when one of them is not. */
nacre_status nacre_safetensors_check_bool(const nacre_safetensors_entry *entry,
                                          const unsigned char *bytes, const char *what);

#endif
