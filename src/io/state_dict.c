#include "io/state_dict.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

/* ---- list ---- */

nacre_state_dict *nacre_state_dict_new(void) {
    return nacre_alloc_zeroed(1, sizeof(nacre_state_dict));
}

void nacre_state_dict_free(nacre_state_dict *dict) {
    if (!dict) return;
    for (size_t i = 0; i < dict->count; i++) {
        nacre_release(dict->items[i].tensor);
        nacre_free(dict->items[i].name);
    }
    for (size_t i = 0; i < dict->metadata_count; i++) {
        nacre_free(dict->metadata[i].key);
        nacre_free(dict->metadata[i].value);
    }
    nacre_free(dict->items);
    nacre_free(dict->metadata);
    nacre_free(dict);
}

/* Room for one more element at the end of an array that grows by doubling. */
static void *grow(void *array, size_t count, size_t *capacity, size_t element) {
    if (count < *capacity) return array;
    size_t larger = *capacity ? 2 * *capacity : 16, bytes;
    void *block = nacre_size_multiply(larger, element, &bytes) ? nacre_realloc(array, bytes) : NULL;
    if (block) *capacity = larger;
    return block;
}

nacre_status nacre_state_dict_append(nacre_state_dict *dict, const char *name,
                                     nacre_tensor *tensor) {
    nacre_state_item *items = grow(dict->items, dict->count, &dict->capacity, sizeof *items);
    if (!items) return NACRE_OUT_OF_MEMORY;
    dict->items = items;
    char *copy = nacre_strdup(name);
    if (!copy) return NACRE_OUT_OF_MEMORY;
    items[dict->count++] = (nacre_state_item){copy, nacre_retain(tensor)};
    return NACRE_OK;
}

/* JSON, which the names are written in, is UTF-8. */
static bool is_utf8(const char *text) {
    size_t left = strlen(text);
    while (left > 0) {
        size_t length = nacre_utf8_length(text, left);
        if (length == 0) return false;
        text += length;
        left -= length;
    }
    return true;
}

nacre_status nacre_state_dict_add(nacre_state_dict *dict, const char *name, nacre_tensor *tensor) {
    if (!dict || !name || !tensor) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "state_dict_add: %s is NULL",
                          !dict   ? "dict"
                          : !name ? "name"
                                  : "tensor");
    }
    if (nacre_is_error(tensor)) {
        return nacre_fail(nacre_tensor_status(tensor), "state_dict_add: \"%s\" is an error: %s",
                          name, nacre_tensor_message(tensor));
    }
    if (strcmp(name, "__metadata__") == 0) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "state_dict_add: the name \"__metadata__\" is reserved by safetensors");
    }
    if (!is_utf8(name)) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "state_dict_add: a name that is not valid UTF-8");
    }
    if (nacre_state_dict_find(dict, name)) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "state_dict_add: \"%s\" is in the dictionary already", name);
    }
    return nacre_state_dict_append(dict, name, tensor);
}

size_t nacre_state_dict_count(const nacre_state_dict *dict) { return dict ? dict->count : 0; }

const char *nacre_state_dict_name(const nacre_state_dict *dict, size_t index) {
    return dict && index < dict->count ? dict->items[index].name : NULL;
}

nacre_tensor *nacre_state_dict_tensor(const nacre_state_dict *dict, size_t index) {
    return dict && index < dict->count ? dict->items[index].tensor : NULL;
}

nacre_tensor *nacre_state_dict_find(const nacre_state_dict *dict, const char *name) {
    if (!dict || !name) return NULL;
    for (size_t i = 0; i < dict->count; i++) {
        if (strcmp(dict->items[i].name, name) == 0) return dict->items[i].tensor;
    }
    return NULL;
}

/* ---- metadata ---- */

static nacre_state_pair *find_pair(const nacre_state_dict *dict, const char *key) {
    for (size_t i = 0; i < dict->metadata_count; i++) {
        if (strcmp(dict->metadata[i].key, key) == 0) return &dict->metadata[i];
    }
    return NULL;
}

nacre_status nacre_state_dict_append_metadata(nacre_state_dict *dict, const char *key,
                                              const char *value) {
    nacre_state_pair *pairs =
        grow(dict->metadata, dict->metadata_count, &dict->metadata_capacity, sizeof *pairs);
    if (!pairs) return NACRE_OUT_OF_MEMORY;
    dict->metadata = pairs;
    nacre_state_pair pair = {nacre_strdup(key), nacre_strdup(value)};
    if (!pair.key || !pair.value) {
        nacre_free(pair.key);
        nacre_free(pair.value);
        return NACRE_OUT_OF_MEMORY;
    }
    pairs[dict->metadata_count++] = pair;
    return NACRE_OK;
}

nacre_status nacre_state_dict_set_metadata(nacre_state_dict *dict, const char *key,
                                           const char *value) {
    if (!dict || !key || !value) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "state_dict_set_metadata: %s is NULL",
                          !dict  ? "dict"
                          : !key ? "key"
                                 : "value");
    }
    if (!is_utf8(key) || !is_utf8(value)) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "state_dict_set_metadata: a key or value that is not valid UTF-8");
    }
    nacre_state_pair *pair = find_pair(dict, key);
    if (!pair) return nacre_state_dict_append_metadata(dict, key, value);
    char *copy = nacre_strdup(value);
    if (!copy) return NACRE_OUT_OF_MEMORY;
    nacre_free(pair->value);
    pair->value = copy;
    return NACRE_OK;
}

const char *nacre_state_dict_metadata(const nacre_state_dict *dict, const char *key) {
    const nacre_state_pair *pair = dict && key ? find_pair(dict, key) : NULL;
    return pair ? pair->value : NULL;
}
