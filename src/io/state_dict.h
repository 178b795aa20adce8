/* What a state dictionary holds, for the readers and writers of files. */
#ifndef NACRE_IO_STATE_DICT_H
#define NACRE_IO_STATE_DICT_H

#include "io/text.h"

#include <nacre/io.h>

typedef struct nacre_state_item {
    char *name;
    nacre_tensor *tensor; /* retained */
} nacre_state_item;

typedef struct nacre_state_pair {
    char *key, *value;
} nacre_state_pair;

struct nacre_state_dict {
    nacre_state_item *items;
    size_t count, capacity;
    nacre_state_pair *metadata;
    size_t metadata_count, metadata_capacity;
};

/* For names and keys that are known to be unique and valid: the public functions look through
   the whole list each time. */
nacre_status nacre_state_dict_append(nacre_state_dict *dict, const char *name,
                                     nacre_tensor *tensor);
nacre_status nacre_state_dict_append_metadata(nacre_state_dict *dict, const char *key,
                                              const char *value);

#endif
