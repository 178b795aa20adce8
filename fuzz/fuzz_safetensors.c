/* The safetensors reader: what it accepts can be read without looking beyond the file, and is the same
   after it was written and read again. */
#include "io/safetensors_format.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool holds) {
    if (!holds) abort();
}

static void check_entries(const nacre_safetensors_header *header, const uint8_t *data,
                          uint64_t size) {
    uint64_t covered = 0;
    for (size_t i = 0; i < header->count; i++) {
        const nacre_safetensors_entry *entry = &header->entries[i];
        require(entry->begin <= entry->end && entry->end <= size);
        covered += entry->end - entry->begin;
        if (entry->dtype == NACRE_BOOL) {
            (void)nacre_safetensors_check_bool(entry, data + entry->begin, "input");
        }
    }
    require(covered == size);
}

static void check_round_trip(const nacre_safetensors_header *header) {
    nacre_safetensors_entry *entries = calloc(header->count + 1, sizeof *entries);
    size_t *order = calloc(header->count + 1, sizeof *order), length = 0;
    require(entries && order);
    if (header->count) memcpy(entries, header->entries, header->count * sizeof *entries);
    nacre_text text = {0};
    nacre_safetensors_header back;
    require(nacre_safetensors_place(entries, header->count, order) == NACRE_OK);
    require(nacre_safetensors_build(entries, header->count, header->metadata,
                                    header->metadata_count, &text) == NACRE_OK);
    uint64_t data_size = header->count ? entries[order[header->count - 1]].end : 0;
    require(nacre_safetensors_header_length((unsigned char *)text.bytes, text.length + data_size,
                                            "output", &length) == NACRE_OK);
    require(nacre_safetensors_parse(text.bytes + NACRE_SAFETENSORS_PREFIX, length, data_size,
                                    "output", &back) == NACRE_OK);
    require(back.count == header->count && back.metadata_count == header->metadata_count);
    for (size_t i = 0; i < back.count; i++) {
        require(strcmp(back.entries[i].name, header->entries[i].name) == 0);
        require(memcmp(&back.entries[i].shape, &header->entries[i].shape, sizeof(nacre_shape)) ==
                0);
        require(back.entries[i].begin == entries[i].begin);
    }
    nacre_safetensors_header_free(&back);
    nacre_text_free(&text);
    free(order);
    free(entries);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    size_t length;
    nacre_safetensors_header header;
    if (nacre_safetensors_header_length(bytes, size, "input", &length) != NACRE_OK) return 0;
    const uint8_t *json = bytes + NACRE_SAFETENSORS_PREFIX, *data = json + length;
    uint64_t data_size = size - NACRE_SAFETENSORS_PREFIX - length;
    if (nacre_safetensors_parse((const char *)json, length, data_size, "input", &header) ==
        NACRE_OK) {
        check_entries(&header, data, data_size);
        check_round_trip(&header);
        nacre_safetensors_header_free(&header);
    } else {
        require(!strchr(nacre_error_message(), '\n'));
    }
    return 0;
}
