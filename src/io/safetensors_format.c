#include "io/safetensors_format.h"

#include "base/error.h"
#include "base/memory.h"
#include "tensor/shape.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN "; save or download the file again"

static const char metadata_key[] = "__metadata__";

static const char *const dtype_names[NACRE_DTYPE_COUNT] = {
    [NACRE_F32] = "F32", [NACRE_F64] = "F64", [NACRE_I32] = "I32",
    [NACRE_I64] = "I64", [NACRE_U8] = "U8",   [NACRE_BOOL] = "BOOL",
};

/* Dtypes of the format that Nacre does not have. */
static const char *const foreign_names[] = {
    "F16", "BF16",    "I8",      "U16",     "I16",     "U32",     "U64",  "F4",
    "C64", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F6_E2M3", "F6_E3M2", "C128",
};

/* ---- errors ---- */

/* A name from a file as one line of bounded length. */
static const char *show(const char *name, char text[72]) {
    size_t length = strlen(name), kept = length <= 64 ? length : 64;
    while (kept < length && ((unsigned char)name[kept] & 0xC0) == 0x80) kept--;
    for (size_t i = 0; i < kept; i++) {
        unsigned char byte = (unsigned char)name[i];
        text[i] = byte < 0x20 || byte == 0x7F ? '?' : name[i];
    }
    snprintf(text + kept, 72 - kept, "%s", kept < length ? "..." : "");
    return text;
}

__attribute__((format(printf, 4, 5))) static nacre_status
fail_tensor(nacre_status status, const char *what, const char *name, const char *format, ...) {
    char message[256], shown[72];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return nacre_fail(status, "%s: tensor \"%s\": %s%s", what, show(name, shown), message,
                      status == NACRE_BAD_FILE ? AGAIN : "");
}

/* ---- reading ---- */

nacre_status nacre_safetensors_header_length(const unsigned char *bytes, uint64_t file_size,
                                             const char *what, size_t *out) {
    if (file_size < NACRE_SAFETENSORS_PREFIX) {
        return nacre_fail(NACRE_BAD_FILE,
                          "%s: %" PRIu64 " bytes are too few for a safetensors file" AGAIN, what,
                          file_size);
    }
    uint64_t length = 0;
    for (int i = 0; i < NACRE_SAFETENSORS_PREFIX; i++) length |= (uint64_t)bytes[i] << (8 * i);
    if (length > NACRE_SAFETENSORS_HEADER_LIMIT) {
        return nacre_fail(NACRE_BAD_FILE,
                          "%s: a header of %" PRIu64
                          " bytes, the format allows %d: not a safetensors file?" AGAIN,
                          what, length, NACRE_SAFETENSORS_HEADER_LIMIT);
    }
    if (length > file_size - NACRE_SAFETENSORS_PREFIX) {
        return nacre_fail(NACRE_BAD_FILE,
                          "%s: the header takes %" PRIu64 " bytes, the file has %" PRIu64
                          " after its length: cut off?" AGAIN,
                          what, length, file_size - NACRE_SAFETENSORS_PREFIX);
    }
    *out = (size_t)length;
    return NACRE_OK;
}

static nacre_status parse_dtype(const nacre_json *node, const char *what, const char *name,
                                nacre_dtype *out) {
    if (!node || node->kind != NACRE_JSON_STRING) {
        return fail_tensor(NACRE_BAD_FILE, what, name, "no \"dtype\" that is a string");
    }
    for (int i = 0; i < NACRE_DTYPE_COUNT; i++) {
        if (dtype_names[i] && strcmp(dtype_names[i], node->string) == 0) {
            *out = (nacre_dtype)i;
            return NACRE_OK;
        }
    }
    for (size_t i = 0; i < sizeof foreign_names / sizeof foreign_names[0]; i++) {
        if (strcmp(foreign_names[i], node->string) == 0) {
            return fail_tensor(
                NACRE_UNSUPPORTED, what, name,
                "dtype %s is not supported, save it as F32 or another dtype that Nacre has",
                node->string);
        }
    }
    char shown[72];
    return fail_tensor(NACRE_UNSUPPORTED, what, name,
                       "unknown dtype \"%s\", save it as F32 or another dtype that Nacre has",
                       show(node->string, shown));
}

static nacre_status parse_shape(const nacre_json *node, const char *what, const char *name,
                                nacre_shape *out) {
    if (!node || node->kind != NACRE_JSON_ARRAY) {
        return fail_tensor(NACRE_BAD_FILE, what, name, "no \"shape\" that is an array");
    }
    if (node->count > NACRE_MAX_DIMS) {
        return fail_tensor(NACRE_UNSUPPORTED, what, name,
                           "%zu axes, at most %d are supported; save it with fewer", node->count,
                           NACRE_MAX_DIMS);
    }
    nacre_shape shape = {.ndim = 0};
    for (const nacre_json *extent = node->first; extent; extent = extent->next) {
        if (!extent->is_integer || extent->integer < 0) {
            return fail_tensor(NACRE_BAD_FILE, what, name, "axis %d of \"shape\" is not a size",
                               shape.ndim);
        }
        shape.dims[shape.ndim++] = extent->integer;
    }
    *out = shape;
    return NACRE_OK;
}

static nacre_status parse_offsets(const nacre_json *node, const char *what, const char *name,
                                  uint64_t data_size, nacre_safetensors_entry *entry) {
    bool two = node && node->kind == NACRE_JSON_ARRAY && node->count == 2;
    const nacre_json *begin = two ? node->first : NULL, *end = two ? begin->next : NULL;
    if (!two || !begin->is_integer || !end->is_integer || begin->integer < 0 || end->integer < 0) {
        return fail_tensor(NACRE_BAD_FILE, what, name, "no \"data_offsets\" of two sizes");
    }
    entry->begin = (uint64_t)begin->integer;
    entry->end = (uint64_t)end->integer;
    if (entry->begin > entry->end || entry->end > data_size) {
        return fail_tensor(NACRE_BAD_FILE, what, name,
                           "bytes %" PRIu64 " to %" PRIu64 " of %" PRIu64 " bytes of data",
                           entry->begin, entry->end, data_size);
    }
    return NACRE_OK;
}

/* Bytes of a tensor; false when they do not fit a size. */
static bool tensor_bytes(const nacre_safetensors_entry *entry, size_t *out) {
    return nacre_shape_valid(&entry->shape) &&
           nacre_size_multiply((size_t)nacre_shape_numel(&entry->shape),
                               nacre_dtype_size(entry->dtype), out);
}

static nacre_status parse_entry(const nacre_json *node, const char *what, uint64_t data_size,
                                nacre_safetensors_entry *out) {
    const char *name = node->key;
    *out = (nacre_safetensors_entry){.name = name};
    if (node->kind != NACRE_JSON_OBJECT) {
        return fail_tensor(NACRE_BAD_FILE, what, name, "not described by an object");
    }
    nacre_status status = parse_dtype(nacre_json_member(node, "dtype"), what, name, &out->dtype);
    if (status != NACRE_OK) return status;
    status = parse_shape(nacre_json_member(node, "shape"), what, name, &out->shape);
    if (status != NACRE_OK) return status;
    status = parse_offsets(nacre_json_member(node, "data_offsets"), what, name, data_size, out);
    if (status != NACRE_OK) return status;
    size_t bytes;
    char shape[NACRE_SHAPE_TEXT];
    if (!tensor_bytes(out, &bytes)) {
        return fail_tensor(NACRE_BAD_FILE, what, name, "the size of shape %s overflows",
                           nacre_shape_text(&out->shape, shape));
    }
    if (bytes != out->end - out->begin) {
        return fail_tensor(NACRE_BAD_FILE, what, name,
                           "%s of %s takes %zu bytes, its offsets span %" PRIu64,
                           dtype_names[out->dtype], nacre_shape_text(&out->shape, shape), bytes,
                           out->end - out->begin);
    }
    return NACRE_OK;
}

static nacre_status parse_metadata(const nacre_json *node, const char *what,
                                   nacre_safetensors_header *header) {
    if (node->kind != NACRE_JSON_OBJECT) {
        return nacre_fail(NACRE_BAD_FILE, "%s: %s is not an object" AGAIN, what, metadata_key);
    }
    header->metadata = nacre_alloc_zeroed(node->count, sizeof *header->metadata);
    if (!header->metadata) return NACRE_OUT_OF_MEMORY;
    for (const nacre_json *pair = node->first; pair; pair = pair->next) {
        char shown[72];
        if (pair->kind != NACRE_JSON_STRING) {
            return nacre_fail(NACRE_BAD_FILE, "%s: %s: the value of \"%s\" is not a string" AGAIN,
                              what, metadata_key, show(pair->key, shown));
        }
        header->metadata[header->metadata_count++] =
            (nacre_safetensors_pair){pair->key, pair->string};
    }
    return NACRE_OK;
}

static int compare_offsets(const void *a, const void *b) {
    const nacre_safetensors_entry *x = *(const nacre_safetensors_entry *const *)a;
    const nacre_safetensors_entry *y = *(const nacre_safetensors_entry *const *)b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) -
           (x->end < y->end); /* empty tensors before the one that begins there */
}

/* The entries in order of their data follow each other from 0 to data_size. */
static nacre_status check_coverage(const nacre_safetensors_header *header, uint64_t data_size,
                                   const char *what) {
    const nacre_safetensors_entry **sorted = nacre_alloc_zeroed(header->count, sizeof *sorted);
    if (!sorted) return NACRE_OUT_OF_MEMORY;
    for (size_t i = 0; i < header->count; i++) sorted[i] = &header->entries[i];
    qsort(sorted, header->count, sizeof *sorted, compare_offsets);
    uint64_t covered = 0;
    nacre_status status = NACRE_OK;
    for (size_t i = 0; i < header->count && status == NACRE_OK; i++) {
        const nacre_safetensors_entry *entry = sorted[i];
        if (entry->begin != covered) {
            status = fail_tensor(
                NACRE_BAD_FILE, what, entry->name,
                "its data begins at byte %" PRIu64 ", %s that of the one before ends (%" PRIu64 ")",
                entry->begin, entry->begin < covered ? "before" : "after", covered);
        }
        covered = entry->end;
    }
    nacre_free(sorted);
    if (status == NACRE_OK && covered != data_size) {
        status = nacre_fail(NACRE_BAD_FILE,
                            "%s: %" PRIu64 " bytes of data, the tensors take %" PRIu64 AGAIN, what,
                            data_size, covered);
    }
    return status;
}

static nacre_status parse_root(const nacre_json *root, const char *what, uint64_t data_size,
                               nacre_safetensors_header *out) {
    out->entries = nacre_alloc_zeroed(root->count, sizeof *out->entries);
    if (!out->entries) return NACRE_OUT_OF_MEMORY;
    for (const nacre_json *node = root->first; node; node = node->next) {
        nacre_status status;
        if (strcmp(node->key, metadata_key) == 0) {
            status = parse_metadata(node, what, out);
        } else {
            status = parse_entry(node, what, data_size, &out->entries[out->count++]);
        }
        if (status != NACRE_OK) return status;
    }
    return check_coverage(out, data_size, what);
}

nacre_status nacre_safetensors_parse(const char *json, size_t length, uint64_t data_size,
                                     const char *what, nacre_safetensors_header *out) {
    *out = (nacre_safetensors_header){0};
    if (length == 0 || json[0] != '{') {
        return nacre_fail(NACRE_BAD_FILE,
                          "%s: the header does not begin with '{': not a safetensors file?" AGAIN,
                          what);
    }
    out->document = nacre_json_parse(json, length, what);
    if (!out->document) return nacre_error_code();
    nacre_status status = parse_root(nacre_json_root(out->document), what, data_size, out);
    if (status != NACRE_OK) nacre_safetensors_header_free(out);
    return status;
}

void nacre_safetensors_header_free(nacre_safetensors_header *header) {
    nacre_free(header->entries);
    nacre_free(header->metadata);
    nacre_json_free(header->document);
    *header = (nacre_safetensors_header){0};
}

nacre_status nacre_safetensors_check_bool(const nacre_safetensors_entry *entry,
                                          const unsigned char *bytes, const char *what) {
    for (uint64_t i = 0; i < entry->end - entry->begin; i++) {
        if (bytes[i] > 1) {
            return fail_tensor(NACRE_BAD_FILE, what, entry->name,
                               "element %" PRIu64 " is %d, a bool is 0 or 1", i, bytes[i]);
        }
    }
    return NACRE_OK;
}

/* ---- writing ---- */

nacre_status nacre_safetensors_place(nacre_safetensors_entry *entries, size_t count,
                                     size_t *order) {
    enum { LARGEST_ELEMENT = 16 };
    uint64_t offset = 0;
    size_t placed = 0;
    for (size_t element = LARGEST_ELEMENT; element > 0; element /= 2) {
        for (size_t i = 0; i < count; i++) {
            size_t bytes;
            if (nacre_dtype_size(entries[i].dtype) != element) continue;
            if (!tensor_bytes(&entries[i], &bytes) || bytes > INT64_MAX - offset) {
                return nacre_fail(NACRE_INVALID_ARGUMENT,
                                  "the tensors take more bytes than a file can");
            }
            entries[i].begin = offset;
            entries[i].end = offset += bytes;
            order[placed++] = i;
        }
    }
    if (placed == count) return NACRE_OK;
    return nacre_fail(NACRE_INTERNAL, "a tensor whose dtype has no place in safetensors files");
}

static void append_entry(nacre_text *out, const nacre_safetensors_entry *entry) {
    nacre_text_append_json(out, entry->name);
    nacre_text_append(out, ":{\"dtype\":\"%s\",\"shape\":[", dtype_names[entry->dtype]);
    for (int i = 0; i < entry->shape.ndim; i++) {
        nacre_text_append(out, "%s%" PRId64, i ? "," : "", entry->shape.dims[i]);
    }
    nacre_text_append(out, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", entry->begin,
                      entry->end);
}

static void append_metadata(nacre_text *out, const nacre_safetensors_pair *metadata, size_t count) {
    nacre_text_append_json(out, metadata_key);
    for (size_t i = 0; i < count; i++) {
        nacre_text_append(out, i ? "," : ":{");
        nacre_text_append_json(out, metadata[i].key);
        nacre_text_append(out, ":");
        nacre_text_append_json(out, metadata[i].value);
    }
    nacre_text_append(out, "}");
}

nacre_status nacre_safetensors_build(const nacre_safetensors_entry *entries, size_t count,
                                     const nacre_safetensors_pair *metadata, size_t metadata_count,
                                     nacre_text *out) {
    static const char zeros[NACRE_SAFETENSORS_PREFIX] = {0};
    nacre_text_append_bytes(out, zeros, sizeof zeros);
    nacre_text_append(out, "{");
    if (metadata_count > 0) append_metadata(out, metadata, metadata_count);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 || metadata_count > 0) nacre_text_append(out, ",");
        append_entry(out, &entries[i]);
    }
    nacre_text_append(out, "}");
    size_t tail = out->length % NACRE_SAFETENSORS_ALIGNMENT;
    if (tail > 0) nacre_text_append(out, "%*s", (int)(NACRE_SAFETENSORS_ALIGNMENT - tail), "");
    if (out->failed) return NACRE_OUT_OF_MEMORY;
    uint64_t length = out->length - NACRE_SAFETENSORS_PREFIX;
    if (length > NACRE_SAFETENSORS_HEADER_LIMIT) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "%zu names take a header of %" PRIu64
                          " bytes, safetensors files allow %d",
                          count, length, NACRE_SAFETENSORS_HEADER_LIMIT);
    }
    for (int i = 0; i < NACRE_SAFETENSORS_PREFIX; i++) {
        out->bytes[i] = (char)(unsigned char)(length >> (8 * i) & 0xFF);
    }
    return NACRE_OK;
}
