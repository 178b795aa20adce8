/* State dictionaries as .safetensors files. The format's numbers are little-endian, as is every
   machine that Nacre runs on, so data is copied as it is. */
#include "base/error.h"
#include "base/memory.h"
#include "io/file.h"
#include "io/safetensors_format.h"
#include "io/state_dict.h"
#include "record/record.h"

#include <nacre/io.h>

/* ---- writing ---- */

typedef struct writer {
    const nacre_state_dict *dict;
    nacre_safetensors_entry *entries; /* [count], as in dict */
    nacre_safetensors_pair *metadata;
    size_t *order;
    nacre_text header;
} writer;

/* Computes every tensor before the first byte is written. */
static nacre_status describe(writer *w) {
    const nacre_state_dict *dict = w->dict;
    w->entries = nacre_alloc_zeroed(dict->count, sizeof *w->entries);
    w->order = nacre_alloc_zeroed(dict->count, sizeof *w->order);
    w->metadata = nacre_alloc_zeroed(dict->metadata_count, sizeof *w->metadata);
    if (!w->entries || !w->order || !w->metadata) return NACRE_OUT_OF_MEMORY;
    for (size_t i = 0; i < dict->count; i++) {
        nacre_tensor *tensor = dict->items[i].tensor;
        nacre_status status = nacre_eval(tensor);
        if (status != NACRE_OK) return status;
        w->entries[i] = (nacre_safetensors_entry){.name = dict->items[i].name,
                                                  .dtype = nacre_dtype_of(tensor),
                                                  .shape = nacre_shape_of(tensor)};
    }
    for (size_t i = 0; i < dict->metadata_count; i++) {
        w->metadata[i] = (nacre_safetensors_pair){dict->metadata[i].key, dict->metadata[i].value};
    }
    nacre_status status = nacre_safetensors_place(w->entries, dict->count, w->order);
    if (status != NACRE_OK) return status;
    return nacre_safetensors_build(w->entries, dict->count, w->metadata, dict->metadata_count,
                                   &w->header);
}

static nacre_status write_all(const writer *w, nacre_atomic_file *file) {
    nacre_status status = nacre_atomic_write(file, w->header.bytes, w->header.length);
    for (size_t i = 0; i < w->dict->count && status == NACRE_OK; i++) {
        size_t which = w->order[i];
        const void *data = nacre_data(w->dict->items[which].tensor);
        if (!data) return nacre_error_code();
        status = nacre_atomic_write(file, data,
                                    (size_t)(w->entries[which].end - w->entries[which].begin));
    }
    return status;
}

nacre_status nacre_state_dict_save(const nacre_state_dict *dict, const char *path) {
    if (!dict || !path) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "state_dict_save: %s is NULL",
                          dict ? "path" : "dict");
    }
    writer w = {.dict = dict};
    nacre_atomic_file *file = NULL;
    nacre_status status = describe(&w);
    if (status == NACRE_OK) status = nacre_atomic_open(path, &file);
    if (status == NACRE_OK) status = write_all(&w, file);
    if (status == NACRE_OK)
        status = nacre_atomic_commit(file);
    else
        nacre_atomic_abandon(file);
    nacre_text_free(&w.header);
    nacre_free(w.metadata);
    nacre_free(w.order);
    nacre_free(w.entries);
    return status;
}

/* ---- reading ---- */

/* One tensor, whose data begins at byte data_begin + entry->begin of the file. */
static nacre_status load_entry(nacre_state_dict *dict, const nacre_safetensors_entry *entry,
                               const nacre_input *input, uint64_t data_begin) {
    nacre_tensor *tensor = nacre_tensor_leaf(entry->dtype, &entry->shape);
    if (!tensor) return NACRE_OUT_OF_MEMORY;
    unsigned char *data = tensor->value->storage->data;
    size_t bytes = (size_t)(entry->end - entry->begin);
    nacre_status status = nacre_input_read(input, data_begin + entry->begin, data, bytes);
    if (status != NACRE_OK) return status;
    if (entry->dtype == NACRE_BOOL) {
        status = nacre_safetensors_check_bool(entry, data, input->path);
        if (status != NACRE_OK) return status;
    }
    return nacre_state_dict_append(dict, entry->name, tensor);
}

static nacre_status load_entries(nacre_state_dict *dict, const nacre_safetensors_header *header,
                                 const nacre_input *input, uint64_t data_begin) {
    nacre_status status = NACRE_OK;
    for (size_t i = 0; i < header->metadata_count && status == NACRE_OK; i++) {
        status = nacre_state_dict_append_metadata(dict, header->metadata[i].key,
                                                  header->metadata[i].value);
    }
    for (size_t i = 0; i < header->count && status == NACRE_OK; i++) {
        nacre_scope frame = nacre_frame_begin();
        if (frame < 1) return nacre_error_code();
        status = load_entry(dict, &header->entries[i], input, data_begin);
        nacre_frame_end(frame, NULL, 0);
    }
    return status;
}

static nacre_status read_header(const nacre_input *input, nacre_safetensors_header *header,
                                uint64_t *data_begin) {
    unsigned char prefix[NACRE_SAFETENSORS_PREFIX] = {0};
    size_t length, first = input->size < sizeof prefix ? (size_t)input->size : sizeof prefix;
    nacre_status status = nacre_input_read(input, 0, prefix, first);
    if (status != NACRE_OK) return status;
    status = nacre_safetensors_header_length(prefix, input->size, input->path, &length);
    if (status != NACRE_OK) return status;
    char *json = nacre_alloc(length);
    if (!json) return NACRE_OUT_OF_MEMORY;
    *data_begin = sizeof prefix + length;
    status = nacre_input_read(input, sizeof prefix, json, length);
    if (status == NACRE_OK) {
        status =
            nacre_safetensors_parse(json, length, input->size - *data_begin, input->path, header);
    }
    nacre_free(json);
    return status;
}

nacre_state_dict *nacre_state_dict_load(const char *path) {
    if (!path) {
        nacre_fail(NACRE_INVALID_ARGUMENT, "state_dict_load: path is NULL");
        return NULL;
    }
    nacre_state_dict *dict = nacre_state_dict_new();
    if (!dict) return NULL;
    nacre_input input;
    nacre_safetensors_header header = {0};
    uint64_t data_begin = 0;
    nacre_status status = nacre_input_open(path, &input);
    if (status == NACRE_OK) status = read_header(&input, &header, &data_begin);
    if (status == NACRE_OK) status = load_entries(dict, &header, &input, data_begin);
    nacre_safetensors_header_free(&header);
    nacre_input_close(&input);
    if (status == NACRE_OK) return dict;
    nacre_state_dict_free(dict);
    return NULL;
}
